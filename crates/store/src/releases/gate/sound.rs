//! Whether it is an image at all, whole, and with good signatures: what the bytes themselves say, whatever they are to be
//! published as.

use cause::{Cause, Entry, gate};
use contract::Sha256;
use image::signature::SignatureSector;
use image::{ImageError, Prefix, Summary};

use crate::releases::gate::check::Check;
use crate::releases::gate::merged::Merged;

/// Which check a fault belongs to, and what it is. `file` is what the person calls the image.
pub(super) fn refusal(bytes: &[u8], error: &ImageError, file: Option<&str>) -> (Check, Cause) {
    if let Some(merged) = Merged::find(bytes, error) {
        return (Check::MergedImage, merged.cause(bytes, file));
    }
    let fault = |entry: Entry| entry.naming("fault", error);
    match *error {
        ImageError::NotAnImage { .. }
        | ImageError::NotForEsp32 { .. }
        | ImageError::Truncated { bytes: 0, .. } => (Check::NotAnImage, fault(gate::NOT_AN_IMAGE)),
        ImageError::NotAnApplication => (Check::NotAnImage, fault(gate::NOT_AN_APPLICATION)),
        ImageError::Truncated { bytes, at_least } => {
            (Check::Truncated, gate::TRUNCATED.with("size", bytes).with("at_least", at_least))
        }
        // `too-large` is about a slot, and can be overruled.
        ImageError::TooLarge => (Check::Layout, fault(gate::TOO_LONG)),
        ImageError::SegmentCount { .. } | ImageError::SegmentLength { .. } => {
            (Check::Layout, fault(gate::CORRUPT))
        }
        ImageError::SegmentMisaligned { .. } => (Check::Layout, fault(gate::MISALIGNED)),
        ImageError::TrailingBytes { end } => (Check::Layout, gate::TRAILING_BYTES.with("end", end)),
        ImageError::Checksum { .. } => (Check::Checksum, fault(gate::CORRUPT)),
        ImageError::Digest => (Check::Digest, fault(gate::CORRUPT)),
        ImageError::Signature { .. } => (Check::Signature, fault(gate::MALFORMED_SIGNATURE)),
        ImageError::MergedFlashImage { .. } => (Check::MergedImage, fault(gate::NOT_AN_APPLICATION)),
    }
}

/// Header and descriptor of an image that is corrupt further on, so that more can be said of it than that.
pub(super) fn prefix(bytes: &[u8], error: &ImageError) -> Option<Prefix> {
    let is_corrupt = matches!(
        error,
        ImageError::Truncated { .. }
            | ImageError::SegmentLength { .. }
            | ImageError::SegmentMisaligned { .. }
            | ImageError::TrailingBytes { .. }
            | ImageError::Checksum { .. }
            | ImageError::Digest
            | ImageError::Signature { .. }
    );
    // Nothing is said of a bootloader.
    let is_shown = is_corrupt && Merged::find(bytes, error).is_none();
    is_shown.then(|| Prefix::parse(bytes).ok()).flatten()
}

/// The digests of the keys whose signatures are good; none for an image that is not signed. Refuses one with
/// signatures of which none is good: every device that looks would refuse it, and something went wrong on the way here. For an
/// image that was verified: its blocks are for it.
pub(super) fn signers(bytes: &[u8], summary: &Summary) -> Result<Vec<Sha256>, Cause> {
    let sector = summary.signed_digest.and_then(|_| SignatureSector::of_file(bytes));
    let Some(sector) = sector else { return Ok(Vec::new()) };
    let mut signers = Vec::new();
    let mut first_error = None;
    for (place, block) in sector.blocks() {
        match block.and_then(|block| block.verify().map(|()| block.key_digest())) {
            Ok(key) => signers.push(Sha256(key)),
            Err(error) => first_error = first_error.or(Some((place, error))),
        }
    }
    match first_error {
        Some((place, error)) if signers.is_empty() => {
            Err(gate::BAD_SIGNATURE.with("block", place + 1).naming("fault", error))
        }
        _ => Ok(signers),
    }
}
