//! The judgement: a pure function of the bytes, of what is asked and of what is known of the product, which finds
//! everything at once.

use cause::{Cause, gate};
use contract::{Sha256, Version};
use image::{ImageError, Summary};

use crate::releases::gate::check::Check;
use crate::releases::gate::compare::{Found, Look};
use crate::releases::gate::facts::{Facts, Taken};
use crate::releases::gate::verdict::{SizeOf, Verdict};
use crate::releases::gate::{compare, sound};
use crate::releases::publication::Publication;

/// At most this many earlier releases are in a trend.
const TREND: usize = 5;

/// Judges an image: every check, not only the first that finds something. Never panics, whatever the bytes are.
///
/// Where these very bytes are published as this very version, nothing is compared with releases or settings: publishing
/// them again changes nothing, so nothing is to be refused.
pub fn judge(bytes: &[u8], asked: &Publication, facts: &Facts) -> Verdict {
    judge_sound(bytes, &Soundness::of(bytes, asked.file.as_deref()), asked, facts)
}

/// What the bytes say of themselves, whatever they are compared with: found out once, since all of them are hashed for it.
pub(crate) struct Soundness {
    pub(crate) parsed: Result<Summary, ImageError>,
    pub(crate) fault: Option<(Check, Cause)>,
}

impl Soundness {
    /// Looks at an image. `file` is what the person calls it.
    pub(crate) fn of(bytes: &[u8], file: Option<&str>) -> Self {
        Self::new(bytes, image::verify(bytes), file)
    }

    fn new(bytes: &[u8], parsed: Result<Summary, ImageError>, file: Option<&str>) -> Self {
        let fault = parsed.as_ref().err().map(|error| sound::refusal(bytes, error, file));
        Self { parsed, fault }
    }
}

/// [`judge`] for who has looked at the bytes already.
pub(crate) fn judge_sound(
    bytes: &[u8],
    soundness: &Soundness,
    asked: &Publication,
    facts: &Facts,
) -> Verdict {
    let parsed = &soundness.parsed;
    let mut found = Found { asked, settings: &facts.settings, findings: Vec::new() };
    let mut signers = Vec::new();
    let look = match parsed {
        Ok(summary) => {
            match sound::signers(bytes, summary) {
                Ok(good) => signers = good,
                Err(cause) => found.add(Check::Signature, cause),
            }
            let (header, descriptor) = (Some(summary.header), summary.descriptor);
            Look { header, descriptor, size: u64::from(summary.total_bytes) }
        }
        Err(error) => {
            if let Some((check, cause)) = soundness.fault.clone() {
                found.add(check, cause);
            }
            let prefix = sound::prefix(bytes, error);
            let header = prefix.as_ref().map(|prefix| prefix.header);
            let descriptor = prefix.and_then(|prefix| prefix.descriptor);
            Look { header, descriptor, size: bytes.len() as u64 }
        }
    };
    let own_version = look.own().and_then(compare::said_version).filter(Version::is_semver);
    let version = asked.version.clone().or(own_version);
    let trend = trend(version.as_ref(), look.size, facts);
    if !matches!(facts.taken, Taken::SameBytes(_)) {
        compare::chip(&mut found, &look, facts);
        compare::size(&mut found, &look, facts, &trend);
        if parsed.is_ok() && !found.findings.iter().any(|finding| finding.check == Check::Signature) {
            compare::keys(&mut found, &signers, facts);
        }
        compare::version(&mut found, &look, version.as_ref(), parsed.is_ok());
        if parsed.as_ref().is_ok_and(|summary| !summary.is_protected()) {
            found.add(Check::Unprotected, gate::UNPROTECTED.cause());
        }
        compare::floor(&mut found, &look, facts);
        compare::releases(&mut found, version.as_ref(), facts);
        compare::production(&mut found, &look, version.as_ref(), facts);
    }
    let mut findings = found.findings;
    findings.sort_by_key(|finding| finding.check);
    findings.dedup_by_key(|finding| finding.check);
    Verdict {
        findings,
        version,
        size: look.size,
        sha256: parsed.as_ref().ok().map(|summary| Sha256(summary.sha256)),
        chip: look.header.and_then(|header| header.chip()).map(image::Chip::name),
        slot_bytes: facts.slot.as_ref().map(|slot| slot.bytes),
        trend,
        signers,
    }
}

/// The sizes of the releases right below this version, oldest first, and the image's own.
fn trend(version: Option<&Version>, size: u64, facts: &Facts) -> Vec<SizeOf> {
    let below = facts.sizes.iter().filter(|(other, _)| version.is_none_or(|version| other < version));
    let mut trend: Vec<SizeOf> = below
        .take(TREND)
        .map(|(version, size)| SizeOf { version: Some(version.clone()), size: *size })
        .collect();
    trend.reverse();
    trend.push(SizeOf { version: version.cloned(), size });
    trend
}

#[cfg(test)]
mod tests;
