//! What is known of an image that was verified.

use crate::{AppDescriptor, Chip, Demo, Header, Region, Segment, Segments};

/// A sound image: every length, the checksum and, where there is one, the appended digest are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The header.
    pub header: Header,
    /// The application descriptor, if there is one.
    pub descriptor: Option<AppDescriptor>,
    /// The segments, in order.
    pub segments: Segments,
    /// The XOR of all segment data, as the image ends with it.
    pub checksum: u8,
    /// How long the image itself is: up to and including its appended digest.
    pub structural_bytes: u32,
    /// How long it is as published: with the signature sector and the padding before it, where there is one.
    pub total_bytes: u32,
    /// SHA-256 of all [`Self::total_bytes`]: the image's identity.
    pub sha256: [u8; 32],
    /// How many signature blocks the signature sector holds, 0 to 3; 0 if there is no such sector. None is verified.
    pub signature_blocks: u8,
    /// How a virtual device is to behave, if the image says so.
    pub demo: Option<Demo>,
}

impl Summary {
    /// The chip, if its id is known.
    pub fn chip(&self) -> Option<Chip> {
        self.header.chip()
    }

    /// The kind of memory that a segment goes to, if chip and address are known.
    pub fn region(&self, segment: &Segment) -> Option<Region> {
        self.chip()?.region(segment.load_address)
    }
}
