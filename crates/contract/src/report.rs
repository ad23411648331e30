//! What a device says of itself on its version topic.

use core::fmt;

use heapless::{String, Vec};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Outcome, ProductName, Reason, Version};

/// A report has at most so many bytes; a longer one is refused unread.
pub const REPORT_MAX_BYTES: usize = 2048;

/// A SHA-256 digest, as 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The 64 lower-case digits.
    pub fn to_hex(self) -> String<64> {
        let mut text = String::new();
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                let digit = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
                let pushed = text.push(char::from(digit)).is_ok();
                debug_assert!(pushed, "64 digits fit");
            }
        }
        text
    }

    /// Reads exactly 64 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::<64>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| de::Error::custom("a digest is 64 hexadecimal digits"))
    }
}

/// How the device's last attempt ended, repeated at each connect so that nothing depends on one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOutcome {
    /// The version that was tried, if the device knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// How it ended.
    pub result: Outcome,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// A protection that a device does without, in a report's `lacks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// No trusted keys are compiled in: whatever is offered is taken, signed or not.
    Signatures,
    /// There is nowhere to keep a record: quarantine, confirmed images and the last outcome do not survive a restart.
    Record,
    /// No memory survives resets: crash loops after the confirmation go unseen.
    CrashLoops,
    /// The flash is encrypted and the port cannot write through that: every update is refused.
    Updates,
}

impl Lack {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Signatures, Self::Record, Self::CrashLoops, Self::Updates];

    /// The word in the report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signatures => "signatures",
            Self::Record => "record",
            Self::CrashLoops => "crash_loops",
            Self::Updates => "updates",
        }
    }
}

/// The JSON report on `devices/{id}/version`. Only `version` is required; unknown keys are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The running image's version.
    pub version: Version,
    /// The product the device takes itself for; what it is registered with wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductName>,
    /// The chip's name, as `image` spells it (`esp32s3`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip: Option<String<16>>,
    /// The chip's revision, as ESP-IDF counts them: `major * 100 + minor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip_revision: Option<u16>,
    /// The running image's bytes as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The running slot (`ota_0`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String<16>>,
    /// ESP-IDF's state of the running slot's entry, in lower case (`valid`, `pending_verify`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String<16>>,
    /// The smallest slot, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_bytes: Option<u32>,
    /// The anti-rollback counter in the running image's descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_version: Option<u32>,
    /// Whether the running image's descriptor was stamped, and so speaks of the image itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamped: Option<bool>,
    /// What else the device takes (`delta`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<String<16>, 4>,
    /// Whether the bootloader was seen to support rollback; absent: not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<bool>,
    /// The device may be silent for so long between two messages, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleeps_s: Option<u32>,
    /// Why the device last restarted (`power_on`, `panic`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<String<24>>,
    /// The protections that this device does without, as [`Lack`] spells them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String<16>, 8>,
    /// Why the device came back from connection settings that it was asked to move to; absent: it did not, or has restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Reason>,
    /// How the last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastOutcome>,
}

impl Report {
    /// A report that says the version and nothing else, as a plain device's does.
    pub fn bare(version: Version) -> Self {
        Self {
            version,
            product: None,
            chip: None,
            chip_revision: None,
            sha256: None,
            slot: None,
            state: None,
            slot_bytes: None,
            secure_version: None,
            stamped: None,
            accepts: Vec::new(),
            rollback: None,
            sleeps_s: None,
            reset: None,
            lacks: Vec::new(),
            returned: None,
            last: None,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn only_the_version_is_required_and_unknown_keys_are_ignored() {
        let report: Report = serde_json::from_str(r#"{"version":"v1.2.0","x":[1,{"y":2}]}"#).expect("valid");
        assert_eq!(report, Report::bare("1.2.0".parse().expect("valid")));
        assert!(serde_json::from_str::<Report>("{}").is_err());
    }

    #[test]
    fn a_full_report_survives_the_device_s_own_json_writer() {
        let text = r#"{"version":"1.0.0","product":"esp32s3","chip":"esp32s3","chip_revision":2,"sha256":"00000000000000000000000000000000000000000000000000000000000000ff","slot":"ota_0","state":"valid","slot_bytes":1966080,"secure_version":3,"stamped":true,"accepts":["delta"],"rollback":true,"reset":"power_on","last":{"to":"1.1.0","result":"FAILED","reason":"it \"crashed\""}}"#;
        let report: Report = serde_json::from_str(text).expect("valid");
        let mut buffer = [0; REPORT_MAX_BYTES];
        let length = serde_json_core::to_slice(&report, &mut buffer).expect("fits");
        assert_eq!(serde_json::from_slice::<Report>(&buffer[..length]).expect("valid"), report);
    }
}
