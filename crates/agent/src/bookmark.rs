//! How far a download had come, kept in the last sector of the slot that it goes to while that sector is free.
//!
//! Owned here: 256-byte bookmarks, one behind the other, at most one for each 64 KiB. Nothing is believed of one beyond
//! what hashing the slot's content again confirms, so a wrong one costs a download from the start and no more.

use embedded_storage::nor_flash::ReadNorFlash;
use heapless::String;

use crate::bytes::{part, put, word};
use crate::flash::{self, Fault, SECTOR_BYTES};
use crate::partition::Partition;
use crate::port::Port;

/// At most so many bytes of an ETag are kept; a longer one counts as none.
pub(crate) const ETAG_MAX_BYTES: usize = 128;
/// What lies between two bookmarks, in bytes.
pub(crate) const STRETCH_BYTES: u32 = 64 * 1024;

const BOOKMARK_BYTES: usize = 256;
const PLACES: u32 = (SECTOR_BYTES / BOOKMARK_BYTES) as u32;
const MAGIC: [u8; 4] = *b"UDB1";
const TAG_BYTES: usize = 8;
const TAG_AT: usize = BOOKMARK_BYTES - TAG_BYTES;
const TOTAL_AT: usize = 4;
const WRITTEN_AT: usize = 8;
const DIGEST_AT: usize = 12;
const ETAG_AT: usize = 44;

/// A file, as its server tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// As sent; empty if there was none.
    pub(crate) etag: String<ETAG_MAX_BYTES>,
    /// Its length, if the server said it.
    pub(crate) total: Option<u32>,
}

impl File {
    pub(crate) fn set(&mut self, etag: &str, total: Option<u32>) {
        *self = Self { etag: String::try_from(etag).unwrap_or_default(), total };
    }

    /// The tag, if it promises the same bytes; `If-Range` takes no other (RFC 9110, 13.1.5).
    pub(crate) fn strong_etag(&self) -> Option<&str> {
        Some(self.etag.as_str()).filter(|etag| etag.starts_with('"'))
    }
}

/// A prefix of an image that was written to the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bookmark {
    /// Where it comes from; with a strong tag and a length.
    pub(crate) file: File,
    /// The prefix's length; a multiple of a sector.
    pub(crate) written: u32,
    pub(crate) digest: [u8; 32],
}

impl Bookmark {
    fn encode(&self) -> [u8; BOOKMARK_BYTES] {
        let mut bytes = [0; BOOKMARK_BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, TOTAL_AT, &self.file.total.unwrap_or(0).to_le_bytes());
        put(&mut bytes, WRITTEN_AT, &self.written.to_le_bytes());
        put(&mut bytes, DIGEST_AT, &self.digest);
        put(&mut bytes, ETAG_AT, &[self.file.etag.len() as u8]);
        put(&mut bytes, ETAG_AT + 1, self.file.etag.as_bytes());
        let tag = image::digest(part(&bytes, 0, TAG_AT));
        put(&mut bytes, TAG_AT, &tag);
        bytes
    }

    fn decode(bytes: &[u8; BOOKMARK_BYTES], slot: Partition) -> Option<Self> {
        let tag = image::digest(part(bytes, 0, TAG_AT));
        if !bytes.starts_with(&MAGIC) || !tag.starts_with(part(bytes, TAG_AT, TAG_BYTES)) {
            return None;
        }
        let (total, written) = (word(bytes, TOTAL_AT), word(bytes, WRITTEN_AT));
        let in_place = written <= total
            && written <= last_sector(slot) - slot.offset
            && written.is_multiple_of(SECTOR_BYTES as u32);
        let etag = part(bytes, ETAG_AT + 1, TAG_AT - ETAG_AT - 1).get(..usize::from(bytes[ETAG_AT]))?;
        let etag = String::try_from(core::str::from_utf8(etag).ok()?).ok()?;
        let digest = *part(bytes, DIGEST_AT, 32).first_chunk()?;
        in_place.then_some(Self { file: File { etag, total: Some(total) }, written, digest })
    }

    /// The one that reaches furthest, of those in a slot's last sector.
    pub(crate) fn read<F: ReadNorFlash>(flash: &mut F, slot: Partition) -> Result<Option<Self>, Fault> {
        let mut furthest: Option<Self> = None;
        let mut bytes = [0; BOOKMARK_BYTES];
        for place in 0..PLACES {
            flash::read(flash, last_sector(slot) + place * BOOKMARK_BYTES as u32, &mut bytes)?;
            if let Some(found) = Self::decode(&bytes, slot)
                && furthest.as_ref().is_none_or(|furthest| found.written > furthest.written)
            {
                furthest = Some(found);
            }
        }
        Ok(furthest)
    }
}

pub(crate) const fn last_sector(slot: Partition) -> u32 {
    slot.end() - SECTOR_BYTES as u32
}

#[derive(Debug)]
pub(crate) struct Bookmarks {
    /// How many were written since the sector was erased; `None`: it holds those of another boot, or anything.
    written: Option<u32>,
}

impl Bookmarks {
    pub(crate) const fn new() -> Self {
        Self { written: None }
    }

    /// The sector holds something else from now on.
    pub(crate) fn forget(&mut self) {
        self.written = None;
    }

    /// Writes one behind the last one; the sector is erased when it is full, and before the first one.
    pub(crate) fn add<P: Port>(
        &mut self,
        port: &mut P,
        slot: Partition,
        mark: &Bookmark,
    ) -> Result<(), Fault> {
        let sector = last_sector(slot);
        let place = match self.written {
            Some(written) if written < PLACES => written,
            _ => {
                self.written = None;
                // Cut before: the bookmarks in it hold. Cut during or after: there is none, or what is left of one fails
                //   its checksum; the download begins again. The slot is not the running one.
                flash::erase(port, sector)?;
                0
            }
        };
        self.written = Some(place + 1);
        // Cut before or after: nothing is half done. Cut during: its checksum fails, and the one before it holds.
        flash::write(port, sector + place * BOOKMARK_BYTES as u32, &mark.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use proptest::prelude::*;

    const SLOT: Partition = Partition { offset: 0x1_0000, size_bytes: 0x10_0000 };

    fn mark() -> Bookmark {
        let etag = String::try_from("\"0123456789abcdef\"").expect("short");
        Bookmark { file: File { etag, total: Some(900_000) }, written: 0x2_0000, digest: [7; 32] }
    }

    #[test]
    fn a_bookmark_reads_back_and_a_corrupt_one_does_not() {
        let bytes = mark().encode();
        assert_eq!(Bookmark::decode(&bytes, SLOT), Some(mark()));
        for bit in 0..BOOKMARK_BYTES * 8 {
            let mut corrupt = bytes;
            corrupt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Bookmark::decode(&corrupt, SLOT), None, "bit {bit}");
        }
    }

    #[test]
    fn a_bookmark_beyond_the_slot_or_between_sectors_is_none() {
        for (written, total) in [(0x2_0001, 900_000), (0x10_0000, 0x20_0000), (0x3_0000, 0x2_0000)] {
            let file = File { total: Some(total), ..mark().file };
            let bytes = Bookmark { file, written, ..mark() }.encode();
            assert_eq!(Bookmark::decode(&bytes, SLOT), None, "{written:#x} of {total:#x}");
        }
    }

    proptest! {
        #[test]
        fn invariant_arbitrary_bytes_are_read_safely(bytes: [u8; 256], length: u8) {
            let mut bytes = bytes;
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[ETAG_AT] = length;
            let tag = image::digest(&bytes[..TAG_AT]);
            bytes[TAG_AT..].copy_from_slice(&tag[..TAG_BYTES]);
            let found = Bookmark::decode(&bytes, SLOT);
            prop_assert!(found.is_none_or(|found| found.written < SLOT.size_bytes));
        }
    }
}
