//! What the first 288 bytes of an image tell: enough to name it, not enough to trust it.

#![allow(clippy::cast_possible_truncation, reason = "only constants below 256 are cast")]

use crate::descriptor::DESCRIPTOR_BYTES;
use crate::header::{HEADER_BYTES, MAGIC, SEGMENT_HEADER_BYTES};
use crate::{AppDescriptor, Header, ImageError, SegmentHeader};

/// Header, first segment header and application descriptor.
pub const PREFIX_BYTES: usize = DESCRIPTOR_OFFSET + DESCRIPTOR_BYTES;
const DESCRIPTOR_OFFSET: usize = HEADER_BYTES + SEGMENT_HEADER_BYTES;

/// The beginning of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The image's header.
    pub header: Header,
    /// Where the first segment goes, which carries the descriptor.
    pub first_segment: SegmentHeader,
    /// The application descriptor, if the image has one.
    pub descriptor: Option<AppDescriptor>,
}

impl Prefix {
    /// Reads the beginning of an image: [`PREFIX_BYTES`] or more, or less if that is all there is.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if let Some(first_byte) = bytes.first().copied().filter(|byte| *byte != MAGIC) {
            return Err(ImageError::NotAnImage { first_byte });
        }
        let truncated = ImageError::Truncated {
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            at_least: DESCRIPTOR_OFFSET as u32,
        };
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
        let header = Header::parse(header)?;
        let (first_segment, rest) = rest.split_first_chunk::<SEGMENT_HEADER_BYTES>().ok_or(truncated)?;
        let first_segment = SegmentHeader::parse(*first_segment, 0)?;
        let descriptor = rest
            .first_chunk::<DESCRIPTOR_BYTES>()
            .filter(|_| first_segment.length_bytes as usize >= DESCRIPTOR_BYTES)
            .and_then(AppDescriptor::parse);
        Ok(Self { header, first_segment, descriptor })
    }
}
