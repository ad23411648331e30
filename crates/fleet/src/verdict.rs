//! What each of the contract's codes says of an attempt.

use contract::{Code, REASON_MAX_BYTES, Reason};

/// What a code says of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The image ran and was given up by its own fault.
    GivenUp,
    /// The image ran, or was to, and was given up for something that says nothing against it.
    RanExcused,
    /// The image never ran, and it is the image's fault.
    Refused,
    /// The image never ran, and never will on this device as it is; another device may take it.
    Unsuitable,
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
        // By the name under which it came; under its own it may be taken.
        | Code::WrongVersion
        | Code::SecureVersion
        | Code::UntrustedKey
        | Code::TooFewSignatures
        | Code::SecureBoot
        | Code::Encryption => Verdict::Unsuitable,
        Code::BadUrl
        | Code::ConnectionLost
        | Code::ServerError
        | Code::UrlExpired
        | Code::Interrupted
        | Code::MoveFailed
        | Code::Flash
        | Code::Otadata => Verdict::Excused,
    }
}

/// The verdict of the code behind a reason, where there is one that is known.
pub(crate) fn verdict_of(reason: &str) -> Option<Verdict> {
    // A longer one is not a device's, and its end is not where it would be cut.
    let reason = Some(reason).filter(|reason| reason.len() <= REASON_MAX_BYTES)?;
    Reason::new(reason).code().map(verdict)
}
