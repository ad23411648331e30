//! Why the store did not do what was asked.

use std::error::Error as StdError;
use std::sync::Arc;

use cause::Cause;

/// Why something was not done. Callers act on the kind; people read the sentence of the cause.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// There is no such product, release or channel.
    #[error("{0}")]
    NotFound(Cause),
    /// What was given is not acceptable, whatever the store holds: a bad image, version or URL.
    #[error("{0}")]
    Invalid(Cause),
    /// Well-formed, and refused because of what the store holds; nothing was changed.
    #[error("{0}")]
    Refused(Cause),
    /// The store did not answer, or holds something that cannot be read.
    #[error("{cause}")]
    Unavailable {
        /// What failed, on what, and what to do.
        cause: Cause,
        /// What the storage said, if it said something.
        #[source]
        source: Option<Arc<dyn StdError + Send + Sync>>,
    },
}

impl StoreError {
    /// Why.
    pub fn cause(&self) -> &Cause {
        match self {
            Self::NotFound(cause)
            | Self::Invalid(cause)
            | Self::Refused(cause)
            | Self::Unavailable { cause, .. } => cause,
        }
    }

    /// Whether the store answers, and only what it holds cannot be used: asking again changes nothing.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Unavailable { source: None, .. })
    }

    /// Whether the credentials may not do it.
    pub(crate) fn is_denied(&self) -> bool {
        self.cause().is(cause::store::PERMISSION_DENIED)
    }

    /// The store answers, but what it holds is corrupt.
    pub(crate) fn corrupt(cause: Cause) -> Self {
        Self::Unavailable { cause, source: None }
    }
}
