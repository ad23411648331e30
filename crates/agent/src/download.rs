//! Streaming an image into the inactive slot: sector by sector, each erased just before it is written.
//!
//! Owned here: what the bytes of a response mean. Refused: anything that would append one object to the start
//! of another, an image that is not for this device (from its first 288 bytes, before anything is erased), and one that
//! does not fit the slot.

use heapless::String;
use image::{PREFIX_BYTES, Prefix, digest_on, digest_so_far};
use sha2::Sha256;

use crate::bookmark::{Bookmark, Bookmarks, ETAG_MAX_BYTES, STRETCH_BYTES, last_sector};
use crate::bytes::{part, part_mut, put};
use crate::checks::{self, Traits};
use crate::event::ResponseHead;
use crate::flash::{self, Fault, SECTOR_BYTES, WRITE_ALIGN_BYTES};
use crate::partition::Partition;
use crate::port::Port;
use crate::refusal::{Refusal, refuse};
use crate::sentences::Says;
use crate::settings::{EraseUnit, Settings};

/// The end of a file that is asked for first: a signature sector, or the appended digest before where one would be.
pub(crate) const TAIL_BYTES: usize = SECTOR_BYTES + 32;

/// What to do with a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its body is what was asked for.
    Take,
    /// It is of no use; what was received so far stays.
    Retry(Says),
    /// The object changed; all that was received so far is void.
    StartOver(Says),
}

/// What the answer to the request for a file's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TailVerdict {
    /// The end.
    Take,
    /// All of the file instead.
    Whole,
    /// Something else: this server cannot be asked for an end.
    Odd,
}

/// A download into one slot.
// In this order, so that what is small is reached in one instruction.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Download {
    slot: Partition,
    filled: usize,
    /// Whether the buffer holds a file's end, of which nothing counts as received.
    holds_tail: bool,
    /// Bytes taken, those in `buffer` included: where the next fetch begins.
    received: u32,
    /// Bytes of a 200 that were taken before already.
    skip: u32,
    total: Option<u32>,
    /// Up to here the slot is erased, in the flash's own offsets.
    erased_to: u32,
    bookmarks: Bookmarks,
    /// Whether the file's end holds a signature sector; `None`: it was not seen.
    signed: Option<bool>,
    /// Of all that is on flash; nothing yet if there is none.
    hash: Option<Sha256>,
    etag: String<ETAG_MAX_BYTES>,
    /// Where the download is to go on, once the slot's content was hashed up to there.
    resume: Option<Bookmark>,
    /// A sector on its way to the flash; a file's end; the head of a response, while no sector is begun.
    buffer: [u8; TAIL_BYTES],
}

impl Download {
    pub(crate) const fn new() -> Self {
        Self {
            slot: Partition { offset: 0, size_bytes: 0 },
            buffer: [0; TAIL_BYTES],
            filled: 0,
            holds_tail: false,
            received: 0,
            skip: 0,
            total: None,
            etag: String::new(),
            hash: None,
            erased_to: 0,
            bookmarks: Bookmarks::new(),
            resume: None,
            signed: None,
        }
    }

    /// Begins an attempt at a slot; `resume` is what an earlier one left there.
    pub(crate) fn begin(&mut self, slot: Partition, resume: Option<Bookmark>) {
        self.slot = slot;
        self.bookmarks.forget();
        self.start_over();
        self.resume = resume;
        self.signed = None;
    }

    /// Forgets what was received; the slot is written again from its start.
    pub(crate) fn start_over(&mut self) {
        // In place: a new value would put a second sector on the stack.
        (self.filled, self.received, self.skip, self.total) = (0, 0, 0, None);
        self.holds_tail = false;
        (self.hash, self.erased_to, self.resume) = (None, 0, None);
        self.etag.clear();
    }

    /// Goes back to what is on flash: a sector that was begun is asked for again, and the buffer is free for the head of
    /// the next response.
    pub(crate) fn rewind(&mut self) {
        // Of a file's end nothing was counted as received.
        if !self.holds_tail {
            self.received = self.received.saturating_sub(self.filled as u32);
        }
        (self.filled, self.holds_tail) = (0, false);
    }

    pub(crate) fn received(&self) -> u32 {
        self.received
    }

    /// The whole length, 0 if the server did not say.
    pub(crate) fn total(&self) -> u32 {
        self.total.unwrap_or(0)
    }

    pub(crate) fn etag(&self) -> Option<&str> {
        // `If-Range` takes strong tags only (RFC 9110, 13.1.5).
        Some(self.etag.as_str()).filter(|etag| etag.starts_with('"'))
    }

    /// The buffer, to be written to only while no sector is begun: the head of a response is read in it.
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Looks at what answers the request for the file's end.
    pub(crate) fn tail_head(&mut self, head: &ResponseHead<'_>) -> Result<TailVerdict, Refusal> {
        if head.status == 200 {
            return Ok(TailVerdict::Whole);
        }
        let Some((range, total)) = head.content_range.and_then(|range| Some((range, range.total?))) else {
            return Ok(TailVerdict::Odd);
        };
        let total = self.fits(total)?;
        if range.start != u64::from(total.saturating_sub(TAIL_BYTES as u32)) {
            return Ok(TailVerdict::Odd);
        }
        let etag = head.etag.unwrap_or_default();
        if self.etag != etag || self.total != Some(total) {
            let resume = self.resume.take();
            self.start_over();
            self.resume = resume;
        }
        self.total = Some(total);
        self.etag = String::try_from(etag).unwrap_or_default();
        Ok(TailVerdict::Take)
    }

    /// Takes more of the file's end; `false` if that is more than there can be.
    pub(crate) fn push_tail(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= TAIL_BYTES.saturating_sub(self.filled);
        if fits {
            put(&mut self.buffer, self.filled, bytes);
            self.filled += bytes.len();
            self.holds_tail = true;
        }
        fits
    }

    /// The file's end, once all of it was taken.
    pub(crate) fn tail(&self) -> Option<&[u8]> {
        let wanted = (self.total() as usize).min(TAIL_BYTES);
        (self.filled == wanted).then(|| part(&self.buffer, 0, wanted))
    }

    /// The end was looked at: whether it has a signature sector, and where the download goes on.
    pub(crate) fn tail_seen(&mut self, signed: bool) {
        self.signed = Some(signed);
        (self.filled, self.holds_tail) = (0, false);
        let (etag, total) = (self.etag(), self.total());
        if self.resume.as_ref().is_some_and(|mark| Some(mark.etag.as_str()) != etag || mark.total != total) {
            self.resume = None;
        }
    }

    /// Whether there is something to go on from.
    pub(crate) fn resumes(&self) -> bool {
        self.resume.is_some()
    }

    /// Hashes on towards the bookmark; `true` once there is nothing (more) to hash.
    pub(crate) fn hash_on<P: Port>(&mut self, port: &mut P) -> Result<bool, Fault> {
        let Some(mark) = &self.resume else { return Ok(true) };
        let end = mark.received.min(self.received.saturating_add(STRETCH_BYTES));
        let hash = self.hash.get_or_insert_default();
        while self.received < end {
            // Both are multiples of a sector.
            let sector = part_mut(&mut self.buffer, 0, SECTOR_BYTES);
            flash::read(port, self.slot.offset + self.received, sector)?;
            digest_on(hash, sector);
            self.received += SECTOR_BYTES as u32;
        }
        if self.received < mark.received {
            return Ok(false);
        }
        if digest_so_far(hash) != mark.digest {
            (self.received, self.hash) = (0, None);
        }
        self.resume = None;
        Ok(true)
    }

    /// Looks at a 200 or 206 that answers a fetch from [`Self::received`]. An error is final.
    pub(crate) fn head(&mut self, head: &ResponseHead<'_>) -> Result<Verdict, Refusal> {
        let etag = head.etag.unwrap_or_default();
        // Of an answer before this one.
        self.skip = 0;
        let total = match head.content_range {
            Some(range) if head.status == 206 => range.total.or(self.total.map(u64::from)),
            _ => head.content_length,
        };
        let total = total.map(|total| self.fits(total)).transpose()?;
        // A weak tag promises the same meaning, not the same bytes.
        let same = self.etag() == Some(etag) && total == self.total;
        if head.status == 206 {
            let Some(range) = head.content_range else {
                return Ok(Verdict::Retry(Says::PartUnsaid));
            };
            if range.start != u64::from(self.received) {
                return Ok(Verdict::Retry(Says::OtherPart));
            }
            let changed =
                (!etag.is_empty() && !self.etag.is_empty() && etag != self.etag) || total != self.total;
            if self.received > 0 && changed {
                return Ok(Verdict::StartOver(Says::FileChanged));
            }
        } else if same {
            // All of it again: what is known already is passed over, never appended.
            self.skip = self.received;
        } else {
            self.start_over();
        }
        if self.received == 0 {
            self.total = total;
            self.etag = String::try_from(etag).unwrap_or_default();
        }
        Ok(Verdict::Take)
    }

    fn fits(&self, total: u64) -> Result<u32, Refusal> {
        match u32::try_from(total) {
            Ok(0) => refuse!(Empty),
            Ok(total) if total <= self.slot.size_bytes => Ok(total),
            _ => {
                // One width of number in all messages: another one costs a kilobyte of division.
                let (total, room) = (u32::try_from(total).unwrap_or(u32::MAX), self.slot.size_bytes);
                refuse!(LargerThanSlot, total, room)
            }
        }
    }

    /// Takes more of the body and writes each sector that it completes. An error is final.
    pub(crate) fn push<P: Port>(
        &mut self,
        port: &mut P,
        settings: &Settings,
        running: Option<&Traits>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let skipped = bytes.len().min(self.skip as usize);
        self.skip -= skipped as u32;
        let mut bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            if self.total.is_some_and(|total| self.received >= total) {
                return refuse!(SentMore);
            }
            if self.received >= self.slot.size_bytes {
                let room = self.slot.size_bytes;
                return refuse!(LargerThanRoom, room);
            }
            let room = SECTOR_BYTES.saturating_sub(self.filled);
            let left = self.total.map_or(u32::MAX, |total| total - self.received) as usize;
            let taken = bytes.len().min(room).min(left);
            put(&mut self.buffer, self.filled, part(bytes, 0, taken));
            let rest = bytes.get(taken..).unwrap_or_default();
            let unchecked = (self.received as usize) < PREFIX_BYTES;
            self.filled += taken;
            self.received += taken as u32;
            if unchecked && self.received as usize >= PREFIX_BYTES {
                self.check_prefix(settings, running)?;
            }
            if self.filled == SECTOR_BYTES {
                self.flush(port, settings.erase)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The body ended: all of it, or less than was announced (`None`).
    pub(crate) fn finish<P: Port>(
        &mut self,
        port: &mut P,
        settings: &Settings,
        running: Option<&Traits>,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        if self.total.is_some_and(|total| self.received < total) {
            return Ok(None);
        }
        if (self.received as usize) < PREFIX_BYTES {
            self.check_prefix(settings, running)?;
        }
        if self.filled > 0 {
            self.flush(port, settings.erase)?;
        }
        self.total = Some(self.received);
        Ok(Some(digest_so_far(self.hash.get_or_insert_default())))
    }

    fn check_prefix(&self, settings: &Settings, running: Option<&Traits>) -> Result<(), Refusal> {
        // Nothing was flushed yet: the prefix is shorter than a sector.
        let prefix = Prefix::parse(part(&self.buffer, 0, self.filled))?;
        checks::fits(&prefix.header, prefix.descriptor.as_ref(), settings, running)?;
        if !prefix.header.hash_appended && self.signed == Some(false) {
            return refuse!(Unprotected);
        }
        Ok(())
    }

    fn flush<P: Port>(&mut self, port: &mut P, unit: EraseUnit) -> Result<(), Refusal> {
        let begin = self.received - self.filled as u32;
        digest_on(self.hash.get_or_insert_default(), part(&self.buffer, 0, self.filled));
        // Whole sectors: encrypted flash is not written in less.
        part_mut(&mut self.buffer, self.filled, SECTOR_BYTES.saturating_sub(self.filled)).fill(0xFF);
        let length = match port.encryption() {
            crate::Encryption::Off => self.filled.next_multiple_of(WRITE_ALIGN_BYTES),
            _ => SECTOR_BYTES,
        };
        let offset = self.slot.offset + begin;
        self.erase_ahead(port, offset, unit)
            // Cut before, during or after: the slot is not the running one, and otadata selects the running one since
            //   before the first erase (`Agent::keep_running`). What the slot holds is not looked at until a whole
            //   image was read back from it. A torn page fails when it is read back, or is written again.
            .and_then(|()| flash::write(port, offset, part(&self.buffer, 0, length)))
            .map_err(Refusal::from)?;
        self.filled = 0;
        // Without a bookmark a restart begins again, and no more.
        let _ = self.note(port);
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
    fn note<P: Port>(&mut self, port: &mut P) -> Result<(), Fault> {
        let (Some(total), Some(hash), Some(_)) = (self.total, &self.hash, self.etag()) else { return Ok(()) };
        let next = self.slot.offset + self.received;
        if !self.received.is_multiple_of(STRETCH_BYTES)
            || next > last_sector(self.slot)
            || self.received >= total
        {
            return Ok(());
        }
        let digest = digest_so_far(hash);
        let mark = Bookmark { etag: self.etag.clone(), total, received: self.received, digest };
        self.bookmarks.add(port, self.slot, &mark)
    }
}
