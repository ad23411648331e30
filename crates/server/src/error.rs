//! Why a service did not do what it was asked for: the one error of all of them.

use oidc::Refusal;
use sea_orm::DbErr;
use store::StoreError;

use api::Judgement;

/// Why something was not done. The sentence is for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing (404).
    #[error("{0}")]
    NotFound(String),
    /// What was asked is malformed (400).
    #[error("{0}")]
    Invalid(String),
    /// Well-formed, and refused; nothing was changed (409).
    #[error("{0}")]
    Refused(String),
    /// The gate refuses an image, with all that it found.
    #[error("{error}")]
    Gate {
        /// The same as one sentence: `Invalid` or `Refused`.
        error: Box<Self>,
        /// What it found.
        judgement: Box<Judgement>,
    },
    /// A signed or short URL that is expired or tampered with, or a publisher that is not trusted with this (403).
    #[error("{0}")]
    Forbidden(String),
    /// A statement of who somebody is, which proves nothing (401).
    #[error("{0}")]
    Unproven(String),
    /// Who would have to vouch for somebody does not answer (503).
    #[error("{0}")]
    IssuerUnavailable(String),
    /// The store did not answer (503).
    #[error("{0}")]
    StoreUnavailable(String),
    /// The store takes longer than a request waits, and the work continues (503).
    #[error("{0}")]
    GoesOn(String),
    /// Ours; the sentence does not leave the log (500).
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl Error {
    /// The same, after what had been done already: who hears of the failure has to know that.
    pub(crate) fn after(self, done: &str) -> Self {
        let sentence = |why: String| format!("{done}: {why}");
        match self {
            Self::NotFound(why) => Self::NotFound(sentence(why)),
            Self::Invalid(why) => Self::Invalid(sentence(why)),
            Self::Refused(why) => Self::Refused(sentence(why)),
            Self::StoreUnavailable(why) => Self::StoreUnavailable(sentence(why)),
            other => other,
        }
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Internal(anyhow::Error::new(error).context("the database failed"))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(cause) => Self::NotFound(cause.sentence()),
            StoreError::Invalid(cause) => Self::Invalid(cause.sentence()),
            StoreError::Refused(cause) => Self::Refused(cause.sentence()),
            StoreError::Unavailable { cause, .. } => Self::StoreUnavailable(cause.sentence()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unproven(why) => Self::Unproven(why.sentence()),
            Refusal::Untrusted(why) => Self::Forbidden(why.sentence()),
            Refusal::Ambiguous(why) => Self::Invalid(why.sentence()),
        }
    }
}
