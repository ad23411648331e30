//! Whose signatures an image needs: of so many trusted keys, and by a key in eFuse under hardware secure boot.
//!
//! Trust is what the newest image that was confirmed here was compiled with. It is kept in the record, so that an older image that
//! runs again, with older keys compiled in, goes by it too. Without a record the keys compiled in count.

#[cfg(feature = "signature")]
mod verified;

use crate::port::Settings;
use crate::record::Record;
use crate::refusal::{Refusal, refuse};
use crate::verify::SlotImage;
#[cfg(feature = "signature")]
use verified::{judge_blocks, keep_trust};

const SIGNATURE_MAGIC: u8 = 0xE7;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// Digests of the keys that count; `None`: unsigned images are taken.
    keys: Option<&'a [[u8; 32]]>,
    /// So many of them must have signed.
    #[cfg_attr(not(feature = "signature"), expect(dead_code, reason = "no signature is counted"))]
    required: u8,
    /// Digests of the keys in eFuse, under hardware secure boot.
    secure_boot: Option<&'a [[u8; 32]]>,
}

/// Whether an image is signed by those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// By everybody it must be signed by.
    Yes,
    /// There are signatures, and none is needed.
    Unchecked,
    /// There are none, and none is needed.
    No,
}

impl<'a> Trust<'a> {
    pub(crate) fn of(settings: &'a Settings, record: &'a Record) -> Self {
        let secure_boot = settings.hardware.secure_boot;
        match &record.trusted {
            Some(trusted) => Self { keys: Some(&trusted.keys), required: trusted.required, secure_boot },
            None => {
                let keys = Some(settings.trusted_keys).filter(|keys| !keys.is_empty());
                Self { keys, required: settings.signatures_required, secure_boot }
            }
        }
    }

    /// Only what the bootloader asks for.
    pub(crate) fn of_bootloader(settings: &'a Settings) -> Self {
        Self { keys: None, required: 0, secure_boot: settings.hardware.secure_boot }
    }

    /// Whether an unsigned image is refused.
    pub(crate) fn wants_signature(&self) -> bool {
        self.keys.is_some() || self.secure_boot.is_some()
    }

    pub(crate) fn keys(&self) -> &'a [[u8; 32]] {
        self.keys.unwrap_or_default()
    }
}

/// Notes that an image runs confirmed, and keeps the trust that it sets up: not if it was confirmed before, nor if by its own
/// word it is older than the one that set up what is kept. A higher secure version makes any image newer.
#[inline(never)]
pub(crate) fn note_confirmed(record: &mut Record, settings: &Settings, image: &SlotImage) {
    if !record.was_confirmed(&image.sha256) {
        keep_trust(record, settings, image);
    }
    record.confirm(image.sha256);
    record.secure_version = record.secure_version.max(image.traits.secure_version);
}

/// Judges the signature blocks in a file's last sector. That what they sign is this image is the verifier's to see.
pub(crate) fn signed_by(sector: &[u8], trust: Trust<'_>) -> Result<Signed, Refusal> {
    let is_block = sector.first() == Some(&SIGNATURE_MAGIC);
    match (trust.wants_signature(), is_block) {
        (false, false) => Ok(Signed::No),
        (false, true) => Ok(Signed::Unchecked),
        (true, false) => refuse!(Unsigned),
        (true, true) => judge_blocks(sector, trust),
    }
}

/// Firmware that verifies no signature takes no image where one is wanted, and sets up no trust.
#[cfg(not(feature = "signature"))]
fn judge_blocks(_: &[u8], _: Trust<'_>) -> Result<Signed, Refusal> {
    refuse!(CannotVerify)
}

#[cfg(not(feature = "signature"))]
fn keep_trust(_: &mut Record, _: &Settings, _: &SlotImage) {}
