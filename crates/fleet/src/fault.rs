//! Whose fault an update's end was: the image's, or that of a line, of a power cut, of the device.
//!
//! The contract counts for the quarantine what failed after the boot or in verification, and neither lost connections nor
//! power cuts. A code that is known decides alone. Without one a reason is free text, and a plain device has its own
//! words, so the order is: what excuses the image, then where it failed, then what accuses it. Doubt excuses: a good
//! image locked out needs a person, a bad one offered once more only another roll-back.

use alloc::string::String;

use contract::{Code, Phase, REASON_MAX_BYTES, Reason};

use crate::UpdateState;

/// Reset reasons that say nothing against an image, in the spellings of the agent and of ESP-IDF.
const POWER_RESETS: [&str; 5] = ["power_on", "poweron", "power", "brown_out", "brownout"];
const POWER: [&str; 3] = ["power", "brown-out", "brownout"];
/// A roll-back whose reason says one of these happened while the new image ran, whatever the last reset was.
const RAN_BADLY: [&str; 7] =
    ["crash", "panic", "watchdog", "hung", "confirm itself", "did not pass", "was not reached"];
/// The line, the server, the flash, or an image for other devices.
const EXCUSES: [&str; 16] = [
    "interrupted",
    "connect",
    "network",
    "timeout",
    "timed out",
    "given up",
    "http",
    "the server",
    "url",
    "dns",
    "tls",
    "socket",
    "too large",
    "wrong chip",
    "does not hold what was written",
    "cancel",
];
/// What the agent, ESP-IDF and Arduino say of an image that is not whole or not one.
const REFUSALS: [&str; 17] = [
    "verif",
    "validat",
    "digest",
    "checksum",
    "signature",
    "sha-256",
    "sha256",
    "md5",
    "magic byte",
    "damaged",
    "corrupt",
    "cut short",
    "no bootloader can map",
    "not an esp",
    "not an application",
    "not a signature",
    "whole flash chip",
];

/// What a code says of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The image ran and was given up by its own fault.
    GivenUp,
    /// The image ran, or was to, and was given up for something that says nothing against it.
    RanExcused,
    /// The image never ran, and it is the image's fault.
    Refused,
    /// The image never ran, for something that says nothing against it.
    Excused,
}

/// The table: every code is judged here, and a new one does not compile until it is. What lies in the image's own bytes
/// accuses it. What also depends on the device (its chip, its keys, its flash) does not: another firmware there, or
/// another device, may take the same bytes.
pub(crate) fn verdict(code: Code) -> Verdict {
    match code {
        Code::Crashed
        | Code::Hung
        | Code::Restarted
        | Code::NotBootable
        | Code::CheckFailed
        // The device says so only once its old image reached the broker: the site was not at fault.
        | Code::BrokerNotReached
        | Code::NotConfirmed
        | Code::CrashLoop => Verdict::GivenUp,
        Code::PowerLost => Verdict::RanExcused,
        Code::NotAnImage
        | Code::Unprotected
        | Code::TrailingBytes
        | Code::Damaged
        | Code::Unsigned
        | Code::BadSignature
        | Code::Quarantined => Verdict::Refused,
        Code::WrongChip
        | Code::ChipRevision
        | Code::EfuseRevision
        | Code::MmuPageSize
        | Code::FlashMode
        | Code::TooLarge
        | Code::WrongProject
        | Code::SecureVersion
        | Code::UntrustedKey
        | Code::SecureBoot
        | Code::BadUrl
        | Code::ConnectionLost
        | Code::ServerError
        | Code::UrlExpired
        | Code::Interrupted
        | Code::MoveFailed
        | Code::Flash
        | Code::Otadata
        | Code::Encryption => Verdict::Excused,
    }
}

/// The verdict of the code behind a reason, where there is one that is known.
pub(crate) fn verdict_of(reason: &str) -> Option<Verdict> {
    // A longer one is not a device's, and its end is not where it would be cut.
    let reason = Some(reason).filter(|reason| reason.len() <= REASON_MAX_BYTES)?;
    Reason::new(reason).code().map(verdict)
}

/// Whether an end counts against the image. `phase` is what the device last said it was doing; `reset` why it last
/// restarted, where it said so together with this end.
pub fn is_image_at_fault(end: UpdateState, phase: Option<Phase>, reset: Option<&str>, reason: &str) -> bool {
    if !matches!(end, UpdateState::Failed | UpdateState::RolledBack) {
        return false;
    }
    if let Some(verdict) = verdict_of(reason) {
        return matches!(verdict, Verdict::GivenUp | Verdict::Refused);
    }
    let reason: String = reason.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&POWER) {
        return false;
    }
    match end {
        UpdateState::RolledBack => {
            says(&RAN_BADLY) || !reset.is_some_and(|reset| POWER_RESETS.contains(&reset))
        }
        UpdateState::Failed if reason.starts_with("quarantined") => true,
        UpdateState::Failed if says(&EXCUSES) => false,
        UpdateState::Failed => phase == Some(Phase::Verify) || says(&REFUSALS),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use UpdateState::{Cancelled, Failed, RolledBack, Succeeded, TimedOut};
    use contract::Phase::{Download, Restart, Verify};

    use super::*;

    #[test]
    fn a_roll_back_is_the_images_fault_unless_the_power_went() {
        for (reset, reason, at_fault) in [
            // The agent's, word for word.
            (None, "rolled back: the new image crashed before it was confirmed", true),
            (None, "rolled back: the new image hung before it was confirmed", true),
            (None, "rolled back: the new image restarted before it was confirmed", true),
            (Some("software"), "rolled back: the broker was not reached within 60 s", true),
            (Some("software"), "rolled back: the application's check did not pass within 60 s", true),
            (Some("software"), "rolled back: it did not confirm itself in its first boot", true),
            (Some("panic"), "rolled back: the bootloader could not start the new image", true),
            (Some("power_on"), "rolled back: the bootloader could not start the new image", false),
            (None, "rolled back: the power was lost before the new image was confirmed", false),
            (None, "rolled back: the device lost power while the new image was being confirmed", false),
            // The outcome is told again at each connect: a later power-on does not clear what crashed.
            (Some("power_on"), "rolled back: the new image crashed before it was confirmed", true),
            // The server's, and other devices'.
            (None, "the device reports 1.0.0 again", true),
            (None, "the device gave no reason", true),
            (Some("brown_out"), "the device gave no reason", false),
            (Some("poweron"), "", false),
            (None, "Brownout detector was triggered", false),
        ] {
            let found = is_image_at_fault(RolledBack, Some(Restart), reset, reason);
            assert_eq!(found, at_fault, "{reset:?}: {reason}");
        }
    }

    #[test]
    fn a_failure_is_the_images_fault_only_in_verification() {
        for (phase, reason, at_fault) in [
            // The agent's, word for word.
            (None, "this is not an ESP32 application image: it begins with 0x00, not 0xE9", true),
            (
                None,
                "the image is cut short: it has 9 bytes, but its header and segments need at least 24",
                true,
            ),
            (None, "the image header is damaged: it says 99 segments; there can be 1 to 16", true),
            (None, "the image is damaged: its checksum is 0x01, but its data gives 0x02", true),
            (None, "the image is damaged: the SHA-256 digest at its end is not that of its content", true),
            (
                None,
                "no bootloader can map this image: segment 0 lies at 0x20 in the file and wants to be at address \
                 0x3c000000, which is another place in a memory page",
                true,
            ),
            (
                None,
                "this is not an application image: nothing in it runs from flash, so it is a bootloader",
                true,
            ),
            (
                None,
                "the image ends at byte 9, but the file goes on with something that is not a signature",
                true,
            ),
            (
                None,
                "this is a whole flash chip (there is a partition table at 0x8000), not an application",
                true,
            ),
            (None, "quarantined: this image failed twice on this device", true),
            (Some(Verify), "the flash does not hold what was written to it", false),
            (Some(Verify), "interrupted: the device restarted during the download", false),
            (Some(Verify), "interrupted: the device restarted before the new image was selected", false),
            (Some(Download), "given up after 5 tries: the file changed on the server", false),
            (Some(Download), "the server answered 404", false),
            (Some(Download), "the server answered 403, and no URL that works came in time", false),
            (None, "wrong chip: the image is for esp32c3, this device is esp32s3", false),
            (None, "the image is too large: 9 bytes, the slot has 8", false),
            (None, "the trigger is not an http or https URL of at most 2048 bytes", false),
            // Other devices'.
            (None, "ESP_ERR_OTA_VALIDATE_FAILED", true),
            (None, "Image validation failed, image is corrupted", true),
            (None, "Wrong Magic Byte", true),
            (Some(Verify), "", true),
            (Some(Verify), "the device gave no reason", true),
            (Some(Verify), "lost connection to the broker", false),
            (Some(Verify), "power lost", false),
            (None, "ESP_ERR_HTTP_CONNECT", false),
            (None, "checksum not fetched: connection reset", false),
            (Some(Download), "the device gave no reason", false),
        ] {
            assert_eq!(is_image_at_fault(Failed, phase, None, reason), at_fault, "{phase:?}: {reason}");
        }
    }

    /// Every code, whether the image ran, and whether the end counts against it.
    const TABLE: [(Code, bool, bool); 35] = [
        (Code::NotAnImage, false, true),
        (Code::WrongChip, false, false),
        (Code::ChipRevision, false, false),
        (Code::EfuseRevision, false, false),
        (Code::MmuPageSize, false, false),
        (Code::FlashMode, false, false),
        (Code::TooLarge, false, false),
        (Code::WrongProject, false, false),
        (Code::SecureVersion, false, false),
        (Code::Unprotected, false, true),
        (Code::TrailingBytes, false, true),
        (Code::Damaged, false, true),
        (Code::Unsigned, false, true),
        (Code::UntrustedKey, false, false),
        (Code::BadSignature, false, true),
        (Code::SecureBoot, false, false),
        (Code::Quarantined, false, true),
        (Code::BadUrl, false, false),
        (Code::ConnectionLost, false, false),
        (Code::ServerError, false, false),
        (Code::UrlExpired, false, false),
        (Code::Interrupted, false, false),
        (Code::Flash, false, false),
        (Code::Otadata, false, false),
        (Code::Encryption, false, false),
        (Code::Crashed, true, true),
        (Code::Hung, true, true),
        (Code::Restarted, true, true),
        (Code::PowerLost, true, false),
        (Code::NotBootable, true, true),
        (Code::CheckFailed, true, true),
        (Code::BrokerNotReached, true, true),
        (Code::NotConfirmed, true, true),
        (Code::CrashLoop, true, true),
        (Code::MoveFailed, false, false),
    ];

    #[test]
    fn a_known_code_decides_whatever_the_words_the_phase_and_the_reset_say() {
        assert_eq!(TABLE.map(|(code, ..)| code), Code::ALL, "each code once, in the order of the contract");
        for (code, ran, at_fault) in TABLE {
            let end = if ran { RolledBack } else { Failed };
            for words in ["the power was lost, a connection was", "crashed: the checksum is wrong", "x"] {
                let reason = format!("{words} [{code}]");
                for (phase, reset) in
                    [(None, None), (Some(Verify), Some("power_on")), (Some(Restart), Some("panic"))]
                {
                    assert_eq!(is_image_at_fault(end, phase, reset, &reason), at_fault, "{reason}");
                }
                assert!(!is_image_at_fault(Cancelled, None, None, &reason), "{reason}");
            }
        }
    }

    #[test]
    fn a_code_that_nobody_knows_leaves_it_to_the_words() {
        assert!(is_image_at_fault(Failed, None, None, "the checksum is wrong [gremlins]"));
        assert!(!is_image_at_fault(Failed, None, None, "the server answered 404 [gremlins]"));
    }

    #[test]
    fn other_ends_accuse_nobody() {
        for end in [Succeeded, TimedOut, Cancelled, UpdateState::Downloading] {
            assert!(!is_image_at_fault(end, Some(Verify), Some("panic"), "the checksum is wrong"));
        }
    }
}
