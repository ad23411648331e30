//! URLs of http and https, as text that is safe to put into a request, and where a redirect leads.

use core::fmt::{self, Write};
use core::net::Ipv6Addr;

use heapless::String;

use super::HttpError;
use crate::settings::URL_MAX_BYTES;

/// A URL that was looked at; it has no byte that could end a line of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    tls: bool,
    host: &'a str,
    port: u16,
    /// As in the text: empty, or from its `/` or `?` on.
    target: &'a str,
}

impl<'a> Url<'a> {
    /// Reads `http://…` or `https://…`, at most [`URL_MAX_BYTES`] bytes of printable ASCII without spaces. A user name
    /// is refused, a fragment is dropped.
    pub fn parse(text: &'a str) -> Result<Self, HttpError> {
        if text.len() > URL_MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HttpError::Url);
        }
        let text = text.split('#').next().unwrap_or_default();
        let (tls, rest) = if let Some(rest) = strip_prefix_ignoring_case(text, "http://") {
            (false, rest)
        } else if let Some(rest) = strip_prefix_ignoring_case(text, "https://") {
            (true, rest)
        } else {
            return Err(HttpError::Url);
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(HttpError::Url)?;
            host.parse::<Ipv6Addr>().map_err(|_| HttpError::Url)?;
            (host, port)
        } else {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if host.is_empty() || !host.bytes().all(plain) {
                return Err(HttpError::Url);
            }
            (host, port)
        };
        let port = match port.strip_prefix(':') {
            // RFC 3986, 3.2.3: nothing after the colon is the default port.
            Some("") => default_port(tls),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(HttpError::Url)?
            }
            None if port.is_empty() => default_port(tls),
            _ => return Err(HttpError::Url),
        };
        Ok(Self { tls, host, port, target })
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

    pub(super) fn write_host(&self, out: &mut impl Write) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]", self.host)?;
        } else {
            out.write_str(self.host)?;
        }
        if self.port == default_port(self.tls) { Ok(()) } else { write!(out, ":{}", self.port) }
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

/// Writes to `out` where the redirect from `base` to `location` leads (RFC 3986, 5.2), without a fragment. From https
/// it never leads to http. After an error `out` holds nothing of use.
pub fn resolve(base: &str, location: &str, out: &mut String<URL_MAX_BYTES>) -> Result<(), HttpError> {
    let from = Url::parse(base)?;
    let location = location.split('#').next().unwrap_or_default();
    let long = |_| HttpError::LongLocation;
    out.clear();
    if has_scheme(location) {
        out.push_str(location).map_err(long)?;
    } else {
        out.push_str(if from.tls { "https:" } else { "http:" }).map_err(long)?;
        if location.starts_with("//") {
            out.push_str(location).map_err(long)?;
        } else {
            out.push_str("//").map_err(long)?;
            from.write_host(out).map_err(|_| HttpError::LongLocation)?;
            append_reference(from.target, location, out).map_err(|_| HttpError::LongLocation)?;
        }
    }
    let to = Url::parse(out)?;
    if from.tls && !to.tls { Err(HttpError::Downgrade) } else { Ok(()) }
}

/// Appends a reference without scheme and host, as seen from `target`.
fn append_reference(target: &str, location: &str, out: &mut String<URL_MAX_BYTES>) -> fmt::Result {
    let start = out.len();
    let path_of = |text: &'_ str| text.find('?').unwrap_or(text.len());
    let (base_path, base_query) = target.split_at(path_of(target));
    let (path, query) = location.split_at(path_of(location));
    if path.is_empty() {
        out.write_str(if base_path.is_empty() { "/" } else { base_path })?;
        return out.write_str(if query.is_empty() { base_query } else { query });
    }
    let folder =
        if path.starts_with('/') { "" } else { base_path.rsplit_once('/').map_or("", |(folder, _)| folder) };
    // RFC 3986, 5.2.4, a segment at a time: `out` never holds a dot segment.
    let segments = folder.split('/').skip(1).chain(path.strip_prefix('/').unwrap_or(path).split('/'));
    let mut last_is_dots = false;
    for segment in segments {
        last_is_dots = matches!(segment, "." | "..");
        if segment == ".." {
            let kept = out[start..].rfind('/').map_or(start, |slash| start + slash);
            out.truncate(kept);
        } else if segment != "." {
            write!(out, "/{segment}")?;
        }
    }
    if last_is_dots {
        out.write_str("/")?;
    }
    out.write_str(query)
}

/// RFC 3986, 4.2: the first segment of a relative path has no colon, so one before any `/` or `?` ends a scheme.
fn has_scheme(location: &str) -> bool {
    location.find([':', '/', '?']).is_some_and(|at| location.as_bytes()[at] == b':')
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
