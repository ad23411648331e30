//! Whether it is an image at all, and whole: what the bytes themselves say, whatever they are to be published as.

use std::fmt::Write as _;

use image::{ImageError, Prefix, Verifier};

use super::{Check, grouped};

/// The application's place where nobody says another one (ESP-IDF's default partition table).
const APP_OFFSET: usize = 0x1_0000;
/// One entry of a partition table, of which there are at most 95 (`gen_esp32part.py`).
const ENTRY_BYTES: usize = 32;
const ENTRIES_MAX: usize = 95;
/// Of which so many can be applications: factory, sixteen slots, test.
const APPS_MAX: usize = 18;
/// And so many of those that begin like one are looked at whole: each of them may have all that follows it.
const HASHED_MAX: usize = 2;
const ENTRY_MAGIC: [u8; 2] = [0xAA, 0x50];

/// Which check a fault belongs to, and the sentence. `file` is what the person calls the image.
pub(super) fn refusal(bytes: &[u8], error: &ImageError, file: Option<&str>) -> (Check, String) {
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
        ImageError::MergedFlashImage { partition_table } => {
            return (Check::MergedImage, merged(bytes, *partition_table, file));
        }
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
    damaged.then(|| Prefix::parse(bytes).ok()).flatten()
}

/// What a merged image is, and the command that cuts the application out of it.
fn merged(bytes: &[u8], partition_table: u32, file: Option<&str>) -> String {
    let table = usize::try_from(partition_table).unwrap_or(usize::MAX);
    let (offset, said) = match app_offset(bytes, table) {
        Some(offset) => (offset, ""),
        None => (APP_OFFSET, ", if the application lies where it usually does"),
    };
    let file = quoted(file.unwrap_or("merged.bin"));
    // `tail` counts from 1; both programs are on every system that builds for these chips but Windows without a shell.
    let mut command = format!("tail -c +{} {file}", offset + 1);
    if let Some(length) = length_at(bytes, offset) {
        let _ = write!(command, " | head -c {length}");
    }
    format!(
        "this is a merged flash image (bootloader, partition table at 0x{partition_table:x}, application), not an \
         application; publish the build's own firmware.bin, or cut the application out, which lies at \
         0x{offset:x}{said}: `{command} > firmware.bin`"
    )
}

/// Where the first application partition lies that has an image in it, as the partition table says.
fn app_offset(bytes: &[u8], table: usize) -> Option<usize> {
    let entries = bytes.get(table..)?.chunks_exact(ENTRY_BYTES).take(ENTRIES_MAX);
    entries
        .take_while(|entry| entry.starts_with(&ENTRY_MAGIC))
        .filter(|entry| entry.get(2) == Some(&0))
        .take(APPS_MAX)
        .filter_map(|entry| {
            let offset = entry.get(4..8)?.first_chunk::<4>()?;
            usize::try_from(u32::from_le_bytes(*offset)).ok()
        })
        // Only these are hashed: a file that was made to cost time has as many as it likes.
        .filter(|offset| bytes.get(*offset..).is_some_and(|bytes| Prefix::parse(bytes).is_ok()))
        .take(HASHED_MAX)
        .find(|offset| length_at(bytes, *offset).is_some())
}

/// How long the image is that begins there, if there is one.
fn length_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let mut verifier = Verifier::in_slot();
    verifier.push(bytes.get(offset..)?).ok()?;
    verifier.finish().ok().map(|summary| summary.total_bytes)
}

/// A file's name as a shell takes it.
fn quoted(file: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if !file.is_empty() && !file.starts_with('-') && file.chars().all(plain) {
        return file.to_owned();
    }
    format!("'{}'", file.replace('\'', "'\\''"))
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
