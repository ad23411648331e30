//! Reading an image back from flash: the only proof that a slot holds what was received.

use contract::Version;
use embedded_storage::nor_flash::ReadNorFlash;
use image::{AppDescriptor, Chip, Header, ImageError, Verifier, digest_on, digest_so_far};
use sha2::{Digest, Sha256};

use crate::checks::{Traits, own_version, version_of};
use crate::flash::{self, Fault, WRITE_ALIGN_BYTES};
use crate::partition::Partition;

const CHUNK_BYTES: usize = 512;
/// How much one step reads: short enough that the network is not kept waiting.
const STEP_BYTES: u32 = 64 * 1024;

/// An image that lies in a slot and verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotImage {
    /// Of all bytes as published.
    pub sha256: [u8; 32],
    /// As published.
    pub total_bytes: u32,
    /// What it runs on, if the chip is known.
    pub chip: Option<Chip>,
    /// The version that the image itself gives: the demonstration's, or the descriptor's where it is the app's own.
    pub version: Option<Version>,
    /// Whether a digest shows damage to it.
    pub is_protected: bool,
    /// Where its signature sector begins, from the slot's start, if it has one.
    pub signature_offset: Option<u32>,
    /// What the next image must agree with.
    pub traits: Traits,
}

impl SlotImage {
    /// Of what was verified; in a frame of its own, for it is filled in there.
    #[inline(never)]
    fn of(verifier: &Verifier) -> Result<Self, ImageError> {
        let header = verifier.verdict()?;
        Ok(Self {
            sha256: *verifier.sha256(),
            total_bytes: verifier.total_bytes(),
            chip: header.chip(),
            version: version_in(verifier),
            is_protected: verifier.is_protected(),
            signature_offset: verifier.signature_offset(),
            traits: Traits::of(header, verifier.descriptor()),
        })
    }
}

/// What an image says of its version, where it can be trusted to speak of itself. A demonstration's is never cut.
#[inline(never)]
pub(crate) fn version_in(verifier: &Verifier) -> Option<Version> {
    let descriptor = verifier.descriptor();
    let demo = verifier.demo().filter(|_| !descriptor.is_some_and(AppDescriptor::is_stamped));
    match demo {
        Some(demo) => version_of(demo.version()),
        None => descriptor.and_then(own_version),
    }
}

/// Verifies whatever lies in a slot, to its end; the inner error says what is wrong with the image.
#[inline(never)]
pub fn read_slot<F: ReadNorFlash>(
    flash: &mut F,
    slot: Partition,
) -> Result<Result<SlotImage, ImageError>, Fault> {
    let mut verifier = Verifier::in_slot();
    let mut chunk = [0; CHUNK_BYTES];
    for offset in (slot.offset..slot.end()).step_by(CHUNK_BYTES) {
        flash::read(flash, offset, &mut chunk)?;
        if let Err(error) = verifier.push(&chunk) {
            return Ok(Err(error));
        }
        if !verifier.wants_more() {
            break;
        }
    }
    Ok(SlotImage::of(&verifier))
}

/// Reads a downloaded image back, in steps.
#[derive(Debug)]
pub(crate) struct ReadBack {
    slot: Partition,
    total_bytes: u32,
    done_bytes: u32,
    /// SHA-256 of what was written.
    written: [u8; 32],
    hash: Sha256,
    verifier: Verifier,
}

impl ReadBack {
    #[inline(never)]
    pub(crate) fn new(slot: Partition, total_bytes: u32, written: [u8; 32]) -> Self {
        let (hash, verifier) = (Sha256::new(), Verifier::new());
        Self { slot, total_bytes, done_bytes: 0, written, hash, verifier }
    }

    pub(crate) fn done_bytes(&self) -> u32 {
        self.done_bytes
    }

    /// Reads on; `true` once all was read.
    pub(crate) fn step<F: ReadNorFlash>(&mut self, flash: &mut F) -> Result<bool, Fault> {
        let end = self.total_bytes.min(self.done_bytes.saturating_add(STEP_BYTES));
        let mut chunk = [0; CHUNK_BYTES];
        while self.done_bytes < end {
            let wanted = (CHUNK_BYTES as u32).min(end - self.done_bytes) as usize;
            // Padded as it was written, so that the read is aligned too.
            let read = chunk.get_mut(..wanted.next_multiple_of(WRITE_ALIGN_BYTES)).unwrap_or_default();
            flash::read(flash, self.slot.offset + self.done_bytes, read)?;
            let read = chunk.get(..wanted).unwrap_or_default();
            digest_on(&mut self.hash, read);
            // What is refused stays refused, and all of it is hashed.
            let _ = self.verifier.push(read);
            self.done_bytes += wanted as u32;
        }
        Ok(self.done_bytes >= self.total_bytes)
    }

    /// SHA-256 of the bytes on flash that were read, and whether that is what was written.
    pub(crate) fn sha256(&self) -> ([u8; 32], bool) {
        let sha256 = digest_so_far(&self.hash);
        (sha256, sha256 == self.written)
    }

    /// The image that they are, and its header.
    pub(crate) fn image(&self) -> Result<(&Verifier, &Header), ImageError> {
        // What was refused once is refused again.
        Ok((&self.verifier, self.verifier.verdict()?))
    }
}
