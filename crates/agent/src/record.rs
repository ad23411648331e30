//! What the agent remembers across restarts: the attempt under way, how the last one ended, which hash is which
//! version, and which images failed here.
//!
//! Owned here: a journal of 1 KiB records in two or more sectors. The newest record that checks out counts; a
//! torn one is passed over. Nothing in it is needed to boot: otadata alone decides that.

use contract::{Outcome, Reason, Version};
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use heapless::Vec;
use sha2::{Digest, Sha256};

use crate::flash::{self, Fault, SECTOR_BYTES, WRITE_ALIGN_BYTES};
use crate::partition::Partition;

/// One record on flash, in bytes.
pub const RECORD_BYTES: usize = 1024;
const PER_SECTOR: u32 = (SECTOR_BYTES / RECORD_BYTES) as u32;
const MAGIC: [u8; 4] = *b"UDR1";
const TAG_BYTES: usize = 8;
const TAG_AT: usize = RECORD_BYTES - TAG_BYTES;
/// How many versions and failed images are remembered; the oldest make room.
const KEPT: usize = 4;

/// How far an attempt had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The slot is being written.
    Downloading,
    /// Verified; otadata is to select it, or does.
    Selected,
    /// It runs and was not confirmed yet.
    Booted,
    /// Its self-test failed; the reason is in `last`.
    Rejected,
}

/// An attempt under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// How far it came.
    pub stage: Stage,
    /// Where the image goes.
    pub slot: u8,
    /// The image; zero until it was received.
    pub sha256: [u8; 32],
    /// Its version, if known.
    pub to: Option<Version>,
}

/// How the last attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// The version tried, if known.
    pub to: Option<Version>,
    /// How it ended.
    pub result: Outcome,
    /// Why.
    pub reason: Reason,
}

/// Which version an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The image.
    pub sha256: [u8; 32],
    /// Its version as it was published.
    pub version: Version,
}

/// How often an image failed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// The image.
    pub sha256: [u8; 32],
    /// After boot or in verification.
    pub count: u8,
}

/// All that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The attempt under way.
    pub attempt: Option<Attempt>,
    /// How the last one ended.
    pub last: Option<Last>,
    /// Newest last.
    pub known: Vec<Known, KEPT>,
    /// Newest last.
    pub failures: Vec<Failures, KEPT>,
    /// Whether the bootloader was seen to support rollback.
    pub rollback: Option<bool>,
}

impl Record {
    /// The version an image was published as.
    pub fn version_of(&self, sha256: &[u8; 32]) -> Option<&Version> {
        self.known.iter().find(|known| known.sha256 == *sha256).map(|known| &known.version)
    }

    /// Remembers a version; the oldest of four makes room.
    pub fn learn(&mut self, sha256: [u8; 32], version: Version) {
        self.known.retain(|known| known.sha256 != sha256);
        push_newest(&mut self.known, Known { sha256, version });
    }

    /// How often an image failed here.
    pub fn failures_of(&self, sha256: &[u8; 32]) -> u8 {
        self.failures.iter().find(|failed| failed.sha256 == *sha256).map_or(0, |failed| failed.count)
    }

    pub(crate) fn count_failure(&mut self, sha256: [u8; 32]) {
        let count = self.failures_of(&sha256).saturating_add(1);
        self.failures.retain(|failed| failed.sha256 != sha256);
        push_newest(&mut self.failures, Failures { sha256, count });
    }

    fn encode(&self, sequence: u32) -> [u8; RECORD_BYTES] {
        let mut out = Writer { bytes: [0; RECORD_BYTES], at: 0 };
        out.put(&MAGIC);
        out.put(&sequence.to_le_bytes());
        out.put(&[match self.rollback {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        }]);
        match &self.attempt {
            None => out.put(&[0]),
            Some(attempt) => {
                out.put(&[1 + attempt.stage as u8, attempt.slot]);
                out.put(&attempt.sha256);
                out.text(attempt.to.as_ref().map_or("", Version::as_str));
            }
        }
        match &self.last {
            None => out.put(&[0]),
            Some(last) => {
                out.put(&[if last.result == Outcome::Success { 1 } else { 2 }]);
                out.text(last.to.as_ref().map_or("", Version::as_str));
                out.text(last.reason.as_str());
            }
        }
        out.put(&[self.known.len() as u8]);
        for known in &self.known {
            out.put(&known.sha256);
            out.text(known.version.as_str());
        }
        out.put(&[self.failures.len() as u8]);
        for failed in &self.failures {
            out.put(&failed.sha256);
            out.put(&[failed.count]);
        }
        let tag = Sha256::digest(&out.bytes[..TAG_AT]);
        out.bytes[TAG_AT..].copy_from_slice(&tag[..TAG_BYTES]);
        out.bytes
    }

    /// The sequence number and the record; `None` for whatever does not check out.
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<(u32, Self)> {
        let mut input = Reader { bytes: &bytes[..TAG_AT] };
        let tagged = Sha256::digest(&bytes[..TAG_AT])[..TAG_BYTES] == bytes[TAG_AT..];
        if input.take::<4>()? != MAGIC || !tagged {
            return None;
        }
        let sequence = u32::from_le_bytes(input.take()?);
        let mut record = Self {
            rollback: match input.byte()? {
                0 => None,
                1 => Some(false),
                _ => Some(true),
            },
            ..Self::default()
        };
        let stage = match input.byte()? {
            0 => None,
            1 => Some(Stage::Downloading),
            2 => Some(Stage::Selected),
            3 => Some(Stage::Booted),
            _ => Some(Stage::Rejected),
        };
        if let Some(stage) = stage {
            let (slot, sha256) = (input.byte()?, input.take()?);
            record.attempt = Some(Attempt { stage, slot, sha256, to: input.text()?.parse().ok() });
        }
        let result = match input.byte()? {
            0 => None,
            1 => Some(Outcome::Success),
            _ => Some(Outcome::Failed),
        };
        if let Some(result) = result {
            let to = input.text()?.parse().ok();
            record.last = Some(Last { to, result, reason: Reason::new(input.text()?) });
        }
        for _ in 0..input.byte()? {
            let sha256 = input.take()?;
            record.known.push(Known { sha256, version: input.text()?.parse().ok()? }).ok()?;
        }
        for _ in 0..input.byte()? {
            record.failures.push(Failures { sha256: input.take()?, count: input.byte()? }).ok()?;
        }
        Some((sequence, record))
    }
}

fn push_newest<T>(list: &mut Vec<T, KEPT>, item: T) {
    if list.is_full() {
        list.remove(0);
    }
    let pushed = list.push(item).is_ok();
    debug_assert!(pushed, "one was removed before");
}

struct Writer {
    bytes: [u8; RECORD_BYTES],
    at: usize,
}

impl Writer {
    /// All fields at their longest fill less than a record, which a test checks.
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn text(&mut self, text: &str) {
        self.put(&[text.len() as u8]);
        self.put(text.as_bytes());
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        core::str::from_utf8(text).ok()
    }
}

/// Where the record is kept, and where the next one goes.
#[derive(Debug)]
pub(crate) struct Journal {
    region: Option<Partition>,
    /// Place and sequence number of the newest record.
    newest: Option<(u32, u32)>,
}

impl Journal {
    /// Finds the newest record; where there is none, an empty one.
    pub(crate) fn open<F: ReadNorFlash>(
        flash: &mut F,
        region: Option<Partition>,
    ) -> Result<(Self, Record), Fault> {
        let region = region.filter(|region| region.size_bytes as usize >= 2 * SECTOR_BYTES);
        let mut journal = Self { region, newest: None };
        let mut record = Record::default();
        let mut bytes = [0; RECORD_BYTES];
        for place in 0..journal.places() {
            journal.read(flash, place, &mut bytes)?;
            if let Some((sequence, found)) = Record::decode(&bytes)
                && journal.newest.is_none_or(|(_, newest)| sequence > newest)
            {
                journal.newest = Some((place, sequence));
                record = found;
            }
        }
        Ok((journal, record))
    }

    /// Two sectors are used, however large the region is.
    fn places(&self) -> u32 {
        if self.region.is_some() { 2 * PER_SECTOR } else { 0 }
    }

    fn read<F: ReadNorFlash>(
        &self,
        flash: &mut F,
        place: u32,
        bytes: &mut [u8; RECORD_BYTES],
    ) -> Result<(), Fault> {
        let start = self.region.map_or(0, |region| region.offset);
        flash::read(flash, start + place * RECORD_BYTES as u32, bytes)
    }

    /// Writes the record behind the newest one, or at the start of the other sector when its sector is full.
    pub(crate) fn store<F: NorFlash>(&mut self, flash: &mut F, record: &Record) -> Result<(), Fault> {
        let Some(region) = self.region else { return Ok(()) };
        let (place, sequence) = self.newest.map_or((2 * PER_SECTOR - 1, 0), |newest| newest);
        let sector = place / PER_SECTOR;
        let mut next = None;
        let mut bytes = [0; RECORD_BYTES];
        for candidate in place + 1..(sector + 1) * PER_SECTOR {
            self.read(flash, candidate, &mut bytes)?;
            // A torn record is passed over; a place counts as free only if nothing was ever begun there.
            if bytes.iter().all(|byte| *byte == 0xFF) {
                next = Some(candidate);
                break;
            }
        }
        let next = if let Some(place) = next {
            place
        } else {
            let other = 1 - sector;
            // Cut before, during or after: the newest record lies in the sector that is not erased.
            flash::erase(flash, region.offset + other * SECTOR_BYTES as u32)?;
            other * PER_SECTOR
        };
        let sequence = sequence.wrapping_add(1);
        let bytes = record.encode(sequence);
        const { assert!(RECORD_BYTES.is_multiple_of(WRITE_ALIGN_BYTES)) };
        // Cut before: the record before this one counts.
        // Cut during: its tag does not match, so the one before counts, and this place is never written again
        //   without an erase.
        // Cut after: it counts.
        flash::write(flash, region.offset + next * RECORD_BYTES as u32, &bytes)?;
        self.newest = Some((next, sequence));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
