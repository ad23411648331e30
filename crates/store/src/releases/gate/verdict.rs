//! What the gate says of an image.

use cause::{Cause, gate};
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
    /// What was found, and why it matters.
    pub cause: Cause,
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
    pub(crate) fn taken(mut self, cause: Cause) -> Self {
        self.findings.retain(|finding| finding.check != Check::VersionTaken);
        self.findings.push(Finding { check: Check::VersionTaken, allowed: false, cause });
        self.findings.sort_by_key(|finding| finding.check);
        self
    }

    /// Why it is refused: what was found first, and the names of the other checks that refuse it; `None` if none does.
    pub fn refusal(&self) -> Option<Cause> {
        let mut refusals = self.findings.iter().filter(|finding| finding.refuses());
        let first = refusals.next()?;
        let others: Vec<String> = refusals.map(|other| other.check.to_string()).collect();
        Some(gate::REFUSED.naming("why", &first.cause).with("also", others))
    }

    /// The refusal as an error: `Invalid` where the image itself is at fault, `Refused` where what the store holds is.
    pub fn error(&self) -> Option<StoreError> {
        let cause = self.refusal()?;
        let at_fault = |finding: &Finding| finding.refuses() && finding.check.is_about_the_image();
        let is_at_fault = self.findings.iter().any(at_fault);
        Some(if is_at_fault { StoreError::Invalid(cause) } else { StoreError::Refused(cause) })
    }
}
