//! Why the store did not do what was asked.

use std::error::Error as StdError;

/// Why something was not done. Callers act on the kind; people read the sentence.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such product, release or channel.
    #[error("{0}")]
    NotFound(String),
    /// What was given is not acceptable, whatever the store holds: a bad image, version or URL.
    #[error("{0}")]
    Invalid(String),
    /// Well-formed, and refused because of what the store holds; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The store did not answer, or holds something that cannot be read.
    #[error("{sentence}")]
    Unavailable {
        /// What failed, on what, and what to do.
        sentence: String,
        /// What the storage said, if it said something.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

impl StoreError {
    /// Whether the store answers, and only what it holds cannot be used: asking again changes nothing.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Unavailable { source: None, .. })
    }

    /// The store answers, but what it holds is damaged.
    pub(crate) fn damaged(sentence: impl Into<String>) -> Self {
        Self::Unavailable { sentence: sentence.into(), source: None }
    }
}
