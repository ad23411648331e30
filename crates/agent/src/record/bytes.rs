//! How a record is written: magic, sequence number, fields, then connections at a place of their own, and a tag over
//! all of it.
//!
//! Owned here: the bytes. Refused, whole: whatever has another magic or tag, or holds what is never written. The
//! connections are left where they are when the rest is written anew, so that they need not lie in RAM.

use contract::{InvalidVersion, Outcome, Reason, Version};
use heapless::Vec;

use super::{Attempt, Failures, KEPT, Last, Record, Stage, Trusted, put_newest};
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

/// What is kept, apart from its number: a digest of it.
pub(super) fn content_of(bytes: &Bytes) -> [u8; 32] {
    let begin = MAGIC.len() + 4;
    image::digest(part(bytes, begin, TAG_AT - begin))
}

/// Writes all but the connections, which stay as they are in `bytes`.
#[inline(never)]
pub(super) fn encode(record: &Record, sequence: u32, bytes: &mut Bytes) {
    let mut out = Writer { bytes: part_mut(bytes, 0, CONNECTIONS_AT), at: 0 };
    out.put(&MAGIC);
    out.put(&sequence.to_le_bytes());
    out.byte(match record.rollback {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    });
    match &record.attempt {
        None => out.byte(0),
        Some(attempt) => {
            for byte in [1 + attempt.stage as u8, attempt.slot, attempt.rearms] {
                out.byte(byte);
            }
            out.put(&attempt.sha256);
            out.version(attempt.to.as_ref());
        }
    }
    match &record.last {
        None => out.byte(0),
        Some(last) => {
            out.byte(if last.result == Outcome::Success { 1 } else { 2 });
            out.version(last.to.as_ref());
            out.text(last.reason.as_str());
        }
    }
    out.byte(record.known.len() as u8);
    for known in &record.known {
        out.put(&known.sha256);
        out.text(known.version.as_str());
    }
    out.byte(record.failures.len() as u8);
    for failed in &record.failures {
        out.put(&failed.sha256);
        out.byte(failed.count);
    }
    out.digests(&record.confirmed);
    out.byte(u8::from(record.trusted.is_some()));
    if let Some(trusted) = &record.trusted {
        out.digests(&trusted.keys);
    }
    out.put(&record.secure_version.to_le_bytes());
    let trusted = record.trusted.as_ref();
    out.byte(trusted.map_or(0, |trusted| trusted.required));
    out.version(trusted.and_then(|trusted| trusted.by.as_ref()));
    while out.at < CONNECTIONS_AT {
        out.byte(0);
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
        record.attempt = Some(Attempt { stage, slot, sha256, to: input.version().ok()?, rearms });
    }
    let result = match input.byte()? {
        0 => None,
        1 => Some(Outcome::Success),
        2 => Some(Outcome::Failed),
        _ => return None,
    };
    if let Some(result) = result {
        let to = input.version().ok()?;
        let mut reason = Reason::default();
        reason.push_str(core::str::from_utf8(input.text()?).ok()?);
        record.last = Some(Last { to, result, reason });
    }
    for _ in 0..input.byte()? {
        if record.known.is_full() {
            return None;
        }
        record.remember_version(input.take()?, input.version().ok()??);
    }
    for _ in 0..input.byte()? {
        if record.failures.is_full() {
            return None;
        }
        let failed = Failures { sha256: input.take()?, count: input.byte()? };
        put_newest(&mut record.failures, None, failed);
    }
    input.digests(&mut record.confirmed)?;
    match input.byte()? {
        0 => {}
        1 => {
            let trusted = record.trusted.insert(Trusted { keys: Vec::new(), required: 0, by: None });
            input.digests(&mut trusted.keys)?;
        }
        _ => return None,
    }
    // Zeros from here on, where an older agent wrote nothing.
    record.secure_version = u32::from_le_bytes(input.take()?);
    let (required, by) = (input.byte()?, input.version().ok()?);
    if let Some(trusted) = &mut record.trusted {
        (trusted.required, trusted.by) = (required, by);
    }
    Some(())
}

/// Reads connections in place of the default; `None`, and anything at all in them, for whatever does not check out.
pub(super) fn decode_connections(bytes: &Bytes, connections: &mut Connections) -> Option<()> {
    sequence_of(bytes)?;
    connections.read(part(bytes, CONNECTIONS_AT, CONNECTIONS_BYTES).first_chunk()?)
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

    #[inline(never)]
    fn byte(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    #[inline(never)]
    fn text(&mut self, text: &str) {
        self.byte(text.len() as u8);
        self.put(text.as_bytes());
    }

    #[inline(never)]
    fn version(&mut self, version: Option<&Version>) {
        self.text(version.map_or("", Version::as_str));
    }

    #[inline(never)]
    fn digests(&mut self, digests: &[[u8; 32]]) {
        self.byte(digests.len() as u8);
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

    #[inline(never)]
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
    fn version(&mut self) -> Result<Option<Version>, InvalidVersion> {
        match self.text() {
            Some([]) => Ok(None),
            text => Version::from_bytes(text.unwrap_or_default()).map(Some),
        }
    }

    fn digests(&mut self, digests: &mut Vec<[u8; 32], KEPT>) -> Option<()> {
        for _ in 0..self.byte()? {
            digests.push(self.take()?).ok()?;
        }
        Some(())
    }
}
