//! Stable codes for why an attempt ended: what a program reads where a person reads the reason.
//!
//! On the wire a code stands in brackets behind the words, `FAILED the image is for esp32c3, this device is esp32s3
//! [wrong_chip]`, so that it needs no field of its own and survives wherever reasons do.

use core::fmt;

use crate::{REASON_MAX_BYTES, Reason};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// Why an attempt was refused, failed or fell back. Words may change; these do not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant),+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code on the wire: lower-case letters and underscores.
            pub fn as_str(self) -> &'static str {
                line(concat!($($text, "\n"),+), self as usize)
            }
        }
    };
}

codes! {
    // Refused by what the image is, before or after its download.
    /// Not an ESP32 application image.
    NotAnImage = "not_an_image",
    /// For another chip.
    WrongChip = "wrong_chip",
    /// For other revisions of the chip.
    ChipRevision = "chip_revision",
    /// For other revisions of the eFuse block.
    EfuseRevision = "efuse_revision",
    /// For another MMU page size.
    MmuPageSize = "mmu_page_size",
    /// Read from flash in another way than the running image.
    FlashMode = "flash_mode",
    /// Larger than the slot.
    TooLarge = "too_large",
    /// Another project.
    WrongProject = "wrong_project",
    /// Another version, by the image's own word, than the server named.
    WrongVersion = "wrong_version",
    /// Below the secure version that the device insists on.
    SecureVersion = "secure_version",
    /// Neither a digest nor a signature: nothing would show damage.
    Unprotected = "unprotected",
    /// Followed by bytes that are not part of it.
    TrailingBytes = "trailing_bytes",
    /// Checksum, digest or structure do not hold.
    Damaged = "damaged",
    /// Without a signature, which this device wants.
    Unsigned = "unsigned",
    /// Signed by nobody whom this device trusts.
    UntrustedKey = "untrusted_key",
    /// Signed by fewer of the trusted keys than this device wants.
    TooFewSignatures = "too_few_signatures",
    /// The signature is not one of this image.
    BadSignature = "bad_signature",
    /// Signed by no key in the device's eFuses.
    SecureBoot = "secure_boot",
    /// Failed twice on this device.
    Quarantined = "quarantined",
    // The way to the device.
    /// The trigger is no URL that the agent takes.
    BadUrl = "bad_url",
    /// Connections were lost too often.
    ConnectionLost = "connection_lost",
    /// The server answered with something that no waiting mends.
    ServerError = "server_error",
    /// The URL expired and no fresh one came.
    UrlExpired = "url_expired",
    /// The device restarted and the update could not go on.
    Interrupted = "interrupted",
    // The device itself.
    /// The flash refused or does not hold what was written.
    Flash = "flash",
    /// otadata could not be brought into the state it must have.
    Otadata = "otadata",
    /// Flash encryption is on and the port cannot write through it.
    Encryption = "encryption",
    // After the boot of the new image.
    /// It crashed before it was confirmed.
    Crashed = "crashed",
    /// A watchdog ended it before it was confirmed.
    Hung = "hung",
    /// It restarted before it was confirmed.
    Restarted = "restarted",
    /// Power was lost before it was confirmed: a guess, a person may have unplugged a hang.
    PowerLost = "power_lost",
    /// The bootloader could not start it.
    NotBootable = "not_bootable",
    /// The application's own check failed, or did not pass in time.
    CheckFailed = "check_failed",
    /// The broker was not reached in time.
    BrokerNotReached = "broker_not_reached",
    /// A bootloader that cannot roll back booted it again unconfirmed.
    NotConfirmed = "not_confirmed",
    /// It was confirmed and then crashed again and again.
    CrashLoop = "crash_loop",
    // Moving to another broker or network.
    /// The new connection settings reached no broker in time, and the previous ones count again.
    MoveFailed = "move_failed",
}

/// One of several lines. A table of where each lies would take as much of a device's flash as the codes themselves.
fn line(lines: &'static str, number: usize) -> &'static str {
    let (mut begin, mut before) = (0, 0);
    for (at, _) in lines.bytes().enumerate().filter(|(_, letter)| *letter == b'\n') {
        if before == number {
            return lines.get(begin..at).unwrap_or_default();
        }
        (begin, before) = (at + 1, before + 1);
    }
    ""
}

impl Code {
    /// Reads a code exactly as [`Self::as_str`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Reason {
    /// Puts a code behind the words; words that are too long are cut, the code never is.
    #[must_use]
    pub fn coded(mut self, code: Code) -> Self {
        self.push_code(code);
        self
    }

    /// As [`Self::coded`], in place.
    pub fn push_code(&mut self, code: Code) {
        let code = code.as_str();
        self.truncate(REASON_MAX_BYTES.saturating_sub(code.len() + " []".len()));
        for text in [" [", code, "]"] {
            self.push_str(text);
        }
    }

    /// Whether it has this very code, without looking through all of them.
    pub fn is_coded(&self, code: Code) -> bool {
        let rest = self.as_str().as_bytes().strip_suffix(b"]");
        rest.and_then(|rest| rest.strip_suffix(code.as_str().as_bytes()))
            .is_some_and(|rest| rest.ends_with(b"["))
    }

    /// The code, where there is one that is known.
    pub fn code(&self) -> Option<Code> {
        let (words, code) = self.as_str().strip_suffix(']')?.rsplit_once('[')?;
        (words.is_empty() || words.ends_with(' ')).then(|| Code::parse(code))?
    }

    /// The words without the code.
    pub fn words(&self) -> &str {
        match self.code() {
            Some(code) => self.as_str()[..self.as_str().len() - code.as_str().len() - "[]".len()].trim_end(),
            None => self.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;

    #[test]
    fn a_code_is_found_behind_the_words() {
        let reason = Reason::new("the image is for esp32c3").coded(Code::WrongChip);
        assert_eq!(reason.as_str(), "the image is for esp32c3 [wrong_chip]");
        assert_eq!((reason.words(), reason.code()), ("the image is for esp32c3", Some(Code::WrongChip)));
        assert!(reason.is_coded(Code::WrongChip) && !reason.is_coded(Code::Crashed));
        assert_eq!(Reason::new("odd [unheard_of]").code(), None);
        assert_eq!(Reason::new("odd [unheard_of]").words(), "odd [unheard_of]");
        assert_eq!(Reason::new("x[wrong_chip]").code(), None);
        let bare = Reason::new("[wrong_chip]");
        assert_eq!((bare.words(), bare.code()), ("", Some(Code::WrongChip)));
    }

    #[test]
    fn long_words_never_push_a_code_out() {
        let reason = Reason::new(&"ü".repeat(300)).coded(Code::Flash);
        assert_eq!(reason.code(), Some(Code::Flash));
        assert!(reason.as_str().len() <= REASON_MAX_BYTES);
    }

    #[test]
    fn every_code_reads_back() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        }
    }
}
