//! The network's side of a download: what a response means, and how many bytes of the file were received.
//!
//! Refused: anything that would append one object to the start of another.

use heapless::String;

use crate::bookmark::{Bookmark, File};
use crate::bytes::{part, put};
use crate::event::ResponseHead;
use crate::flash::SECTOR_BYTES;
use crate::refusal::{Refusal, refuse};
use crate::sentences::Says;

/// The end of a file that is asked for first: a signature sector, or the appended digest before where one would be.
pub(crate) const TAIL_BYTES: usize = SECTOR_BYTES + 32;

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

#[derive(Debug)]
pub(crate) struct Transfer {
    /// Bytes received: where the next fetch begins.
    pub(crate) received: u32,
    /// Bytes of a 200 that were received before already.
    skip: u32,
    /// Bytes of the file's end in the buffer, of which none counts as received.
    pub(super) tail_bytes: usize,
    pub(super) file: File,
    /// Where the download is to go on, once the slot's content was hashed up to there.
    pub(crate) resume: Option<Bookmark>,
}

impl Transfer {
    pub(super) const fn new() -> Self {
        let file = File { etag: String::new(), total: None };
        Self { received: 0, skip: 0, tail_bytes: 0, file, resume: None }
    }

    /// The whole length, 0 if the server did not say.
    pub(crate) fn total(&self) -> u32 {
        self.file.total.unwrap_or(0)
    }

    pub(crate) fn etag(&self) -> Option<&str> {
        self.file.strong_etag()
    }

    /// Begins a file; `resume` is where an earlier attempt at some file was.
    pub(super) fn begin(&mut self, resume: Option<Bookmark>) {
        (self.received, self.skip, self.tail_bytes) = (0, 0, 0);
        self.file.total = None;
        self.file.etag.clear();
        self.resume = resume;
    }

    /// Looks at what answers the request for the file's end; the slot has `room` bytes. An error is final.
    pub(super) fn tail_head(&mut self, head: &ResponseHead<'_>, room: u32) -> Result<TailVerdict, Refusal> {
        if head.status == 200 {
            return Ok(TailVerdict::Whole);
        }
        let Some((range, total)) = head.content_range.and_then(|range| Some((range, range.total?))) else {
            return Ok(TailVerdict::Odd);
        };
        let total = fits(total, room)?;
        if range.start != u64::from(total.saturating_sub(TAIL_BYTES as u32)) {
            return Ok(TailVerdict::Odd);
        }
        let etag = head.etag.unwrap_or_default();
        if self.file.etag != etag || self.file.total != Some(total) {
            let resume = self.resume.take();
            self.begin(resume);
        }
        self.file.set(etag, Some(total));
        Ok(TailVerdict::Take)
    }

    /// Takes more of the file's end; `false` if that is more than there can be.
    pub(super) fn push_tail(&mut self, buffer: &mut [u8], bytes: &[u8]) -> bool {
        let fits = bytes.len() <= TAIL_BYTES.saturating_sub(self.tail_bytes);
        if fits {
            put(buffer, self.tail_bytes, bytes);
            self.tail_bytes += bytes.len();
        }
        fits
    }

    /// The file's end, once all of it was received.
    pub(super) fn tail<'a>(&self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        let wanted = (self.total() as usize).min(TAIL_BYTES);
        (self.tail_bytes == wanted).then(|| part(buffer, 0, wanted))
    }

    /// The file's end was looked at. What an earlier attempt left of another file is of no use.
    pub(super) fn end_tail(&mut self) {
        self.tail_bytes = 0;
        if self.resume.as_ref().is_some_and(|mark| mark.file != self.file) {
            self.resume = None;
        }
    }

    /// Looks at a 200 or 206 that answers a fetch from `received`. An error is final.
    pub(super) fn head(&mut self, head: &ResponseHead<'_>, room: u32) -> Result<Verdict, Refusal> {
        let etag = head.etag.unwrap_or_default();
        // Of an answer before this one.
        self.skip = 0;
        let total = match head.content_range {
            Some(range) if head.status == 206 => range.total.or(self.file.total.map(u64::from)),
            _ => head.content_length,
        };
        let total = total.map(|total| fits(total, room)).transpose()?;
        // A weak tag promises the same meaning, not the same bytes.
        let same = self.etag() == Some(etag) && total == self.file.total;
        if head.status == 206 {
            let Some(range) = head.content_range else {
                return Ok(Verdict::Retry(Says::PartUnsaid));
            };
            if range.start != u64::from(self.received) {
                return Ok(Verdict::Retry(Says::OtherPart));
            }
            let before = &self.file.etag;
            let changed =
                (!etag.is_empty() && !before.is_empty() && before != etag) || total != self.file.total;
            if self.received > 0 && changed {
                return Ok(Verdict::StartOver(Says::FileChanged));
            }
        } else if same {
            // All of it again: what is known already is passed over, never appended.
            self.skip = self.received;
        } else {
            self.begin(None);
        }
        if self.received == 0 {
            self.file.set(etag, total);
        }
        Ok(Verdict::Take)
    }

    /// Counts bytes of a body; gives those that are new, and whether there are more than the file has.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let skipped = bytes.len().min(self.skip as usize);
        self.skip -= skipped as u32;
        let bytes = bytes.get(skipped..).unwrap_or_default();
        let left = self.file.total.map_or(u32::MAX, |total| total.saturating_sub(self.received)) as usize;
        let taken = part(bytes, 0, bytes.len().min(left));
        self.received += taken.len() as u32;
        (taken, taken.len() < bytes.len())
    }

    /// Whether all of the file was received, as far as the server said how much that is.
    pub(super) fn is_complete(&self) -> bool {
        self.file.total.is_none_or(|total| self.received >= total)
    }
}

/// The length of a file that the slot has room for.
fn fits(total: u64, room: u32) -> Result<u32, Refusal> {
    match u32::try_from(total) {
        Ok(0) => refuse!(Empty),
        Ok(total) if total <= room => Ok(total),
        _ => {
            // One width of number in all messages: another one costs a kilobyte of division.
            let total = u32::try_from(total).unwrap_or(u32::MAX);
            refuse!(LargerThanSlot, total, room)
        }
    }
}
