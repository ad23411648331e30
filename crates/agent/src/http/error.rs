//! Why a URL or a response is of no use.

use core::fmt;

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
    /// The length of the body is given in two ways, or in none that can be read.
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
