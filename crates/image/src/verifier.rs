//! The streaming verifier: an image goes in from offset 0 in pieces of any size; a verdict comes out.
//!
//! The pieces never matter: the same bytes give the same verdict. State is bounded, nothing is allocated, and the
//! first fault in the order of the bytes is the one reported.

#![allow(
    clippy::cast_possible_truncation,
    reason = "pieces are cut to IMAGE_MAX_BYTES before they are counted"
)]

use sha2::{Digest, Sha256};

use crate::descriptor::DESCRIPTOR_BYTES;
use crate::header::{HEADER_BYTES, MAGIC, SEGMENT_HEADER_BYTES};
use crate::{
    AppDescriptor, Demo, Header, IMAGE_MAX_BYTES, ImageError, SECTOR_BYTES, Segment, SegmentHeader, Segments,
    Summary, digest_on, digest_so_far,
};

mod trailing;

const CHECKSUM_SEED: u8 = 0xEF;
const DIGEST_BYTES: usize = 32;
/// Where partition tables are put, and what they begin with.
const PARTITION_TABLE_FIRST: u32 = 0x8000;
const PARTITION_TABLE_LAST: u32 = 0x1_0000;
const PARTITION_MAGIC: [u8; 2] = [0xAA, 0x50];

/// Verifies an image that it is given in pieces.
// In this order, so that what is small is reached in one instruction.
#[repr(C)]
#[derive(Debug, Clone)]
pub struct Verifier {
    stage: Stage,
    /// Bytes taken so far.
    offset: u32,
    head_bytes: usize,
    header: Option<Header>,
    /// Where the image ends, once it has.
    structural_bytes: u32,
    /// Length and hash of what would count as the whole if nothing more came.
    total_bytes: u32,
    sha256: [u8; 32],
    /// What the appended digest, or the one in the signature blocks, ought to be.
    computed: [u8; DIGEST_BYTES],
    source: Source,
    checksum: u8,
    /// Whether `computed` is the one in the signature blocks.
    is_signed: bool,
    signature_blocks: u8,
    /// Of all bytes so far.
    hash: Sha256,
    segments: Segments,
    /// The beginning of what is being read: a header, a segment's data, the digest, a signature block.
    head: [u8; DESCRIPTOR_BYTES],
    descriptor: Option<AppDescriptor>,
    demo: Option<Demo>,
}

/// Where the bytes come from, which decides what may follow the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Nothing but a signature sector may follow.
    File,
    /// Anything may follow: the slot is larger than the image.
    Slot,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Header,
    SegmentHeader,
    SegmentData {
        left: u32,
    },
    /// Padding, then the checksum as the last byte.
    Checksum {
        left: u32,
    },
    Digest,
    /// 0xFF up to the sector in which a signature may lie.
    Padding {
        left: u32,
    },
    Signature {
        left: u32,
    },
    /// All is read; in a file, one more byte is one too many.
    End,
    /// It is refused, but a partition table further on would give a better reason.
    Suspect {
        error: ImageError,
        first_magic_seen: bool,
    },
    Refused(ImageError),
}

/// Verifies an image that is in memory as a whole.
pub fn verify(bytes: &[u8]) -> Result<Summary, ImageError> {
    let mut verifier = Verifier::new();
    verifier.push(bytes)?;
    verifier.finish()
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// For a file or a download: the bytes end where the image does.
    pub fn new() -> Self {
        Self::of(Source::File)
    }

    /// For a slot in flash, whose length says nothing of the image's: what follows the image is not looked at,
    /// except for a signature sector that was made for this very image.
    pub fn in_slot() -> Self {
        Self::of(Source::Slot)
    }

    #[inline(never)]
    fn of(source: Source) -> Self {
        Self {
            source,
            stage: Stage::Header,
            offset: 0,
            hash: Sha256::new(),
            head: [0; DESCRIPTOR_BYTES],
            head_bytes: 0,
            header: None,
            descriptor: None,
            demo: None,
            segments: Segments::default(),
            checksum: CHECKSUM_SEED,
            computed: [0; DIGEST_BYTES],
            is_signed: false,
            structural_bytes: 0,
            total_bytes: 0,
            sha256: [0; 32],
            signature_blocks: 0,
        }
    }

    /// Takes the next bytes. An error is final: it comes again from every later call.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        while !bytes.is_empty() {
            match self.stage {
                Stage::Refused(error) => return Err(error),
                Stage::End if self.source == Source::Slot => return Ok(()),
                _ => {}
            }
            // Each round takes a byte or moves on to a later stage, so this ends.
            let taken = self.step(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        match self.stage {
            Stage::Refused(error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The header, as soon as it was read: a wrong chip need not be downloaded to the end.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The application descriptor, as soon as the first segment was read.
    pub fn descriptor(&self) -> Option<&AppDescriptor> {
        self.descriptor.as_ref()
    }

    /// Whether more bytes could change the verdict. `false` means that a slot was read far enough, or that the image
    /// is refused.
    pub fn wants_more(&self) -> bool {
        match self.stage {
            Stage::Refused(_) => false,
            Stage::End => self.source == Source::File,
            _ => true,
        }
    }

    /// What the demonstration's segment says, as soon as it was read.
    pub fn demo(&self) -> Option<&Demo> {
        self.demo.as_ref()
    }

    /// Of a good image: how long it is as published.
    pub fn total_bytes(&self) -> u32 {
        self.total_bytes
    }

    /// Of a good image: its identity.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Of a good image: as [`Summary::signature_offset`].
    pub fn signature_offset(&self) -> Option<u32> {
        self.is_signed.then(|| self.total_bytes - SECTOR_BYTES)
    }

    /// Of a good image: as [`Summary::is_protected`].
    pub fn is_protected(&self) -> bool {
        self.is_signed || self.header.is_some_and(|header| header.hash_appended)
    }

    /// All that is known of a good image: 700 bytes.
    pub fn finish(&self) -> Result<Summary, ImageError> {
        let header = *self.verdict()?;
        Ok(Summary {
            header,
            descriptor: self.descriptor,
            segments: self.segments.clone(),
            checksum: self.checksum,
            structural_bytes: self.structural_bytes,
            total_bytes: self.total_bytes,
            sha256: self.sha256,
            // Of a sector that was read to its end.
            signature_blocks: if self.is_signed { self.signature_blocks } else { 0 },
            signed_digest: self.is_signed.then_some(self.computed),
            demo: self.demo,
        })
    }

    /// The verdict on all that was pushed, and a good image's header.
    #[inline(never)]
    pub fn verdict(&self) -> Result<&Header, ImageError> {
        let (offset, structural_bytes) = (self.offset, self.structural_bytes);
        let truncated = |at_least: u32| ImageError::Truncated { bytes: offset, at_least };
        let head_left = |length: usize| offset + (length - self.head_bytes) as u32;
        match self.stage {
            Stage::Refused(error) | Stage::Suspect { error, .. } => return Err(error),
            Stage::Header => return Err(truncated(head_left(HEADER_BYTES))),
            Stage::SegmentHeader => return Err(truncated(head_left(SEGMENT_HEADER_BYTES))),
            Stage::Digest => return Err(truncated(head_left(DIGEST_BYTES))),
            Stage::SegmentData { left } | Stage::Checksum { left } => {
                return Err(truncated(offset.saturating_add(left)));
            }
            Stage::End => {}
            Stage::Padding { .. } | Stage::Signature { .. } if self.source == Source::Slot => {}
            Stage::Signature { left } if left < SECTOR_BYTES => return Err(truncated(offset + left)),
            Stage::Padding { .. } | Stage::Signature { .. } if offset == structural_bytes => {}
            Stage::Padding { .. } | Stage::Signature { .. } => {
                return Err(ImageError::TrailingBytes { end: structural_bytes });
            }
        }
        // Every stage after the first has a header.
        self.header.as_ref().ok_or(truncated(HEADER_BYTES as u32))
    }

    /// Takes some of the bytes, of which there is at least one, and says how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.offset >= IMAGE_MAX_BYTES {
            self.stage = Stage::Refused(ImageError::TooLarge);
            return 0;
        }
        let bytes = beginning(bytes, IMAGE_MAX_BYTES - self.offset);
        let Some(first) = bytes.first().copied() else { return 0 };
        match self.stage {
            Stage::Header => self.header_step(bytes, first),
            Stage::SegmentHeader => self.segment_header_step(bytes),
            Stage::SegmentData { left } => self.segment_data_step(bytes, left),
            Stage::Checksum { left } => self.checksum_step(bytes, left),
            Stage::Digest => self.digest_step(bytes),
            Stage::Padding { left } => self.padding_step(bytes, left),
            Stage::Signature { left } => self.signature_step(bytes, first, left),
            Stage::End => self.beyond(),
            Stage::Suspect { error, first_magic_seen } => {
                self.suspect_step(bytes, first, error, first_magic_seen)
            }
            Stage::Refused(_) => bytes.len(),
        }
    }

    fn header_step(&mut self, bytes: &[u8], first_byte: u8) -> usize {
        if self.offset == 0 && first_byte != MAGIC {
            let error = ImageError::NotAnImage { first_byte };
            // On some chips the bootloader lies at 0x1000 or 0x2000, and a picture of the flash begins with nothing.
            self.stage = if first_byte == 0xFF { self.suspect(error) } else { Stage::Refused(error) };
            return 0;
        }
        let taken = self.gather(bytes, HEADER_BYTES);
        if let Some(head) = self.head_complete::<HEADER_BYTES>() {
            match Header::parse(&head) {
                Ok(header) => {
                    self.header = Some(header);
                    self.stage = Stage::SegmentHeader;
                }
                Err(error) => self.stage = Stage::Refused(error),
            }
        }
        taken
    }

    fn segment_header_step(&mut self, bytes: &[u8]) -> usize {
        let taken = self.gather(bytes, SEGMENT_HEADER_BYTES);
        let Some(head) = self.head_complete::<SEGMENT_HEADER_BYTES>() else { return taken };
        let index = self.segments.count();
        match SegmentHeader::parse(head, index) {
            // Refused here rather than after 16 MiB were downloaded in vain.
            Ok(segment) if segment.length_bytes > IMAGE_MAX_BYTES - self.offset => {
                self.stage = Stage::Refused(ImageError::TooLarge);
            }
            Ok(SegmentHeader { load_address, length_bytes }) => {
                self.segments.push(Segment { load_address, offset: self.offset, length_bytes });
                self.stage = Stage::SegmentData { left: length_bytes };
                if length_bytes == 0 {
                    self.close_segment();
                }
            }
            Err(error) => self.stage = Stage::Refused(error),
        }
        taken
    }

    fn segment_data_step(&mut self, bytes: &[u8], left: u32) -> usize {
        let data = beginning(bytes, left);
        let taken = data.len();
        self.checksum = data.iter().fold(self.checksum, |sum, byte| sum ^ byte);
        self.keep(data);
        self.take(data);
        let left = left - taken as u32;
        self.stage = Stage::SegmentData { left };
        if left == 0 {
            self.close_segment();
        }
        taken
    }

    /// A segment was read whole: looks at its beginning and decides what comes next.
    fn close_segment(&mut self) {
        let data = self.head.get(..self.head_bytes).unwrap_or_default();
        if self.segments.count() == 1 {
            self.descriptor = data.first_chunk().and_then(AppDescriptor::parse);
        }
        self.demo = self.demo.or_else(|| Demo::parse(data));
        self.head_bytes = 0;
        let segment_count = self.header.map_or(0, |header| header.segment_count);
        self.stage = if self.segments.count() < segment_count {
            Stage::SegmentHeader
        } else {
            // The checksum is the last byte of a block of 16, and never in a block that data fills.
            Stage::Checksum { left: 16 - self.offset % 16 }
        };
    }

    fn checksum_step(&mut self, bytes: &[u8], left: u32) -> usize {
        let padding = beginning(bytes, left);
        let taken = padding.len();
        self.take(padding);
        let left = left - taken as u32;
        self.stage = Stage::Checksum { left };
        if left > 0 {
            return taken;
        }
        let (stored, computed) = (padding.last().copied().unwrap_or_default(), self.checksum);
        if stored != computed {
            self.stage = Stage::Refused(ImageError::Checksum { stored, computed });
        } else if self.header.is_some_and(|header| header.hash_appended) {
            self.computed = digest_so_far(&self.hash);
            self.stage = Stage::Digest;
        } else {
            self.close_image();
        }
        taken
    }

    fn digest_step(&mut self, bytes: &[u8]) -> usize {
        let taken = self.gather(bytes, DIGEST_BYTES);
        if let Some(digest) = self.head_complete::<DIGEST_BYTES>() {
            if digest == self.computed {
                self.close_image();
            } else {
                self.stage = Stage::Refused(ImageError::Digest);
            }
        }
        taken
    }

    /// The image was read whole: what remains to be judged is its segments together.
    fn close_image(&mut self) {
        self.structural_bytes = self.offset;
        self.mark_total();
        self.stage = match self.placement() {
            Ok(()) => match self.offset.next_multiple_of(SECTOR_BYTES) - self.offset {
                0 => Stage::Signature { left: SECTOR_BYTES },
                left => Stage::Padding { left },
            },
            // A bootloader is where a picture of the flash begins.
            Err(error) => self.suspect(error),
        };
    }

    /// Whether a bootloader could put the segments where they want to be. Nothing is said of unknown chips.
    fn placement(&self) -> Result<(), ImageError> {
        let Some(chip) = self.header.and_then(|header| header.chip()) else { return Ok(()) };
        let page_bytes = match self.descriptor.map_or(0, |descriptor| descriptor.mmu_page_size_log2()) {
            _ if chip.has_fixed_mmu_page() => 1 << 16,
            log2 @ 13..=16 => 1 << log2,
            // Older builds do not say; 8 KiB is the smallest page there is.
            _ => 1 << 13,
        };
        let mut mapped = 0;
        for (index, segment) in (0..).zip(self.segments.iter()) {
            let Segment { load_address, offset, .. } = *segment;
            if !chip.maps_flash_at(load_address) {
                continue;
            }
            mapped += 1;
            if load_address % page_bytes != offset % page_bytes {
                return Err(ImageError::SegmentMisaligned { index, offset, load_address });
            }
        }
        if mapped == 0 { Err(ImageError::NotAnApplication) } else { Ok(()) }
    }

    /// What was read so far is a whole.
    fn mark_total(&mut self) {
        self.total_bytes = self.offset;
        self.sha256 = digest_so_far(&self.hash);
    }

    /// Counts and hashes bytes.
    #[inline(never)]
    fn take(&mut self, bytes: &[u8]) {
        digest_on(&mut self.hash, bytes);
        self.offset += bytes.len() as u32;
    }

    /// Takes bytes into the head until it holds `length`, and says how many.
    fn gather(&mut self, bytes: &[u8], length: usize) -> usize {
        let bytes = beginning(bytes, length.saturating_sub(self.head_bytes) as u32);
        self.keep(bytes);
        self.take(bytes);
        bytes.len()
    }

    /// Keeps what the head still has room for.
    #[inline(never)]
    fn keep(&mut self, bytes: &[u8]) {
        for (place, byte) in self.head.iter_mut().skip(self.head_bytes).zip(bytes) {
            *place = *byte;
        }
        self.head_bytes = DESCRIPTOR_BYTES.min(self.head_bytes + bytes.len());
    }

    /// The head, once it holds exactly `N` bytes; it is empty again afterwards.
    fn head_complete<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.head_bytes != N {
            return None;
        }
        self.head_bytes = 0;
        self.head.first_chunk().copied()
    }
}

/// The first `length` bytes, or all if there are fewer.
#[inline(never)]
fn beginning(bytes: &[u8], length: u32) -> &[u8] {
    bytes.get(..length as usize).unwrap_or(bytes)
}

#[cfg(test)]
mod tests;
