//! Whose fault an update's end was: the image's, or that of a line, of a power cut, of the device.
//!
//! The contract counts for the quarantine what failed after the boot or in verification, and neither lost connections nor
//! power cuts. A code that is known decides alone; our agent always sends one. A plain device has its own words, so the
//! order is: what excuses the image, then where it failed, then what accuses it. Doubt excuses: a good image locked out
//! needs a person, a bad one offered once more only another roll-back.

use cause::update as ends;
use contract::{Code, Phase, Reason};

use crate::verdict::{Verdict, verdict_of};
use crate::{Change, UpdateState, Why};

/// Reset reasons that say nothing against an image, in the spellings of the agent and of ESP-IDF.
const POWER_RESETS: [&str; 5] = ["power_on", "poweron", "power", "brown_out", "brownout"];
/// A sketch's word for a lost supply, which excuses whatever else it says.
const POWER: [&str; 3] = ["power", "brown-out", "brownout"];
/// Words of a roll-back that accuse the image, whatever the last reset was: the outcome is told again at each connect.
const RAN_BADLY: [&str; 4] = ["crash", "panic", "watchdog", "hung"];
/// The line, the server, or the person: in the words of Arduino's HTTPUpdate and HTTPClient, of ESP-IDF's error names, and
/// of people.
const EXCUSES: [&str; 16] = [
    "interrupted",
    "given up",
    "too large",
    "wrong chip",
    "does not hold what was written",
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
const REFUSALS: [&str; 13] = [
    "damaged",
    "cut short",
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

/// Whether an end counts against the image. `phase` is what the device last said it was doing; `reset` why it last
/// restarted, where it said so together with this end.
pub fn is_image_at_fault(change: &Change, phase: Option<Phase>, reset: Option<&str>) -> bool {
    let words = match &change.why {
        Some(Why::Device(words)) => words.as_str(),
        // Which version or image runs instead says nothing of the one that was offered.
        Some(Why::Cause(cause)) if cause.is(ends::OTHER_VERSION_RUNS) || cause.is(ends::OTHER_IMAGE_RUNS) => {
            return false;
        }
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

/// The code of a refusal that the same image would meet on the same device again and again.
pub fn lasting_refusal(change: &Change) -> Option<Code> {
    let Some(Why::Device(words)) = change.why.as_ref().filter(|_| change.state == UpdateState::Failed) else {
        return None;
    };
    let code = Reason::new(words).code()?;
    (verdict_of(words)? == Verdict::Unsuitable).then_some(code)
}

#[cfg(test)]
mod tests;
