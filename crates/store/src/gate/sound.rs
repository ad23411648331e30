//! Whether it is an image at all, and whole: what the bytes themselves say, whatever they are to be published as.

use image::{ImageError, Prefix};

use super::merged::Merged;
use super::{Check, grouped};

/// Which check a fault belongs to, and the sentence. `file` is what the person calls the image.
pub(super) fn refusal(bytes: &[u8], error: &ImageError, file: Option<&str>) -> (Check, String) {
    if let Some(merged) = Merged::find(bytes, error) {
        return (Check::MergedImage, merged.sentence(bytes, file));
    }
    let check = match error {
        ImageError::NotAnImage { .. }
        | ImageError::NotForEsp32 { .. }
        | ImageError::Truncated { bytes: 0, .. }
        | ImageError::NotAnApplication => Check::NotAnImage,
        ImageError::Truncated { .. } => Check::Truncated,
        // `too-large` is about a slot, and can be overruled.
        ImageError::TooLarge
        | ImageError::SegmentCount { .. }
        | ImageError::SegmentLength { .. }
        | ImageError::SegmentMisaligned { .. }
        | ImageError::TrailingBytes { .. } => Check::Layout,
        ImageError::Checksum { .. } => Check::Checksum,
        ImageError::Digest => Check::Digest,
        ImageError::Signature { .. } => Check::Signature,
        ImageError::MergedFlashImage { .. } => Check::MergedImage,
    };
    (check, error.to_string())
}

/// Header and descriptor of an image that is damaged further on, so that more can be said of it than that.
pub(super) fn prefix(bytes: &[u8], error: &ImageError) -> Option<Prefix> {
    let damaged = matches!(
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
    let is_told = damaged && Merged::find(bytes, error).is_none();
    is_told.then(|| Prefix::parse(bytes).ok()).flatten()
}

/// An image that no slot of the product can hold.
pub(super) fn too_large(size: u64, product: &str, slot: &super::Slot) -> String {
    let whose = match &slot.device {
        Some(device) => format!("the device {device} reports it"),
        None => "slot_bytes in its product.json".to_owned(),
    };
    format!(
        "the image has {} bytes, but the smallest slot of {product} has {} ({whose}); make it smaller",
        grouped(size),
        grouped(u64::from(slot.bytes))
    )
}
