//! The fields of a head that matter, and where in the caller's scratch each is kept.

use crate::port::URL_MAX_BYTES;

/// What [`super::Response::push`] needs to read a head with.
pub const SCRATCH_BYTES: usize = LINE_AT + LINE_MAX_BYTES;

// The parts of the scratch. A field that is kept has a place of its own.
const ETAG_MAX_BYTES: usize = 128;
const VERSION_AT: usize = ETAG_MAX_BYTES;
const VERSION_MAX_BYTES: usize = 64;
const LOCATION_AT: usize = VERSION_AT + VERSION_MAX_BYTES;
/// A field's name, then its value if that is short and only read once.
pub(super) const LINE_AT: usize = LOCATION_AT + URL_MAX_BYTES;
const LINE_MAX_BYTES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Its name is being read.
    Unnamed,
    Other,
    Etag,
    Version,
    Location,
    ContentRange,
    ContentLength,
    TransferEncoding,
    ContentEncoding,
    Connection,
}

impl Field {
    pub(super) fn named(name: &[u8]) -> Self {
        const KNOWN: [(&str, Field); 8] = [
            ("etag", Field::Etag),
            ("updraft-version", Field::Version),
            ("location", Field::Location),
            ("content-range", Field::ContentRange),
            ("content-length", Field::ContentLength),
            ("transfer-encoding", Field::TransferEncoding),
            ("content-encoding", Field::ContentEncoding),
            ("connection", Field::Connection),
        ];
        let known = KNOWN.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        known.map_or(Self::Other, |(_, field)| *field)
    }

    /// Where in the scratch its value goes, and how much of it.
    pub(super) const fn place(self) -> (usize, usize) {
        match self {
            Self::Other => (0, 0),
            Self::Etag => (0, ETAG_MAX_BYTES),
            Self::Version => (VERSION_AT, VERSION_MAX_BYTES),
            Self::Location => (LOCATION_AT, URL_MAX_BYTES),
            _ => (LINE_AT, LINE_MAX_BYTES),
        }
    }
}
