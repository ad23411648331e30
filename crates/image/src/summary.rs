//! What is known of an image that was verified.

use crate::{AppDescriptor, Chip, Demo, Header, Region, SECTOR_BYTES, Segment, Segments};

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
    /// How many signature blocks the signature sector holds, 0 to 3; 0 if there is no such sector. Each of them is for
    /// this image, but none is verified: [`crate::signature`] does that.
    pub signature_blocks: u8,
    /// What those blocks sign: SHA-256 of the image and the padding up to [`Self::signature_offset`]. `None` if there is
    /// no signature sector.
    pub signed_digest: Option<[u8; 32]>,
    /// How a virtual device is to behave, if the image says so.
    pub demo: Option<Demo>,
}

impl Summary {
    /// The chip, if its id is known.
    pub fn chip(&self) -> Option<Chip> {
        self.header.chip()
    }

    /// Where the signature sector begins, if there is one: it is the last 4096 of [`Self::total_bytes`].
    pub fn signature_offset(&self) -> Option<u32> {
        self.signed_digest.map(|_| self.total_bytes - SECTOR_BYTES)
    }

    /// Whether damage would have been seen: a SHA-256 was compared, the appended one or that of a signature block. An
    /// image for which this is false is guarded by eight bits of checksum.
    pub fn is_protected(&self) -> bool {
        self.header.hash_appended || self.signed_digest.is_some()
    }

    /// The kind of memory that a segment goes to, if chip and address are known.
    pub fn region(&self, segment: &Segment) -> Option<Region> {
        self.chip()?.region(segment.load_address)
    }
}
