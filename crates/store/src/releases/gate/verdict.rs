//! What the gate says of an image.

use contract::{Sha256, Version};

use crate::error::StoreError;
use crate::releases::gate::check::{Check, Level};

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
