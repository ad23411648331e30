//! HTTP/1.1 as a downloading device needs it: a GET is written, its response is read as it streams in.
//!
//! Owned here: URLs, redirect locations, the bytes of a request, the framing of a response (RFC 9112). Sockets, TLS and
//! names of hosts are the port's; what a response means is the download's. Refused: whatever could be read in two ways,
//! and every length without a bound.

mod error;
mod field;
mod request;
mod response;
mod url;

pub use error::HttpError;
pub use field::SCRATCH_BYTES;
pub use request::write_request;
pub use response::{HEAD_MAX_BYTES, Piece, Response};
pub use url::{Target, Url, resolve};
pub(crate) use url::{as_text, check};

#[cfg(test)]
mod tests;
