//! The response as it streams in: the few fields that matter are kept in the caller's scratch, the body passes by.
//!
//! Every byte is looked at once. Limits: 32 KiB for all heads together (interim ones included), 8 KiB for trailers,
//! 256 bytes for the line before a chunk, 4 GiB for a chunk.

use super::error::HttpError;
use super::field::{Field, LINE_AT};
use crate::event::{ContentRange, ResponseHead};

/// At most so many bytes are heads, those of interim responses included.
pub const HEAD_MAX_BYTES: usize = 32 * 1024;
const TRAILER_MAX_BYTES: usize = 8 * 1024;
const CHUNK_LINE_MAX_BYTES: usize = 256;

/// What the bytes pushed so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Nothing without more bytes; there is nothing left of these, or the response is over.
    More,
    /// The final response's head. The scratch is free once this value is gone.
    Head(ResponseHead<'a>),
    /// More of the body, never empty.
    Body(&'a [u8]),
    /// The body ended; said once.
    End,
    /// It cannot be read any further; said once.
    Broken(HttpError),
}

/// The response to one request.
// Each bool is a fact of its own; the state that they could be mistaken for is `state`.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone)]
pub struct Response {
    state: State,
    /// Bytes of the head, of a chunk's line or of the trailers: whatever is bounded now.
    lines_bytes: u16,
    after_cr: bool,
    status: u16,
    http_1_0: bool,
    chunked: bool,
    encoded: bool,
    /// What `Connection` said.
    keep_alive: Option<bool>,
    field: Field,
    value_bytes: u16,
    /// The value does not fit its place.
    overlong: bool,
    etag_bytes: u16,
    version_bytes: u16,
    location_bytes: u16,
    length: Option<u64>,
    range: Option<ContentRange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In `HTTP/1.1 200`, so far.
    Status(u8),
    /// The rest of that line, which says nothing.
    Phrase,
    /// The status line ended.
    FirstField,
    /// In the name of a field, of which so many bytes were read.
    Name(u8),
    Value,
    /// A line ended; whether its field did, the next byte tells.
    NextField,
    /// In the body, of which so many bytes are left.
    Counted(u64),
    UntilClose,
    /// In the size of a chunk, of which so many digits were read.
    ChunkSize(u8, u32),
    ChunkExtension(u32),
    Chunk(u32),
    ChunkEnd,
    /// At the start of a trailer's line.
    Trailers,
    Trailer,
    Ended,
    Failed(HttpError),
}

impl Default for Response {
    fn default() -> Self {
        Self::new()
    }
}

impl Response {
    /// Nothing was read yet.
    pub const fn new() -> Self {
        Self {
            state: State::Status(0),
            lines_bytes: 0,
            after_cr: false,
            status: 0,
            http_1_0: false,
            chunked: false,
            encoded: false,
            keep_alive: None,
            field: Field::Other,
            value_bytes: 0,
            overlong: false,
            etag_bytes: 0,
            version_bytes: 0,
            location_bytes: 0,
            length: None,
            range: None,
        }
    }

    /// Takes from the front of `bytes`; says how many were taken and what they are. To be called again with the rest
    /// until it says [`Piece::More`], also with no rest at all: a body may have ended.
    ///
    /// Until the head was given out, `scratch` must be the same memory each time and have
    /// [`crate::http::SCRATCH_BYTES`]; after that it is not touched. Bytes after the end are left.
    pub fn push<'a>(&mut self, scratch: &'a mut [u8], bytes: &'a [u8]) -> (usize, Piece<'a>) {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            match self.state {
                State::Ended | State::Failed(_) => return (used, Piece::More),
                State::Counted(0) => {
                    self.state = State::Ended;
                    return (used, Piece::End);
                }
                _ if rest.is_empty() => return (used, Piece::More),
                State::Counted(left) => {
                    let now = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    self.state = State::Counted(left - now as u64);
                    return (used + now, Piece::Body(&rest[..now]));
                }
                State::UntilClose => return (bytes.len(), Piece::Body(rest)),
                State::Chunk(left) => {
                    let now = rest.len().min(left as usize);
                    let left = left - now as u32;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return (used + now, Piece::Body(&rest[..now]));
                }
                _ => {}
            }
            used += 1;
            match self.on_line_byte(scratch, rest[0]) {
                Ok(None) => {}
                Ok(Some(Line::HeadEnd)) => return (used, Piece::Head(self.head(scratch))),
                Ok(Some(Line::BodyEnd)) => return (used, Piece::End),
                Err(error) => {
                    self.state = State::Failed(error);
                    return (used, Piece::Broken(error));
                }
            }
        }
    }

    /// Whether the response is whole if the connection was closed now. A body without a length ends this way.
    pub fn closed(&self) -> Result<(), HttpError> {
        match self.state {
            State::Ended | State::Counted(0) | State::UntilClose => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(HttpError::Cut),
        }
    }

    /// Whether the connection serves for another request (RFC 9112, 9.3): after the end, and if both sides keep it.
    pub fn is_reusable(&self) -> bool {
        matches!(self.state, State::Ended) && self.keep_alive.unwrap_or(!self.http_1_0)
    }

    /// A byte of what comes in lines: everything but the body.
    fn on_line_byte(&mut self, scratch: &mut [u8], byte: u8) -> Result<Option<Line>, HttpError> {
        let (limit, too_long, malformed) = match self.state {
            State::ChunkSize(..) | State::ChunkExtension(_) | State::ChunkEnd => {
                (CHUNK_LINE_MAX_BYTES, HttpError::Chunk, HttpError::Chunk)
            }
            State::Trailers | State::Trailer => (TRAILER_MAX_BYTES, HttpError::LongHead, HttpError::Head),
            State::Status(_) => (HEAD_MAX_BYTES, HttpError::LongHead, HttpError::NotHttp),
            _ => (HEAD_MAX_BYTES, HttpError::LongHead, HttpError::Head),
        };
        self.lines_bytes = self.lines_bytes.saturating_add(1);
        if usize::from(self.lines_bytes) > limit {
            return Err(too_long);
        }
        // RFC 9112, 2.2: a CR without LF is refused; in lines of the head an LF without CR ends a line too.
        if byte == b'\0' || (self.after_cr && byte != b'\n') {
            return Err(malformed);
        }
        if byte == b'\r' {
            self.after_cr = true;
            return Ok(None);
        }
        let after_cr = core::mem::take(&mut self.after_cr);
        match self.state {
            State::ChunkSize(..) | State::ChunkExtension(_) | State::ChunkEnd => {
                self.on_chunk_byte(byte, after_cr).map(|()| None)
            }
            State::Trailers if byte == b'\n' => {
                self.state = State::Ended;
                Ok(Some(Line::BodyEnd))
            }
            State::Trailers | State::Trailer => {
                self.state = if byte == b'\n' { State::Trailers } else { State::Trailer };
                Ok(None)
            }
            _ => self.on_head_byte(scratch, byte),
        }
    }

    fn on_head_byte(&mut self, scratch: &mut [u8], byte: u8) -> Result<Option<Line>, HttpError> {
        let is_blank = matches!(byte, b' ' | b'\t');
        match self.state {
            State::Status(at) => self.on_status_byte(at, byte)?,
            State::Phrase if byte == b'\n' => self.state = State::FirstField,
            // RFC 9112, 5.2: a folded line goes on after one space.
            State::NextField if is_blank => {
                self.keep(scratch, b' ');
                self.state = State::Value;
            }
            State::FirstField | State::NextField => {
                if matches!(self.state, State::NextField) {
                    self.end_field(scratch)?;
                }
                if byte == b'\n' {
                    return self.end_head();
                }
                (self.field, self.value_bytes, self.overlong) = (Field::Unnamed, 0, false);
                self.on_name_byte(scratch, 0, byte)?;
            }
            State::Name(at) => self.on_name_byte(scratch, at, byte)?,
            State::Value if byte == b'\n' => self.state = State::NextField,
            State::Value => self.keep(scratch, byte),
            _ => {}
        }
        Ok(None)
    }

    /// RFC 9112, 4: `HTTP/1.1 200 OK`. Servers that leave out the phrase leave out its space too.
    fn on_status_byte(&mut self, at: u8, byte: u8) -> Result<(), HttpError> {
        const EXPECTED: &[u8; 7] = b"HTTP/1.";
        let fits = match at {
            0..7 => byte == EXPECTED[usize::from(at)],
            7 => {
                self.http_1_0 = byte == b'0';
                byte.is_ascii_digit()
            }
            8 => byte == b' ',
            9..12 => {
                self.status = self.status * 10 + u16::from(byte.wrapping_sub(b'0'));
                byte.is_ascii_digit() && self.status > 0
            }
            _ => matches!(byte, b' ' | b'\n'),
        };
        if !fits {
            return Err(HttpError::NotHttp);
        }
        self.state = match (at, byte) {
            (12, b'\n') => State::FirstField,
            (12, _) => State::Phrase,
            _ => State::Status(at + 1),
        };
        Ok(())
    }

    fn on_name_byte(&mut self, scratch: &mut [u8], at: u8, byte: u8) -> Result<(), HttpError> {
        match byte {
            b':' if at > 0 => {
                let name = scratch.get(LINE_AT..LINE_AT + usize::from(at)).unwrap_or_default();
                self.field = if self.overlong { Field::Other } else { Field::named(name) };
                (self.value_bytes, self.overlong) = (0, false);
                self.state = State::Value;
                return Ok(());
            }
            // RFC 9110, 5.6.2. A space before the colon is refused too (RFC 9112, 5.1).
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => return Err(HttpError::Head),
        }
        self.keep(scratch, byte);
        self.state = State::Name(at.saturating_add(1));
        Ok(())
    }

    /// Keeps a byte of a name or a value, unless it is a blank before it or there is no room.
    fn keep(&mut self, scratch: &mut [u8], byte: u8) {
        let (place, room) = self.field.place();
        let at = usize::from(self.value_bytes);
        if at == 0 && matches!(byte, b' ' | b'\t') {
            return;
        }
        match scratch.get_mut(place + at) {
            Some(kept) if at < room => {
                *kept = byte;
                self.value_bytes += 1;
            }
            _ => self.overlong = true,
        }
    }

    /// Of several fields with one name the last counts, unless it is about the framing.
    fn end_field(&mut self, scratch: &[u8]) -> Result<(), HttpError> {
        let (place, _) = self.field.place();
        let value = scratch.get(place..place + usize::from(self.value_bytes)).unwrap_or_default();
        let value = value.trim_ascii_end();
        // Nothing that is kept has blanks inside or bytes beyond ASCII.
        let kept = !self.overlong && value.iter().all(u8::is_ascii_graphic);
        let bytes = if kept { value.len() as u16 } else { 0 };
        match self.field {
            Field::Other => return Ok(()),
            Field::Etag => self.etag_bytes = bytes,
            Field::Version => self.version_bytes = bytes,
            Field::Location if (300..400).contains(&self.status) && !kept => {
                return Err(if self.overlong { HttpError::LongLocation } else { HttpError::Url });
            }
            Field::Location => self.location_bytes = bytes,
            _ => {
                let text = Some(value).filter(|_| !self.overlong);
                return self.end_short_field(text);
            }
        }
        Ok(())
    }

    fn end_short_field(&mut self, text: Option<&[u8]>) -> Result<(), HttpError> {
        let parts = || text.unwrap_or_default().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        match self.field {
            Field::ContentLength => {
                // RFC 9112, 6.3: equal ones in a list or in several fields count as one, all else is refused.
                for part in parts() {
                    // One that is too long for a length is empty here.
                    let length = number(part).ok_or(HttpError::Length)?;
                    if *self.length.get_or_insert(length) != length {
                        return Err(HttpError::Length);
                    }
                }
            }
            Field::TransferEncoding => {
                // RFC 9112, 6.1: chunked is never applied twice; no other coding was asked for (`TE`).
                let chunked = text.is_some_and(|text| text.eq_ignore_ascii_case(b"chunked"));
                if !chunked || self.chunked {
                    return Err(HttpError::Coding);
                }
                self.chunked = true;
            }
            Field::ContentRange => self.range = text.and_then(content_range),
            Field::ContentEncoding => {
                let plain = |part: &[u8]| part.is_empty() || part.eq_ignore_ascii_case(b"identity");
                self.encoded |= text.is_none() || !parts().all(plain);
            }
            _ => {
                for part in parts() {
                    if part.eq_ignore_ascii_case(b"close") {
                        self.keep_alive = Some(false);
                    } else if part.eq_ignore_ascii_case(b"keep-alive") {
                        self.keep_alive = self.keep_alive.or(Some(true));
                    }
                }
            }
        }
        Ok(())
    }

    /// RFC 9112, 6.3, for the response to a GET.
    fn end_head(&mut self) -> Result<Option<Line>, HttpError> {
        match self.status {
            // RFC 9110, 15.2.2: no other protocol was asked for.
            101 => return Err(HttpError::NotHttp),
            100..200 => {
                *self = Self { lines_bytes: self.lines_bytes, ..Self::new() };
                return Ok(None);
            }
            _ => {}
        }
        // RFC 9112, 6.1 and 6.3: with a length beside it, or in HTTP/1.0, a chunked body may be an attack.
        if self.chunked && (self.length.is_some() || self.http_1_0) {
            return Err(HttpError::Length);
        }
        self.lines_bytes = 0;
        self.state = match self.length {
            _ if matches!(self.status, 204 | 304) => State::Counted(0),
            _ if self.chunked => State::ChunkSize(0, 0),
            Some(length) => State::Counted(length),
            None => State::UntilClose,
        };
        Ok(Some(Line::HeadEnd))
    }

    /// RFC 9112, 7.1. Here an LF alone is refused: it stands between binary bytes.
    fn on_chunk_byte(&mut self, byte: u8, after_cr: bool) -> Result<(), HttpError> {
        self.state = match (self.state, byte) {
            (State::ChunkSize(1.., size) | State::ChunkExtension(size), b'\n') if after_cr => {
                self.lines_bytes = 0;
                if size == 0 { State::Trailers } else { State::Chunk(size) }
            }
            (State::ChunkEnd, b'\n') if after_cr => {
                self.lines_bytes = 0;
                State::ChunkSize(0, 0)
            }
            (State::ChunkExtension(_), b'\n') => return Err(HttpError::Chunk),
            (State::ChunkSize(1.., size), b';' | b' ' | b'\t') | (State::ChunkExtension(size), _) => {
                State::ChunkExtension(size)
            }
            (State::ChunkSize(digits, size), _) => {
                let digit = char::from(byte).to_digit(16).ok_or(HttpError::Chunk)?;
                let size = size.checked_mul(16).ok_or(HttpError::Chunk)? | digit;
                State::ChunkSize(digits.saturating_add(1), size)
            }
            _ => return Err(HttpError::Chunk),
        };
        Ok(())
    }

    fn head<'a>(&self, scratch: &'a [u8]) -> ResponseHead<'a> {
        let text = |field: Field, bytes: u16| {
            let (place, _) = field.place();
            let kept = scratch.get(place..place + usize::from(bytes)).filter(|kept| !kept.is_empty())?;
            core::str::from_utf8(kept).ok()
        };
        ResponseHead {
            status: self.status,
            content_length: self.length,
            content_range: self.range,
            etag: text(Field::Etag, self.etag_bytes),
            version: text(Field::Version, self.version_bytes),
            location: text(Field::Location, self.location_bytes),
            encoded: self.encoded,
        }
    }
}

/// What a line's last byte brought to its end.
enum Line {
    HeadEnd,
    BodyEnd,
}

/// `bytes 100-199/200` or `bytes 100-199/*`; RFC 9110, 14.4: one that contradicts itself is none.
fn content_range(text: &[u8]) -> Option<ContentRange> {
    let (unit, range) = split_once(text, b' ')?;
    let (range, total) = split_once(range.trim_ascii(), b'/')?;
    let (start, end) = split_once(range, b'-')?;
    let (start, end) = (number(start)?, number(end)?);
    let total = if total == b"*" { None } else { Some(number(total)?) };
    let sound = start <= end && total.is_none_or(|total| end < total);
    (unit.eq_ignore_ascii_case(b"bytes") && sound).then_some(ContentRange { start, total })
}

#[inline(never)]
fn split_once(text: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == mark)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Digits only, and at least one.
#[inline(never)]
fn number(text: &[u8]) -> Option<u64> {
    let add = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(digit.into())
    };
    (!text.is_empty()).then(|| text.iter().try_fold(0, add))?
}
