//! The flash's side of a download: a stream of an image's bytes, written to the slot sector by sector.
//!
//! Owned here: each sector is erased just before it is written, what lies there is hashed, and bookmarks say how far it is.
//! Refused: an image that is not for this device (from its first 288 bytes, before anything is erased), and one that does
//! not fit the slot. Where the bytes come from is not known here.

use image::{PREFIX_BYTES, Prefix, digest_on, digest_so_far};
use sha2::Sha256;

use super::transfer::TAIL_BYTES;
use crate::bookmark::{Bookmark, Bookmarks, File, STRETCH_BYTES, last_sector};
use crate::bytes::{part, part_mut, put};
use crate::checks::{self, Wanted};
use crate::flash::{self, Fault, SECTOR_BYTES, WRITE_ALIGN_BYTES};
use crate::partition::Partition;
use crate::port::{Encryption, EraseUnit, Port};
use crate::refusal::{Refusal, refuse};

/// What is written to one slot.
// In this order, so that what is small is reached in one instruction.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SlotWriter {
    pub(super) slot: Partition,
    /// Bytes that lie on flash, from the slot's start on.
    pub(crate) written: u32,
    /// Bytes of the sector that was begun; without it the buffer is free.
    pub(super) filled: usize,
    /// Up to here the slot is erased, in the flash's own offsets.
    erased_to: u32,
    bookmarks: Bookmarks,
    /// Whether the file's end holds a signature sector; `None`: it was not seen.
    pub(super) signed: Option<bool>,
    /// Of all that is on flash; nothing yet if there is none.
    hash: Option<Sha256>,
    /// A sector on its way to the flash; a file's end or a response's head, and whatever else, while no sector is begun.
    pub(crate) buffer: [u8; TAIL_BYTES],
}

impl SlotWriter {
    pub(super) const fn new() -> Self {
        Self {
            slot: Partition::NOWHERE,
            written: 0,
            filled: 0,
            erased_to: 0,
            bookmarks: Bookmarks::new(),
            signed: None,
            hash: None,
            buffer: [0; TAIL_BYTES],
        }
    }

    pub(super) fn begin(&mut self, slot: Partition) {
        self.slot = slot;
        self.bookmarks.forget();
        self.signed = None;
        self.start_over();
    }

    pub(super) fn start_over(&mut self) {
        // In place: a new value would put a second sector on the stack.
        (self.written, self.filled, self.erased_to, self.hash) = (0, 0, 0, None);
    }

    /// Bytes taken: those written, and those of the sector that was begun.
    pub(crate) fn taken(&self) -> u32 {
        self.written + self.filled as u32
    }

    /// Hashes on towards a bookmark; `true` once that is done. What does not match it is written again from the start.
    pub(super) fn hash_on<P: Port>(&mut self, port: &mut P, mark: &Bookmark) -> Result<bool, Fault> {
        let end = mark.written.min(self.written.saturating_add(STRETCH_BYTES));
        let hash = self.hash.get_or_insert_default();
        while self.written < end {
            // Both are multiples of a sector.
            let sector = part_mut(&mut self.buffer, 0, SECTOR_BYTES);
            flash::read(port, self.slot.offset + self.written, sector)?;
            digest_on(hash, sector);
            self.written += SECTOR_BYTES as u32;
        }
        if self.written < mark.written {
            return Ok(false);
        }
        if digest_so_far(hash) != mark.digest {
            (self.written, self.hash) = (0, None);
        }
        Ok(true)
    }

    /// Takes more of the image and writes each sector that it completes; bookmarks are for `file`. An error is final.
    pub(super) fn push<P: Port>(
        &mut self,
        port: &mut P,
        unit: EraseUnit,
        wanted: &Wanted<'_>,
        file: &File,
        mut bytes: &[u8],
    ) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let before = self.taken();
            if before >= self.slot.size_bytes {
                return refuse!(LargerThanRoom, self.slot.size_bytes);
            }
            let taken = bytes.len().min(SECTOR_BYTES.saturating_sub(self.filled));
            let (now, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            put(&mut self.buffer, self.filled, now);
            self.filled += taken;
            if (before as usize) < PREFIX_BYTES && self.taken() as usize >= PREFIX_BYTES {
                self.check_prefix(wanted)?;
            }
            if self.filled == SECTOR_BYTES {
                self.flush(port, unit, file)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The image ended: writes what is left of it, and gives the digest of all.
    pub(super) fn finish<P: Port>(
        &mut self,
        port: &mut P,
        unit: EraseUnit,
        wanted: &Wanted<'_>,
        file: &File,
    ) -> Result<[u8; 32], Refusal> {
        if (self.taken() as usize) < PREFIX_BYTES {
            self.check_prefix(wanted)?;
        }
        if self.filled > 0 {
            self.flush(port, unit, file)?;
        }
        Ok(digest_so_far(self.hash.get_or_insert_default()))
    }

    fn check_prefix(&self, wanted: &Wanted<'_>) -> Result<(), Refusal> {
        // Nothing was flushed yet: the prefix is shorter than a sector.
        let prefix = Prefix::parse(part(&self.buffer, 0, self.filled))?;
        checks::fits(&prefix.header, prefix.descriptor.as_ref(), wanted)?;
        if !prefix.header.hash_appended && self.signed == Some(false) {
            return refuse!(Unprotected);
        }
        Ok(())
    }

    fn flush<P: Port>(&mut self, port: &mut P, unit: EraseUnit, file: &File) -> Result<(), Refusal> {
        digest_on(self.hash.get_or_insert_default(), part(&self.buffer, 0, self.filled));
        // Whole sectors: encrypted flash is not written in less.
        part_mut(&mut self.buffer, self.filled, SECTOR_BYTES.saturating_sub(self.filled)).fill(0xFF);
        let length = match port.encryption() {
            Encryption::Off => self.filled.next_multiple_of(WRITE_ALIGN_BYTES),
            _ => SECTOR_BYTES,
        };
        let offset = self.slot.offset + self.written;
        self.erase_ahead(port, offset, unit)
            // Cut before, during or after: the slot is not the running one, and otadata selects the running one since
            //   before the first erase (`Agent::keep_running`). What the slot holds is not looked at until a whole
            //   image was read back from it. A torn page fails when it is read back, or is written again.
            .and_then(|()| flash::write(port, offset, part(&self.buffer, 0, length)))
            .map_err(Refusal::from)?;
        self.written += self.filled as u32;
        self.filled = 0;
        // Without a bookmark a restart begins again, and no more.
        let _ = self.note(port, file);
        Ok(())
    }

    fn erase_ahead<P: Port>(&mut self, port: &mut P, offset: u32, unit: EraseUnit) -> Result<(), Fault> {
        if offset < self.erased_to {
            return Ok(());
        }
        if offset == last_sector(self.slot) {
            self.bookmarks.forget();
        }
        let block = offset.saturating_add(STRETCH_BYTES);
        // The last sector holds the bookmarks for as long as it can.
        let whole = unit == EraseUnit::Block
            && offset.is_multiple_of(STRETCH_BYTES)
            && block <= last_sector(self.slot);
        let end = if whole { block } else { offset + SECTOR_BYTES as u32 };
        // Cut before, during or after: as for the write.
        flash::erase_range(port, offset, end)?;
        self.erased_to = end;
        Ok(())
    }

    /// Notes down how far it is, so that a restart need not begin again.
    fn note<P: Port>(&mut self, port: &mut P, file: &File) -> Result<(), Fault> {
        let (Some(total), Some(hash), Some(_)) = (file.total, &self.hash, file.strong_etag()) else {
            return Ok(());
        };
        if !self.written.is_multiple_of(STRETCH_BYTES)
            || self.slot.offset + self.written > last_sector(self.slot)
            || self.written >= total
        {
            return Ok(());
        }
        let mark = Bookmark { file: file.clone(), written: self.written, digest: digest_so_far(hash) };
        self.bookmarks.add(port, self.slot, &mark)
    }
}
