//! Stamping: an application descriptor that is a library's becomes the application's own.
//!
//! Arduino and PlatformIO link a descriptor that their core's library build wrote. A stamp puts version, product and
//! secure version in its place and marks that, so that the image says itself what it is, in bytes that a signature covers. The
//! same stamp on the same image gives the same bytes. Refused: a signed image, whose signature would not hold any more, and one
//! whose descriptor is of another project.

use core::fmt;
use core::ops::Range;

use crate::descriptor::{MARK, MARK_FIELD, PROJECT_FIELD, SECURE_VERSION_FIELD, VERSION_FIELD};
use crate::header::{HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::{ImageError, verify};

/// So many bytes a version or a product may have: the descriptor's fields end with a NUL.
pub const STAMP_TEXT_MAX_BYTES: usize = 31;

const DIGEST_BYTES: usize = 32;

/// What an image is to say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The version.
    pub version: &'a str,
    /// The product, which becomes the project's name.
    pub product: &'a str,
    /// The anti-rollback counter; `None` leaves the one that the image has.
    pub secure_version: Option<u32>,
}

/// Why an image is not stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampError {
    /// It is not a sound image.
    Image(ImageError),
    /// It is signed.
    Signed,
    /// It has no application descriptor.
    NoDescriptor,
    /// Its descriptor is the application's own, and names another project: devices that run that take no other.
    OtherProject,
    /// The version does not fit into its field.
    LongVersion,
    /// The product does not fit into its field.
    LongProduct,
}

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => error.fmt(f),
            Self::Signed => f.write_str(
                "the image is signed, and its signature would not hold: stamp it first, then sign it",
            ),
            Self::NoDescriptor => {
                f.write_str("the image has no application descriptor in which a stamp could lie")
            }
            Self::OtherProject => f.write_str(
                "the image says itself of which project it is, and devices that run it refuse every other: \
                 give the version in its build, or that project's name as the product",
            ),
            Self::LongVersion => write!(
                f,
                "the version does not fit: the descriptor has room for {STAMP_TEXT_MAX_BYTES} bytes"
            ),
            Self::LongProduct => write!(
                f,
                "the product does not fit: the descriptor has room for {STAMP_TEXT_MAX_BYTES} bytes"
            ),
        }
    }
}

impl core::error::Error for StampError {}

/// Stamps an image where it lies. After an error it is as it was.
pub fn stamp(image: &mut [u8], stamp: &Stamp<'_>) -> Result<(), StampError> {
    let summary = verify(image).map_err(StampError::Image)?;
    if summary.signed_digest.is_some() {
        return Err(StampError::Signed);
    }
    let own = summary.descriptor.ok_or(StampError::NoDescriptor)?;
    if own.is_apps_own() && !own.is_stamped() && own.project_name() != stamp.product {
        return Err(StampError::OtherProject);
    }
    if stamp.version.len() > STAMP_TEXT_MAX_BYTES {
        return Err(StampError::LongVersion);
    }
    if stamp.product.len() > STAMP_TEXT_MAX_BYTES {
        return Err(StampError::LongProduct);
    }
    let before = xor(descriptor(image));
    put(image, VERSION_FIELD, stamp.version.as_bytes());
    put(image, PROJECT_FIELD, stamp.product.as_bytes());
    put(image, MARK_FIELD, &MARK);
    if let Some(secure_version) = stamp.secure_version {
        put(image, SECURE_VERSION_FIELD, &secure_version.to_le_bytes());
    }
    let change = before ^ xor(descriptor(image));
    let digest_bytes = if summary.header.hash_appended { DIGEST_BYTES } else { 0 };
    let (content, digest) = image.split_at_mut(image.len() - digest_bytes);
    if let Some(checksum) = content.last_mut() {
        *checksum ^= change;
    }
    if !digest.is_empty() {
        digest.copy_from_slice(&crate::digest(content));
    }
    Ok(())
}

/// The descriptor, which the first segment begins with; all of it is there, since it was read.
fn descriptor(image: &mut [u8]) -> &mut [u8] {
    image
        .get_mut(HEADER_BYTES + SEGMENT_HEADER_BYTES..)
        .and_then(|rest| rest.get_mut(..MARK_FIELD.end))
        .unwrap_or_default()
}

/// Fills a field: the value, and zeros behind it.
fn put(image: &mut [u8], field: Range<usize>, value: &[u8]) {
    let field = descriptor(image).get_mut(field).unwrap_or_default();
    let values = value.iter().copied().chain(core::iter::repeat(0));
    field.iter_mut().zip(values).for_each(|(place, byte)| *place = byte);
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
