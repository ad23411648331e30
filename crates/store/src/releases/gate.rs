//! The gate: what is looked at before an image becomes a release. docs/gate.md lists the checks.
//!
//! [`judge`] is a pure function of the bytes, of what is asked and of what is known of the product, and finds everything
//! at once. What the store knows is read in [`facts`]; nothing here writes.

use contract::{Sha256, Version};
use image::{AppDescriptor, Header, ImageError, Summary};

use crate::releases::product::GateSettings;
use crate::{Publication, StoreError};

mod check;
mod compare;
mod merged;
pub(crate) mod signers;
mod sound;

pub use crate::releases::facts::{Facts, Production, Slot, Taken};
pub use check::{Check, Level, NotAllowable};
pub(crate) use compare::taken_sentence;

/// How many earlier releases a trend shows.
const TREND: usize = 5;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// Whether a person overruled it: a refusal that does not refuse, a warning that need not be shown.
    pub allowed: bool,
    /// What was found, why it matters and what to do.
    pub sentence: String,
}

impl Finding {
    /// Whether it keeps the image from being published.
    pub fn refuses(&self) -> bool {
        self.check.level() == Level::Refuse && !self.allowed
    }
}

/// A release's size in a trend; the image itself is the last one, without a version if it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeOf {
    /// Which version.
    pub version: Option<Version>,
    /// Bytes.
    pub size: u64,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In the order of [`Check::ALL`].
    pub findings: Vec<Finding>,
    /// The version that was asked for, or the image's own.
    pub version: Option<Version>,
    /// Bytes of the image.
    pub size: u64,
    /// Its digest; `None` if it is not sound.
    pub sha256: Option<Sha256>,
    /// Its chip, if it is one we know.
    pub chip: Option<&'static str>,
    /// The smallest slot of the product's devices, in bytes, where it is known.
    pub slot_bytes: Option<u32>,
    /// The sizes of up to five releases below it, oldest first, and its own.
    pub trend: Vec<SizeOf>,
    /// The keys whose signatures are good.
    pub(crate) signers: Vec<Sha256>,
}

impl Verdict {
    /// Whether it must not be published.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(Finding::refuses)
    }

    /// The same verdict, but that the version was published with other bytes since it was given.
    pub(crate) fn taken(mut self, sentence: String) -> Self {
        self.findings.retain(|finding| finding.check != Check::VersionTaken);
        self.findings.push(Finding { check: Check::VersionTaken, allowed: false, sentence });
        self.findings.sort_by_key(|finding| finding.check);
        self
    }

    /// Why it is refused, in one sentence that names every refusal and how it can be overruled; `None` if it is not.
    pub fn refusal(&self) -> Option<String> {
        let allow = |finding: &Finding| {
            let overrulable = finding.check.is_overrulable();
            if overrulable { format!(" (--allow {} overrules this)", finding.check) } else { String::new() }
        };
        let mut refusals = self.findings.iter().filter(|finding| finding.refuses());
        let first = refusals.next()?;
        let mut sentence = format!("{}{}", first.sentence, allow(first));
        let others: Vec<String> = refusals.map(|other| format!("{}{}", other.check, allow(other))).collect();
        if !others.is_empty() {
            sentence.push_str("; also refused: ");
            sentence.push_str(&others.join(", "));
        }
        Some(sentence)
    }

    /// The refusal as an error: `Invalid` where the image itself is at fault, `Refused` where what the store holds is.
    pub fn error(&self) -> Option<StoreError> {
        let sentence = self.refusal()?;
        let at_fault = |finding: &Finding| finding.refuses() && finding.check.is_about_the_image();
        let is_at_fault = self.findings.iter().any(at_fault);
        Some(if is_at_fault { StoreError::Invalid(sentence) } else { StoreError::Refused(sentence) })
    }
}

/// What is known of the image under judgement, sound or not.
struct Look {
    header: Option<Header>,
    descriptor: Option<AppDescriptor>,
    size: u64,
}

impl Look {
    fn own(&self) -> Option<&AppDescriptor> {
        self.descriptor.as_ref().filter(|descriptor| descriptor.is_apps_own())
    }
}

/// What was found so far.
struct Found<'a> {
    asked: &'a Publication,
    settings: &'a GateSettings,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, check: Check, sentence: String) {
        let named = self.asked.allow.contains(&check) || self.settings.allow.contains(&check);
        // Asked again here, so that no caller can hand in what must not be overruled.
        self.findings.push(Finding { check, allowed: named && check.is_overrulable(), sentence });
    }
}

/// Judges an image: every check, not only the first that finds something. Never panics, whatever the bytes are.
///
/// Where these very bytes are published as this very version, nothing is compared with releases or settings: publishing
/// them again changes nothing, so nothing is to be refused.
pub fn judge(
    bytes: &[u8],
    parsed: &Result<Summary, ImageError>,
    asked: &Publication,
    facts: &Facts,
) -> Verdict {
    judge_sound(bytes, &Soundness::new(bytes, parsed.clone(), asked.file.as_deref()), asked, facts)
}

/// What the bytes say of themselves, whatever they are compared with: found out once, since all of them are hashed for it.
pub(crate) struct Soundness {
    parsed: Result<Summary, ImageError>,
    fault: Option<(Check, String)>,
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

    pub(crate) fn into_parsed(self) -> Result<Summary, ImageError> {
        self.parsed
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
            match signers::of(bytes, summary) {
                Ok(good) => signers = good,
                Err(why) => found.add(Check::Signature, why),
            }
            let (header, descriptor) = (Some(summary.header), summary.descriptor);
            Look { header, descriptor, size: u64::from(summary.total_bytes) }
        }
        Err(error) => {
            if let Some((check, sentence)) = soundness.fault.clone() {
                found.add(check, sentence);
            }
            let prefix = sound::prefix(bytes, error);
            let header = prefix.as_ref().map(|prefix| prefix.header);
            let descriptor = prefix.and_then(|prefix| prefix.descriptor);
            Look { header, descriptor, size: bytes.len() as u64 }
        }
    };
    let own_version = look.own().and_then(|descriptor| descriptor.version().parse::<Version>().ok());
    let version = asked.version.clone().or(own_version);
    let trend = trend(version.as_ref(), look.size, facts);
    if !matches!(facts.taken, Taken::SameBytes(_)) {
        compare::chip(&mut found, &look, facts);
        compare::size(&mut found, &look, facts, &trend);
        if parsed.is_ok() && !found.findings.iter().any(|finding| finding.check == Check::Signature) {
            compare::keys(&mut found, &signers, facts);
        }
        compare::version(&mut found, &look, version.as_ref(), parsed.is_ok());
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

/// A number with its thousands apart, for people: `1,430,528`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
