//! Segments: what is loaded where. Sixteen at most, kept without an allocator.

use core::ops::Deref;

use crate::{ImageError, u32_at};

/// At most so many bytes are an image: the largest flash that a bootloader maps.
pub const IMAGE_MAX_BYTES: u32 = 16 * 1024 * 1024;
/// How many segments an image can have (`ESP_IMAGE_MAX_SEGMENTS`).
pub const SEGMENTS_MAX: usize = 16;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 8;

/// The eight bytes before a segment's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Where the data is loaded or mapped.
    pub load_address: u32,
    /// How long the data is, in bytes; a multiple of four.
    pub length_bytes: u32,
}

impl SegmentHeader {
    /// Reads the header of segment `index`, refusing the lengths that the bootloader refuses.
    pub(crate) fn parse(bytes: [u8; SEGMENT_HEADER_BYTES], index: u8) -> Result<Self, ImageError> {
        let header = Self { load_address: u32_at(&bytes, 0), length_bytes: u32_at(&bytes, 4) };
        if !header.length_bytes.is_multiple_of(4) || header.length_bytes >= IMAGE_MAX_BYTES {
            return Err(ImageError::SegmentLength { index, length_bytes: header.length_bytes });
        }
        Ok(header)
    }
}

/// A segment that was seen whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where the data is loaded or mapped.
    pub load_address: u32,
    /// Where in the image the data begins, after the segment's header.
    pub offset: u32,
    /// How long the data is, in bytes.
    pub length_bytes: u32,
}

/// An image's segments, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments {
    all: [Segment; SEGMENTS_MAX],
    count: u8,
}

impl Segments {
    /// Adds a segment; one beyond the bound, which the header's check has excluded, is dropped.
    pub(crate) fn push(&mut self, segment: Segment) {
        if let Some(place) = self.all.get_mut(usize::from(self.count)) {
            *place = segment;
            self.count += 1;
        }
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> u8 {
        self.count
    }
}

impl Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        self.all.get(..usize::from(self.count)).unwrap_or_default()
    }
}
