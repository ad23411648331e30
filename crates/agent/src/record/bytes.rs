//! How a record is written: magic, sequence number, fields, then connections at a place of their own, and a tag over
//! all of it.
//!
//! Owned here: the bytes. Refused, whole: whatever has another magic or tag, or holds what is never written. The
//! connections are left where they are when the rest is written anew, so that nobody need hold them in RAM.

use contract::{InvalidVersion, Outcome, Reason, Version};
use heapless::Vec;
use sha2::{Digest, Sha256};

use super::{Attempt, Failures, KEPT, Known, Last, Record, Stage};
use crate::connection::{CONNECTIONS_BYTES, Connections};
use crate::flash::{SECTOR_BYTES, WRITE_ALIGN_BYTES};

/// One record as it is kept, in bytes.
pub const RECORD_BYTES: usize = 2048;

const MAGIC: [u8; 4] = *b"UDR2";
const TAG_BYTES: usize = 8;
const TAG_AT: usize = RECORD_BYTES - TAG_BYTES;
const CONNECTIONS_AT: usize = TAG_AT - CONNECTIONS_BYTES;

const _: () = assert!(RECORD_BYTES.is_multiple_of(WRITE_ALIGN_BYTES));
const _: () = assert!(SECTOR_BYTES.is_multiple_of(RECORD_BYTES));

pub(super) type Bytes = [u8; RECORD_BYTES];

/// The sequence number of bytes that are whole; `None` for all others.
pub(super) fn sequence_of(bytes: &Bytes) -> Option<u32> {
    let mut input = Reader { bytes };
    let whole = input.take()? == MAGIC && tag_of(bytes) == bytes[TAG_AT..];
    if whole { input.word() } else { None }
}

/// Writes all but the connections, which stay as they are in `bytes`.
pub(super) fn encode(record: &Record, sequence: u32, bytes: &mut Bytes) {
    let mut out = Writer { bytes: &mut bytes[..CONNECTIONS_AT], at: 0 };
    out.put(&MAGIC);
    out.put(&sequence.to_le_bytes());
    out.put(&[match record.rollback {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    }]);
    match &record.attempt {
        None => out.put(&[0]),
        Some(attempt) => {
            out.put(&[1 + attempt.stage as u8, attempt.slot, attempt.rearms]);
            out.put(&attempt.sha256);
            out.text(attempt.to.as_ref().map_or("", Version::as_str));
        }
    }
    match &record.last {
        None => out.put(&[0]),
        Some(last) => {
            out.put(&[if last.result == Outcome::Success { 1 } else { 2 }]);
            out.text(last.to.as_ref().map_or("", Version::as_str));
            out.text(last.reason.as_str());
        }
    }
    out.put(&[record.known.len() as u8]);
    for known in &record.known {
        out.put(&known.sha256);
        out.text(known.version.as_str());
    }
    out.put(&[record.failures.len() as u8]);
    for failed in &record.failures {
        out.put(&failed.sha256);
        out.put(&[failed.count]);
    }
    out.digests(&record.confirmed);
    out.put(&[u8::from(record.trusted.is_some())]);
    if let Some(trusted) = &record.trusted {
        out.digests(trusted);
    }
    let end = out.at;
    bytes[end..CONNECTIONS_AT].fill(0);
    seal(bytes);
}

/// Writes the connections into bytes, and the tag that then holds.
pub(super) fn encode_connections(connections: &Connections, bytes: &mut Bytes) {
    if let Some(place) = bytes[CONNECTIONS_AT..].first_chunk_mut() {
        connections.write(place);
    }
    seal(bytes);
}

fn seal(bytes: &mut Bytes) {
    let tag = tag_of(bytes);
    bytes[TAG_AT..].copy_from_slice(&tag);
}

fn tag_of(bytes: &Bytes) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&Sha256::digest(&bytes[..TAG_AT])[..TAG_BYTES]);
    tag
}

/// The record; `None` for whatever does not check out.
pub(super) fn decode(bytes: &Bytes) -> Option<Record> {
    sequence_of(bytes)?;
    let mut input = Reader { bytes: &bytes[MAGIC.len() + 4..CONNECTIONS_AT] };
    let mut record = Record {
        rollback: match input.byte()? {
            0 => None,
            1 => Some(false),
            2 => Some(true),
            _ => return None,
        },
        ..Record::default()
    };
    let stage = match input.byte()? {
        0 => None,
        1 => Some(Stage::Downloading),
        2 => Some(Stage::Selected),
        3 => Some(Stage::Booted),
        4 => Some(Stage::Rejected),
        _ => return None,
    };
    if let Some(stage) = stage {
        let (slot, rearms, sha256) = (input.byte()?, input.byte()?, input.take()?);
        record.attempt = Some(Attempt { stage, slot, sha256, to: input.version().ok()?, rearms });
    }
    let result = match input.byte()? {
        0 => None,
        1 => Some(Outcome::Success),
        2 => Some(Outcome::Failed),
        _ => return None,
    };
    if let Some(result) = result {
        record.last = Some(Last { to: input.version().ok()?, result, reason: Reason::new(input.text()?) });
    }
    for _ in 0..input.byte()? {
        let sha256 = input.take()?;
        record.known.push(Known { sha256, version: input.version().ok()?? }).ok()?;
    }
    for _ in 0..input.byte()? {
        record.failures.push(Failures { sha256: input.take()?, count: input.byte()? }).ok()?;
    }
    record.confirmed = input.digests()?;
    record.trusted = match input.byte()? {
        0 => None,
        1 => Some(input.digests()?),
        _ => return None,
    };
    Some(record)
}

/// The connections; `None` for whatever does not check out.
pub(super) fn decode_connections(bytes: &Bytes) -> Option<Connections> {
    sequence_of(bytes)?;
    Connections::read(bytes[CONNECTIONS_AT..].first_chunk()?)
}

struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    /// All fields at their longest fill less than the room before the connections, which a test checks.
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn text(&mut self, text: &str) {
        self.put(&[text.len() as u8]);
        self.put(text.as_bytes());
    }

    fn digests(&mut self, digests: &[[u8; 32]]) {
        self.put(&[digests.len() as u8]);
        for digest in digests {
            self.put(digest);
        }
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
        self.take().map(|[byte]| byte)
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        core::str::from_utf8(text).ok()
    }

    /// No version is written as an empty text; anything else must be one.
    fn version(&mut self) -> Result<Option<Version>, InvalidVersion> {
        match self.text() {
            Some("") => Ok(None),
            Some(text) => text.parse().map(Some),
            None => Err(InvalidVersion),
        }
    }

    fn digests(&mut self) -> Option<Vec<[u8; 32], KEPT>> {
        let mut digests = Vec::new();
        for _ in 0..self.byte()? {
            digests.push(self.take()?).ok()?;
        }
        Some(digests)
    }
}
