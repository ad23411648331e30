//! Streaming an image into the inactive slot: sector by sector, each erased just before it is written.
//!
//! Owned here: what the bytes of a response mean. Refused: anything that would append one object to the start
//! of another, an image for another chip (from its first 288 bytes, before anything is erased), and one that
//! does not fit the slot.

use core::fmt::Write;

use contract::Reason;
use embedded_storage::nor_flash::NorFlash;
use heapless::String;
use image::{Chip, PREFIX_BYTES, Prefix};
use sha2::{Digest, Sha256};

use crate::event::ResponseHead;
use crate::flash::{self, SECTOR_BYTES, WRITE_ALIGN_BYTES};
use crate::partition::Partition;

/// The longest ETag kept; a longer one is as good as none.
const ETAG_MAX_BYTES: usize = 128;

/// What to do with a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its body is what was asked for.
    Take,
    /// It is of no use; what was received so far stays.
    Retry(Reason),
    /// The object changed; all that was received so far is void.
    StartOver(Reason),
}

/// A download into one slot.
#[derive(Debug)]
pub(crate) struct Download {
    slot: Partition,
    sector: [u8; SECTOR_BYTES],
    filled: usize,
    /// Bytes taken, those in `sector` included: where the next fetch begins.
    received: u32,
    /// Bytes of a 200 that were taken before already.
    skip: u32,
    total: Option<u32>,
    etag: String<ETAG_MAX_BYTES>,
    hash: Sha256,
}

impl Download {
    pub(crate) fn new(slot: Partition) -> Self {
        Self {
            slot,
            sector: [0xFF; SECTOR_BYTES],
            filled: 0,
            received: 0,
            skip: 0,
            total: None,
            etag: String::new(),
            hash: Sha256::new(),
        }
    }

    /// Forgets what was received; the slot is written again from its start.
    pub(crate) fn start_over(&mut self) {
        // In place: a new value would put a second sector on the stack.
        (self.filled, self.received, self.skip, self.total) = (0, 0, 0, None);
        self.etag.clear();
        self.hash.reset();
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

    /// Looks at a 200 or 206 that answers a fetch from [`Self::received`]. An error is final.
    pub(crate) fn head(&mut self, head: &ResponseHead<'_>) -> Result<Verdict, Reason> {
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
                return Ok(Verdict::Retry(Reason::new("the server sent a part without saying which")));
            };
            if range.start != u64::from(self.received) {
                return Ok(Verdict::Retry(Reason::new("the server sent another part than was asked for")));
            }
            let changed =
                (!etag.is_empty() && !self.etag.is_empty() && etag != self.etag) || total != self.total;
            if self.received > 0 && changed {
                return Ok(Verdict::StartOver(Reason::new("the file changed on the server")));
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

    fn fits(&self, total: u64) -> Result<u32, Reason> {
        match u32::try_from(total) {
            Ok(0) => Err(Reason::new("the image is empty")),
            Ok(total) if total <= self.slot.size_bytes => Ok(total),
            _ => Err(reason(format_args!(
                "the image is too large: {total} bytes, the slot has {}",
                self.slot.size_bytes
            ))),
        }
    }

    /// Takes more of the body and writes each sector that it completes. An error is final.
    pub(crate) fn push<F: NorFlash>(
        &mut self,
        flash: &mut F,
        chip: Chip,
        bytes: &[u8],
    ) -> Result<(), Reason> {
        let skipped = bytes.len().min(self.skip as usize);
        self.skip -= skipped as u32;
        let mut bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.total.is_some_and(|total| self.received >= total) {
                return Err(Reason::new("the server sent more than it had announced"));
            }
            if self.filled == SECTOR_BYTES {
                self.flush(flash)?;
            }
            if self.received >= self.slot.size_bytes {
                return Err(reason(format_args!(
                    "the image is too large: the slot has {} bytes",
                    self.slot.size_bytes
                )));
            }
            let room = &mut self.sector[self.filled..];
            let left = self.total.map_or(u32::MAX, |total| total - self.received) as usize;
            let taken = bytes.len().min(room.len()).min(left);
            let (now, rest) = bytes.split_at(taken);
            room[..taken].copy_from_slice(now);
            self.hash.update(now);
            let unchecked = (self.received as usize) < PREFIX_BYTES;
            self.filled += taken;
            self.received += taken as u32;
            if unchecked && self.received as usize >= PREFIX_BYTES {
                self.check_prefix(chip)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The body ended: all of it, or less than was announced (`None`).
    pub(crate) fn finish<F: NorFlash>(
        &mut self,
        flash: &mut F,
        chip: Chip,
    ) -> Result<Option<[u8; 32]>, Reason> {
        if self.total.is_some_and(|total| self.received < total) {
            return Ok(None);
        }
        if (self.received as usize) < PREFIX_BYTES {
            self.check_prefix(chip)?;
        }
        if self.filled > 0 {
            self.flush(flash)?;
        }
        self.total = Some(self.received);
        Ok(Some(self.hash.finalize_reset().into()))
    }

    fn check_prefix(&self, chip: Chip) -> Result<(), Reason> {
        // Nothing was flushed yet: the prefix is shorter than a sector.
        let prefix = Prefix::parse(&self.sector[..self.filled]);
        let header = prefix.map_err(|error| reason(format_args!("{error}")))?.header;
        match header.chip() {
            Some(found) if found == chip => Ok(()),
            Some(found) => Err(reason(format_args!(
                "wrong chip: the image is for {}, this device is {}",
                found.name(),
                chip.name()
            ))),
            None => Err(reason(format_args!(
                "wrong chip: the image is for an unknown chip {:#x}, this device is {}",
                header.chip_id,
                chip.name()
            ))),
        }
    }

    fn flush<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        let offset = self.slot.offset + (self.received - self.filled as u32);
        let padded = self.filled.next_multiple_of(WRITE_ALIGN_BYTES);
        self.sector[self.filled..padded].fill(0xFF);
        // Cut before, during or after: the slot is not the running one, and otadata selects the running one since
        //   before the first erase (`Agent::keep_running`). What the slot holds is not looked at until a whole
        //   image was read back from it.
        flash::erase(flash, offset).map_err(|fault| reason(format_args!("{fault}")))?;
        // Cut before, during or after: as above. A torn page fails when it is read back, or is written again.
        flash::write(flash, offset, &self.sector[..padded])
            .map_err(|fault| reason(format_args!("{fault}")))?;
        self.filled = 0;
        Ok(())
    }
}

/// Formats a reason; what does not fit is cut.
pub(crate) fn reason(arguments: core::fmt::Arguments<'_>) -> Reason {
    let mut reason = Reason::default();
    reason.write_fmt(arguments).expect("writing to a reason never fails");
    reason
}
