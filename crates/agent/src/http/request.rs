//! The request for a part of a file.

use core::fmt::{self, Write};

use super::url::{self, Url};
use crate::event::Range;
use crate::refusal::digits;

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
