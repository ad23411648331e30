//! HTTP/1.1 as a downloading device needs it: a GET is written, its response is read as it streams in.
//!
//! Owned here: URLs, redirect locations, the bytes of a request, the framing of a response (RFC 9112). Sockets, TLS and
//! names of hosts are the port's; what a response means is the download's. Refused: whatever could be read in two ways,
//! and every length without a bound.

mod response;
mod url;

use core::fmt::{self, Write};

pub use response::{HEAD_MAX_BYTES, Piece, Response, SCRATCH_BYTES};
pub use url::{Target, Url, resolve};
pub(crate) use url::{as_text, check};

use crate::event::Range;
use crate::refusal::digits;
use crate::sentences::Says;

/// Why a URL or a response is of no use; as text, a sentence without the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// Not a URL of http or https, too long, with a user name, or with bytes that have no place in a request.
    Url,
    /// A redirect from https to http.
    Downgrade,
    /// A redirect to a URL that is too long.
    LongLocation,
    /// What came does not begin as HTTP/1 does.
    NotHttp,
    /// The head does not end.
    LongHead,
    /// A line of the head is none.
    Head,
    /// The length of the body is told in two ways or in none that can be read.
    Length,
    /// A transfer coding other than `chunked`.
    Coding,
    /// The chunks are not as they should be.
    Chunk,
    /// The connection was closed before the response ended.
    Cut,
}

impl HttpError {
    pub(crate) const fn says(self) -> Says {
        match self {
            Self::Url => Says::Url,
            Self::Downgrade => Says::Downgrade,
            Self::LongLocation => Says::LongLocation,
            Self::NotHttp => Says::NotHttp,
            Self::LongHead => Says::LongHead,
            Self::Head => Says::Head,
            Self::Length => Says::Length,
            Self::Coding => Says::Coding,
            Self::Chunk => Says::Chunk,
            Self::Cut => Says::Cut,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.says().words())
    }
}

impl core::error::Error for HttpError {}

/// Writes the GET for a part of what is at `url`, complete with its empty line; at most 2.6 KB.
///
/// A tag that could not have come out of [`Response`] is left out.
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
    let port = if url.port() == url::default_port(url.is_tls()) {
        None
    } else {
        Some(digits(url.port().into(), 10))
    };
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

#[cfg(test)]
mod tests;
