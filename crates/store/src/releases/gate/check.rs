//! The checks by name: what each may do, and whether a person may overrule it. docs/gate.md says why.

use std::fmt;
use std::str::FromStr;

/// What a check does that finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing is published.
    Refuse,
    /// It is said, and published.
    Warn,
    /// It asks for nothing: programs find it among the findings, as a warning that is allowed, and nobody is warned.
    Note,
}

impl Level {
    /// `refuse`, `warn` or `note`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Warn => "warn",
            Self::Note => "note",
        }
    }
}

/// Makes the checks of the table in docs/gate.md.
macro_rules! checks {
    ($($check:ident $name:literal $level:ident $is_overrulable:literal;)*) => {
        /// What is looked at before an image becomes a release. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // docs/gate.md, and the sentences in the cause crate
        pub enum Check {
            $($check,)*
        }

        impl Check {
            /// Every check, in the order in which findings are told: refusals first.
            pub const ALL: [Self; 31] = [$(Self::$check,)*];

            /// The name on the command line, in the API and in `product.json`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)*
                }
            }

            /// What it does.
            pub const fn level(self) -> Level {
                match self {
                    $(Self::$check => Level::$level,)*
                }
            }

            /// Whether a person may overrule it (`--allow`). What no device could run, or what a key was made to keep out,
            /// is refused whoever asks; a warning that is allowed is not shown any more. A slot that is too small is one
            /// device's word, and that device is not offered the image all the same.
            pub const fn is_overrulable(self) -> bool {
                match self {
                    $(Self::$check => $is_overrulable,)*
                }
            }
        }
    };
}

checks! {
    NotAnImage "not-an-image" Refuse false;
    MergedImage "merged-image" Refuse false;
    Truncated "truncated" Refuse false;
    Checksum "checksum" Refuse false;
    Digest "digest" Refuse false;
    Layout "layout" Refuse false;
    Signature "signature" Refuse false;
    Unprotected "unprotected" Refuse true;
    UnknownChip "unknown-chip" Refuse false;
    WrongChip "wrong-chip" Refuse false;
    TooLarge "too-large" Refuse true;
    Unsigned "unsigned" Refuse false;
    UntrustedKey "untrusted-key" Refuse false;
    TooFewSignatures "too-few-signatures" Refuse false;
    NoVersion "no-version" Refuse false;
    Stamp "stamp" Refuse false;
    VersionTaken "version-taken" Refuse false;
    BlockedBytes "blocked-bytes" Refuse false;
    SecureFloor "secure-floor" Refuse false;
    SecureVersion "secure-version" Refuse true;
    LowerVersion "lower-version" Refuse true;
    SameBytes "same-bytes" Refuse true;
    MmuPageSize "mmu-page-size" Refuse true;
    NearlyFull "nearly-full" Warn true;
    FlashMode "flash-mode" Warn true;
    Project "project" Warn true;
    ChipRevision "chip-revision" Warn true;
    EfuseRevision "efuse-revision" Warn true;
    IdfVersion "idf-version" Warn true;
    Descriptor "descriptor" Note true;
    VersionMismatch "version-mismatch" Warn true;
}

impl Check {
    /// Whether what was asked for is malformed, whatever the store holds.
    pub(crate) const fn is_about_the_image(self) -> bool {
        matches!(
            self,
            Self::NotAnImage
                | Self::MergedImage
                | Self::Truncated
                | Self::Checksum
                | Self::Digest
                | Self::Layout
                | Self::Signature
                | Self::Unprotected
                | Self::UnknownChip
                | Self::NoVersion
        )
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is that of no check, or of one that cannot be overruled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAllowable(String);

impl fmt::Display for NotAllowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Check::ALL.iter().find(|check| check.name() == self.0) {
            Some(check) => write!(f, "{check} cannot be allowed; can be: ")?,
            None => write!(f, "there is no check \"{}\"; can be allowed: ", self.0.escape_debug())?,
        }
        let names = Check::ALL.iter().filter(|check| check.is_overrulable());
        f.write_str(&names.map(|check| check.name()).collect::<Vec<_>>().join(", "))
    }
}

impl std::error::Error for NotAllowable {}

/// Reads the name of a check that may be overruled.
impl FromStr for Check {
    type Err = NotAllowable;

    fn from_str(name: &str) -> Result<Self, NotAllowable> {
        let found = Self::ALL.into_iter().find(|check| check.name() == name && check.is_overrulable());
        found.ok_or_else(|| NotAllowable(name.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_checks_are_listed_once_and_refusals_come_first() {
        assert!(Check::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        let warns = Check::ALL.iter().skip_while(|check| check.level() == Level::Refuse);
        assert!(warns.clone().count() > 0 && warns.into_iter().all(|check| check.level() != Level::Refuse));
    }

    #[test]
    fn only_what_may_be_overruled_can_be_allowed() {
        for check in Check::ALL {
            assert_eq!(check.name().parse::<Check>().is_ok(), check.is_overrulable(), "{check}");
        }
        let error = "wrong-chip".parse::<Check>().expect_err("never").to_string();
        assert!(
            error.starts_with(
                "wrong-chip cannot be allowed; can be: unprotected, too-large, secure-version, "
            ),
            "{error}"
        );
        let error = "rong-chip".parse::<Check>().expect_err("unknown").to_string();
        assert!(
            error.contains("there is no check \"rong-chip\"") && error.contains("lower-version"),
            "{error}"
        );
    }
}
