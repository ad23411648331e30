//! Whether it is an image at all, and whole: what the bytes themselves say, whatever they are to be published as.

use image::{ImageError, Prefix};

use cause::grouped;

use crate::releases::gate::check::Check;
use crate::releases::gate::facts::Slot;
use crate::releases::gate::merged::Merged;

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
    (check, sentence(error))
}

/// What is wrong and what to do. The first half is what a device says too, but for its numbers.
fn sentence(error: &ImageError) -> String {
    let what = match *error {
        ImageError::Truncated { bytes, at_least } if bytes > 0 => format!(
            "the image is cut short: it has {} bytes, but its header and segments need at least {}",
            grouped(bytes.into()),
            grouped(at_least.into())
        ),
        ImageError::TrailingBytes { end } => format!(
            "the image ends at byte {}, but the file goes on with something that is not a signature",
            grouped(end.into())
        ),
        other => other.to_string(),
    };
    let advice = match error {
        // They say it themselves.
        ImageError::NotAnApplication | ImageError::MergedFlashImage { .. } => return what,
        ImageError::NotAnImage { .. }
        | ImageError::NotForEsp32 { .. }
        | ImageError::Truncated { bytes: 0, .. } => {
            "publish the firmware.bin that the build for an ESP32 leaves"
        }
        ImageError::Truncated { .. }
        | ImageError::Checksum { .. }
        | ImageError::Digest
        | ImageError::SegmentCount { .. }
        | ImageError::SegmentLength { .. } => "copy it from the build again, or build it again",
        ImageError::TrailingBytes { .. } => "publish the firmware.bin as the build left it",
        ImageError::SegmentMisaligned { .. } => "make it with the build's own tools (`esptool elf2image`)",
        ImageError::TooLarge => "publish the application alone (firmware.bin), or make it smaller",
        ImageError::Signature { .. } => "sign it again, as it was built",
    };
    format!("{what}; {advice}")
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
pub(super) fn too_large(size: u64, product: &str, slot: &Slot) -> String {
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
