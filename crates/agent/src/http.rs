//! HTTP/1.1 as a downloading device needs it: a GET is written, its response is read as it streams in.
//!
//! Owned here: URLs, redirect locations, the bytes of a request, the framing of a response (RFC 9112). Sockets, TLS and
//! names of hosts are the port's; what a response means is the download's. Refused: whatever could be read in two ways,
//! and every length without a bound.

use core::fmt;

use crate::sentences::Says;

mod field;
mod response;
mod url;

pub use field::SCRATCH_BYTES;
pub use response::{HEAD_MAX_BYTES, Piece, Response};
pub use url::{Target, Url, resolve, write_request};
pub(crate) use url::{as_text, check};

/// Why a URL or a response is of no use; as text, a sentence without the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpError(pub(crate) Says);

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.words())
    }
}

impl core::error::Error for HttpError {}

#[cfg(test)]
mod tests;
