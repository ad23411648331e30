//! What an attempt to update keeps in memory, from its trigger to its outcome. What outlives a restart is the record's.

use contract::Version;

/// Which part of the file a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Its end, to judge it by before anything is erased.
    Tail,
    /// All of it, from where the download is.
    Image,
}

#[derive(Debug)]
pub(crate) struct AttemptState {
    pub(crate) asking: Asking,
    /// Redirects followed from the last trigger's URL.
    pub(crate) redirects: u8,
    /// Lost connections that nothing received since made up for.
    pub(crate) retries: u8,
    pub(crate) url_requests: u8,
    /// Whether the record and otadata are such that the slot may be erased.
    pub(crate) ready: bool,
    /// The most that was received of any file.
    pub(crate) furthest: u32,
    /// What the connection brought since it was last judged by that.
    pub(crate) pace_bytes: u32,
    /// The version, if known.
    pub(crate) to: Option<Version>,
}

impl AttemptState {
    pub(crate) const NEW: Self = Self {
        asking: Asking::Tail,
        redirects: 0,
        retries: 0,
        url_requests: 0,
        ready: false,
        furthest: 0,
        pace_bytes: 0,
        to: None,
    };
}
