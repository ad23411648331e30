//! Whose fault an update's end was: the image's, or that of a line, of a power cut, of the device.
//!
//! The contract counts for the quarantine what failed after the boot or in verification, and neither lost connections nor
//! power cuts. A code that is known decides alone; our agent always sends one. A plain device has its own words, so the
//! order is: what excuses the image, then where it failed, then what accuses it. Doubt excuses: a good image locked out
//! needs a person, a bad one offered once more only another roll-back.

use contract::{Code, Phase, REASON_MAX_BYTES, Reason};

use crate::{Change, UpdateState, Why};

/// Reset reasons that say nothing against an image, in the spellings of the agent and of ESP-IDF.
const POWER_RESETS: [&str; 5] = ["power_on", "poweron", "power", "brown_out", "brownout"];
/// A sketch's word for a lost supply, which excuses whatever else it says.
const POWER: [&str; 3] = ["power", "brown-out", "brownout"];
/// Words of a roll-back that accuse the image, whatever the last reset was: the outcome is told again at each connect.
const RAN_BADLY: [&str; 4] = ["crash", "panic", "watchdog", "hung"];
/// The line, the server, or the person: in the words of Arduino's HTTPUpdate and HTTPClient, of ESP-IDF's error names, and
/// of people.
const EXCUSES: [&str; 11] = [
    "connect",
    "network",
    "timeout",
    "timed out",
    "http",
    "the server",
    "url",
    "dns",
    "tls",
    "socket",
    "cancel",
];
/// What ESP-IDF, Arduino's Update and people say of an image that is not whole, or not one.
const REFUSALS: [&str; 11] = [
    "verif",
    "validat",
    "image_invalid",
    "digest",
    "checksum",
    "signature",
    "sha-256",
    "sha256",
    "md5",
    "magic byte",
    "corrupt",
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
pub fn is_image_at_fault(change: &Change, phase: Option<Phase>, reset: Option<&str>) -> bool {
    let words = match &change.why {
        Some(Why::Device(words)) => words.as_str(),
        Some(Why::Cause(_)) | None => "",
    };
    if let Some(verdict) = verdict_of(words) {
        let accused = matches!(verdict, Verdict::GivenUp | Verdict::Refused);
        return accused && matches!(change.state, UpdateState::Failed | UpdateState::RolledBack);
    }
    let words = words.to_ascii_lowercase();
    let says = |table: &[&str]| table.iter().any(|word| words.contains(word));
    match change.state {
        UpdateState::Failed | UpdateState::RolledBack if says(&POWER) => false,
        UpdateState::RolledBack => {
            says(&RAN_BADLY) || !reset.is_some_and(|reset| POWER_RESETS.contains(&reset))
        }
        UpdateState::Failed => !says(&EXCUSES) && (phase == Some(Phase::Verify) || says(&REFUSALS)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
