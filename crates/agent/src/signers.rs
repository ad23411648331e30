//! Who signed an image, and whom an image that is confirmed sets up to be trusted.

#[cfg(feature = "signature")]
mod verified;

use crate::port::Settings;
use crate::record::Record;
use crate::refusal::{Refusal, refuse};
use crate::trust::{Signed, Trust};
use crate::verify::SlotImage;
#[cfg(feature = "signature")]
use verified::{judge_blocks, keep_trust};

const SIGNATURE_MAGIC: u8 = 0xE7;

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
