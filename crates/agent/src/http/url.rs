//! URLs of http and https, as text that is safe to put into a request, where a redirect leads, and the request for a part of
//! a file.

use core::fmt::{self, Write};

use heapless::Vec;

use super::HttpError;
use crate::event::Range;
use crate::port::URL_MAX_BYTES;
use crate::refusal::digits;
use crate::sentences::Says;

/// A URL that was looked at; it has no byte that could end a line of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    tls: bool,
    host: &'a str,
    port: u16,
    /// As in the text: empty, or from its `/` or `?` on.
    target: &'a str,
}

/// Where in a URL its parts lie. In bytes: what `str` brings along to search text is larger than all of this.
struct Parts {
    tls: bool,
    host: (usize, usize),
    port: u16,
    target: usize,
    /// Of what counts; a fragment may follow.
    end: usize,
}

/// Whether bytes are a URL that [`Url::parse`] takes.
pub(crate) fn check(bytes: &[u8]) -> Result<(), HttpError> {
    Parts::of(bytes).map(|_| ())
}

/// The text of a URL that [`check`] took.
pub(crate) fn as_text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}

impl Parts {
    #[inline(never)]
    fn of(bytes: &[u8]) -> Result<Self, HttpError> {
        Self::find(bytes).ok_or(HttpError(Says::Url))
    }

    fn find(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > URL_MAX_BYTES || !bytes.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let end = find(bytes, 0, b"#");
        let bytes = bytes.get(..end)?;
        let begins =
            |scheme: &[u8]| bytes.get(..scheme.len()).is_some_and(|text| text.eq_ignore_ascii_case(scheme));
        let (tls, authority) = match (begins(b"http://"), begins(b"https://")) {
            (true, _) => (false, b"http://".len()),
            (_, true) => (true, b"https://".len()),
            _ => return None,
        };
        let target = find(bytes, authority, b"/?");
        let bytes = bytes.get(..target)?;
        let (host, after) = if bytes.get(authority) == Some(&b'[') {
            let host = (authority + 1, find(bytes, authority, b"]"));
            (host, host.1 + 1)
        } else {
            let host = (authority, find(bytes, authority, b":"));
            (host, host.1)
        };
        // What an address of IPv6 is, whoever connects to it finds out; here it only must not be anything else.
        let is_ipv6 = host.0 > authority;
        let fits = |byte: &u8| match byte {
            b':' => is_ipv6,
            b'-' | b'_' => !is_ipv6,
            b'.' => true,
            _ => {
                if is_ipv6 {
                    byte.is_ascii_hexdigit()
                } else {
                    byte.is_ascii_alphanumeric()
                }
            }
        };
        let name = bytes.get(host.0..host.1)?;
        if name.is_empty() || !name.iter().all(fits) || (is_ipv6 && find(name, 0, b":") == name.len()) {
            return None;
        }
        let port = match bytes.get(after..)? {
            // RFC 3986, 3.2.3: nothing after the colon is the default port.
            [] | [b':'] => default_port(tls),
            [b':', digits @ ..] => {
                let add = |port: u16, digit: &u8| {
                    let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
                    port.checked_mul(10)?.checked_add(digit.into())
                };
                digits.iter().try_fold(0, add).filter(|port| *port != 0)?
            }
            _ => return None,
        };
        Some(Self { tls, host, port, target, end })
    }
}

/// Where, from `from` on, the first of the `wanted` bytes lies; the end if there is none.
#[inline(never)]
fn find(bytes: &[u8], from: usize, wanted: &[u8]) -> usize {
    let mut at = from;
    while bytes.get(at).is_some_and(|byte| wanted.iter().all(|wanted| wanted != byte)) {
        at += 1;
    }
    at.min(bytes.len())
}

impl<'a> Url<'a> {
    /// Reads `http://…` or `https://…`, at most [`URL_MAX_BYTES`] bytes of printable ASCII without spaces. A user name
    /// is refused, a fragment is dropped.
    #[inline(never)]
    pub fn parse(text: &'a str) -> Result<Self, HttpError> {
        let Parts { tls, host, port, target, end } = Parts::of(text.as_bytes())?;
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        Ok(Self { tls, host: part(host.0, host.1), port, target: part(target, end) })
    }

    /// Whether it is https.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// A name or an address; that of IPv6 without brackets.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// 80 or 443, unless the URL says otherwise.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they are sent.
    pub fn target(&self) -> Target<'a> {
        Target(self.target)
    }
}

// A query may be a signature, which is a secret.
impl fmt::Debug for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Url").field("tls", &self.tls).field("host", &self.host).finish_non_exhaustive()
    }
}

/// Path and query of a [`Url`]; as text it begins with `/`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target<'a>(&'a str);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.starts_with('/') {
            f.write_str("/")?;
        }
        f.write_str(self.0)
    }
}

/// Turns a URL into the one that a redirect from it to `location` leads to (RFC 3986, 5.2), without a fragment. From
/// https it never leads to http. After an error `url` holds nothing of use.
///
/// In place, because a second URL would take 2 KiB of a stack.
#[inline(never)]
pub fn resolve(url: &mut Vec<u8, URL_MAX_BYTES>, location: &str) -> Result<(), HttpError> {
    let from = Parts::of(url)?;
    let location = location.as_bytes();
    let location = location.get(..find(location, 0, b"#")).unwrap_or_default();
    let path_end = find(location, 0, b"?");
    // RFC 3986, 4.2: the first segment of a relative path has no colon, so one before any `/` or `?` ends a scheme.
    let is_absolute = location.get(find(location, 0, b":/?")) == Some(&b':');
    // What of the URL is kept, before `location` is appended.
    let kept = if is_absolute {
        0
    } else if location.starts_with(b"//") {
        find(url, 0, b"/")
    } else if location.first() == Some(&b'/') {
        from.target
    } else if location.is_empty() {
        from.end
    } else {
        let path = url.get(..find(url, from.target, b"?#")).unwrap_or_default();
        let folder = path.iter().skip(from.target).rposition(|byte| *byte == b'/');
        if path_end == 0 { path.len() } else { from.target + folder.unwrap_or_default() }
    };
    let is_relative = kept >= from.target;
    url.truncate(kept);
    let begins_with_slash = matches!(location.first(), None | Some(b'/'));
    if is_relative && (path_end > 0 && !begins_with_slash || url.len() == from.target && path_end == 0) {
        url.push(b'/').map_err(|_| HttpError(Says::LongLocation))?;
    }
    url.extend_from_slice(location).map_err(|_| HttpError(Says::LongLocation))?;
    if is_relative && path_end > 0 {
        let query = url.len() - (location.len() - path_end);
        remove_dots(url, from.target, query);
    }
    let to = Parts::of(url)?;
    if from.tls && !to.tls { Err(HttpError(Says::Downgrade)) } else { Ok(()) }
}

/// RFC 3986, 5.2.4, in place: a path that begins with `/` and lies between `begin` and `end` loses its dot segments.
fn remove_dots(url: &mut Vec<u8, URL_MAX_BYTES>, begin: usize, end: usize) {
    let (mut read, mut written) = (begin, begin);
    while read < end {
        // A segment with the slash before it.
        let next = find(url, read + 1, b"/").min(end);
        let dots = match url.get(read..next) {
            Some(b"/.") => 1,
            Some(b"/..") => 2,
            _ => 0,
        };
        if dots == 2 {
            let before = url.get(begin..written).unwrap_or_default();
            written = begin + before.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
        }
        if dots == 0 {
            written = move_down(url, read, next, written);
        } else if next == end {
            // What ends with dots is a folder.
            written = move_down(url, read, read + 1, written);
        }
        read = next;
    }
    let length = url.len();
    let length = move_down(url, end, length, written);
    url.truncate(length);
}

/// Copies bytes to a place before them; returns where they end there.
fn move_down(bytes: &mut [u8], from: usize, to: usize, mut at: usize) -> usize {
    for from in from..to {
        let byte = bytes.get(from).copied().unwrap_or_default();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        at += 1;
    }
    at
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Writes the GET for a part of what is at `url`, complete with its empty line; at most 2.6 KB.
///
/// A tag that could not have come out of [`super::Response`] is left out.
#[inline(never)]
pub fn write_request(
    url: &Url<'_>,
    range: Range,
    if_range: Option<&str>,
    keep_alive: bool,
    out: &mut impl Write,
) -> fmt::Result {
    // Piece by piece: `write!` brings along kilobytes of formatting.
    let (before, number, after) = match range {
        Range::From(offset) => ("", offset, "-"),
        Range::Last(count) => ("-", count, ""),
    };
    let tag = if_range.filter(|tag| tag.bytes().all(|byte| byte.is_ascii_graphic()));
    let port =
        if url.port() == default_port(url.is_tls()) { None } else { Some(digits(url.port().into(), 10)) };
    let is_ipv6 = url.host().bytes().any(|byte| byte == b':');
    for text in [
        "GET ",
        if url.target.starts_with('/') { "" } else { "/" },
        url.target,
        " HTTP/1.1\r\nHost: ",
        if is_ipv6 { "[" } else { "" },
        url.host(),
        if is_ipv6 { "]" } else { "" },
        if port.is_some() { ":" } else { "" },
        port.as_deref().unwrap_or_default(),
        "\r\nRange: bytes=",
        before,
        &digits(number, 10),
        after,
        if tag.is_some() { "\r\nIf-Range: " } else { "" },
        tag.unwrap_or_default(),
        concat!(
            "\r\nAccept-Encoding: identity\r\nUser-Agent: updraft/",
            env!("CARGO_PKG_VERSION"),
            "\r\nConnection: "
        ),
        if keep_alive { "keep-alive" } else { "close" },
        "\r\n\r\n",
    ] {
        out.write_str(text)?;
    }
    Ok(())
}
