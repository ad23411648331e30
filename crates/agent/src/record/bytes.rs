//! How a record is written: magic, sequence number, fields, then connections at a place of their own, and a tag over
//! all of it.
//!
//! Owned here: the bytes. Refused, whole: whatever has another magic or tag, or holds what is never written. The
//! connections are left where they are when the rest is written anew, so that nobody need hold them in RAM.

use contract::{Outcome, Reason, Version};
use heapless::Vec;

use super::{Attempt, Failures, KEPT, Known, Last, Record, Stage};
use crate::bytes::{are_equal, part, part_mut, put, word};
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
#[inline(never)]
pub(super) fn sequence_of(bytes: &Bytes) -> Option<u32> {
    let whole = bytes.starts_with(&MAGIC) && are_equal(&tag_of(bytes), part(bytes, TAG_AT, TAG_BYTES));
    whole.then(|| word(bytes, MAGIC.len()))
}

/// Writes all but the connections, which stay as they are in `bytes`.
#[inline(never)]
pub(super) fn encode(record: &Record, sequence: u32, bytes: &mut Bytes) {
    let mut out = Writer { bytes: part_mut(bytes, 0, CONNECTIONS_AT), at: 0 };
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
    while out.at < CONNECTIONS_AT {
        out.put(&[0]);
    }
    seal(bytes);
}

/// Writes the connections into bytes, and the tag that then holds.
pub(super) fn encode_connections(connections: &Connections, bytes: &mut Bytes) {
    if let Some(place) = part_mut(bytes, CONNECTIONS_AT, CONNECTIONS_BYTES).first_chunk_mut() {
        connections.write(place);
    }
    seal(bytes);
}

fn seal(bytes: &mut Bytes) {
    let tag = tag_of(bytes);
    put(bytes, TAG_AT, &tag);
}

fn tag_of(bytes: &Bytes) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    put(&mut tag, 0, &image::digest(part(bytes, 0, TAG_AT)));
    tag
}

/// Reads a record in place of an empty one; `None`, and anything at all in it, for whatever does not check out.
#[inline(never)]
pub(super) fn decode(bytes: &Bytes, record: &mut Record) -> Option<()> {
    sequence_of(bytes)?;
    let mut input = Reader { bytes: bytes.get(MAGIC.len() + 4..CONNECTIONS_AT)? };
    record.rollback = match input.byte()? {
        0 => None,
        1 => Some(false),
        2 => Some(true),
        _ => return None,
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
        record.attempt = Some(Attempt { stage, slot, sha256, to: input.version()?, rearms });
    }
    let result = match input.byte()? {
        0 => None,
        1 => Some(Outcome::Success),
        2 => Some(Outcome::Failed),
        _ => return None,
    };
    if let Some(result) = result {
        let to = input.version()?;
        let mut reason = Reason::default();
        reason.push_str(core::str::from_utf8(input.text()?).ok()?);
        record.last = Some(Last { to, result, reason });
    }
    for _ in 0..input.byte()? {
        if record.known.is_full() {
            return None;
        }
        let sha256 = input.take()?;
        // There is room. What could not be pushed would come back by value.
        let _ = record.known.push(Known { sha256, version: input.version()?? });
    }
    for _ in 0..input.byte()? {
        record.failures.push(Failures { sha256: input.take()?, count: input.byte()? }).ok()?;
    }
    input.digests(&mut record.confirmed)?;
    match input.byte()? {
        0 => {}
        1 => input.digests(record.trusted.insert(Vec::new()))?,
        _ => return None,
    }
    Some(())
}

/// The connections; `None` for whatever does not check out.
pub(super) fn decode_connections(bytes: &Bytes) -> Option<Connections> {
    sequence_of(bytes)?;
    Connections::read(part(bytes, CONNECTIONS_AT, CONNECTIONS_BYTES).first_chunk()?)
}

struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    /// All fields at their longest fill less than the room before the connections, which a test checks.
    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) {
        put(self.bytes, self.at, bytes);
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

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(text)
    }

    /// No version is written as an empty text; anything else must be one.
    fn version(&mut self) -> Option<Option<Version>> {
        let text = self.text()?;
        if text.is_empty() { Some(None) } else { Version::from_bytes(text).ok().map(Some) }
    }

    fn digests(&mut self, digests: &mut Vec<[u8; 32], KEPT>) -> Option<()> {
        for _ in 0..self.byte()? {
            digests.push(self.take()?).ok()?;
        }
        Some(())
    }
}
