//! What was found in an image when all of it was read, once: enough to judge it again without its bytes, for whatever product
//! and version it is to be offered as.

use cause::Cause;
use contract::{ProductName, Sha256, Version};
use image::{PREFIX_BYTES, Prefix};
use serde::{Deserialize, Serialize};

use crate::objects::sums::sha256;
use crate::releases::gate::check::{Check, Level};
use crate::releases::gate::compare::{self, Found, Look};
use crate::releases::gate::facts::Facts;
use crate::releases::gate::judge::Soundness;
use crate::releases::gate::sound;
use crate::releases::publication::Publication;

/// Raised with whatever the gate finds in bytes that it did not find before: then images are read once more.
const RULES: u16 = 1;

/// What an image is, by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Which content of the object was read, as the storage names it.
    pub content: String,
    /// By which rules it was looked at.
    rules: u16,
    /// Bytes.
    pub size: u64,
    /// Digest of all bytes, as published.
    pub sha256: Sha256,
    /// That which ESP-IDF appends to the image, and `esp_partition_get_sha256` answers.
    pub appended: Option<Sha256>,
    /// That of the ELF file it was made of.
    pub elf: Option<Sha256>,
    /// Why no device could run it, whatever it is compared with.
    pub fault: Option<Cause>,
    /// The keys whose signatures are good.
    signers: Vec<Sha256>,
    /// Of a sound image: what it begins with, in hexadecimal digits.
    head: String,
}

impl Inspection {
    /// Looks at an image.
    pub fn of(bytes: &[u8], content: String) -> Self {
        let soundness = Soundness::of(bytes, None);
        let mut inspection = Self {
            content,
            rules: RULES,
            size: bytes.len() as u64,
            sha256: sha256(bytes),
            appended: None,
            elf: None,
            fault: None,
            signers: Vec::new(),
            head: String::new(),
        };
        let Ok(summary) = soundness.parsed else {
            return Self { fault: soundness.fault.map(|(_, cause)| cause), ..inspection };
        };
        match sound::signers(bytes, &summary) {
            Ok(signers) => inspection.signers = signers,
            Err(cause) => inspection.fault = Some(cause),
        }
        let end = summary.structural_bytes as usize;
        let appended = bytes.get(..end).filter(|_| summary.header.hash_appended);
        inspection.appended = appended.and_then(|image| image.last_chunk().copied().map(Sha256));
        inspection.elf = summary.descriptor.and_then(|descriptor| descriptor.elf_sha256()).map(Sha256);
        inspection.head = hex::encode(bytes.get(..PREFIX_BYTES).unwrap_or(bytes));
        inspection
    }

    /// Whether it is of this content, by what the gate knows now.
    pub fn is_of(&self, content: &str) -> bool {
        self.rules == RULES && self.content == content && !content.is_empty()
    }

    /// What it says of itself, if it is sound.
    pub fn prefix(&self) -> Option<Prefix> {
        Prefix::parse(&hex::decode(&self.head).ok()?).ok()
    }

    /// Why it is offered to nobody as this version: it fails a check of the gate that nobody may overrule.
    pub fn refusal(&self, product: &ProductName, version: &Version, guard: &Facts) -> Option<Cause> {
        if self.fault.is_some() {
            return self.fault.clone();
        }
        let (header, descriptor) =
            self.prefix().map_or((None, None), |prefix| (Some(prefix.header), prefix.descriptor));
        let look = Look { header, descriptor, size: self.size };
        let asked = Publication { version: Some(version.clone()), ..Publication::new(product.clone()) };
        let mut found = Found { asked: &asked, settings: &guard.settings, findings: Vec::new() };
        compare::chip(&mut found, &look, guard);
        compare::keys(&mut found, &self.signers, guard);
        compare::version(&mut found, &look, Some(version), true);
        compare::floor(&mut found, &look, guard);
        // What another program calls a version need not be SemVer.
        let never = |check: Check| {
            check.level() == Level::Refuse && !check.is_overrulable() && check != Check::NoVersion
        };
        found.findings.into_iter().find(|finding| never(finding.check)).map(|finding| finding.cause)
    }
}
