//! The ESP32 application image: parse, verify, stamp, build.
//!
//! This crate owns the layout that ESP-IDF's `esp_app_format.h` and `esp_app_desc.h` describe, and the names
//! of the chips. It believes nothing that an image says of itself: every length is bounded before it is used,
//! every sum is checked, and no input can make it panic or allocate.
//!
//! [`Verifier`] takes an image in pieces of any size, from a download or from flash; [`verify`] takes it whole.
//! [`Prefix`] reads the little that the first 288 bytes tell. Who signed an image, [`signature`] says.
#![no_std]

#[cfg(any(feature = "build", feature = "sign"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

use sha2::{Digest, Sha256};

#[cfg(feature = "build")]
pub mod build;
mod chip;
mod demo;
mod descriptor;
mod error;
mod header;
mod prefix;
pub mod signature;
#[cfg(feature = "sign")]
pub mod signing;
mod stamp;
mod summary;
mod verifier;

pub use chip::{Chip, Region, UnknownChip};
pub use demo::{Behaviour, Demo, UnknownBehaviour};
pub use descriptor::AppDescriptor;
pub use error::ImageError;
pub use header::{Header, IMAGE_MAX_BYTES, Revision, SEGMENTS_MAX, Segment, SegmentHeader, Segments};
pub use prefix::{PREFIX_BYTES, Prefix};
pub use stamp::{STAMP_TEXT_MAX_BYTES, Stamp, StampError, stamp};
pub use summary::Summary;
pub use verifier::{Verifier, verify};

/// The flash's erase unit, on which signature sectors begin.
const SECTOR_BYTES: u32 = 4096;

/// Reads a little-endian `u16` from a part of a buffer whose length the caller knows.
#[allow(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u32_at(bytes, offset) as u16
}

/// Reads a little-endian `u32` from a part of a buffer whose length the caller knows; what lies behind the end reads as 0.
#[inline(never)]
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let bytes = bytes.iter().skip(offset).take(4);
    bytes.rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

// One function for each use of SHA-256: copies of them in every caller take kilobytes of a device's flash.

/// Takes more bytes.
#[inline(never)]
pub fn digest_on(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(bytes);
}

/// The digest of bytes that are in memory as a whole.
#[inline(never)]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    digest_on(&mut hash, bytes);
    digest_so_far(&hash)
}

/// The digest of all that was taken so far; more can follow.
#[inline(never)]
pub fn digest_so_far(hash: &Sha256) -> [u8; 32] {
    hash.clone().finalize().into()
}
