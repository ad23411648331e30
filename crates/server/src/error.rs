//! Why a service did not do what it was asked for: the one error of all of them.

use cause::{Cause, service as causes};
use contract::{ChannelName, Version};
use oidc::Refusal;
use sea_orm::DbErr;
use store::StoreError;

use api::Judgement;

use crate::db::Failure;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing (404).
    #[error("{0}")]
    NotFound(Cause),
    /// What was asked is malformed (400).
    #[error("{0}")]
    Invalid(Cause),
    /// Well-formed, and refused; nothing was changed (409).
    #[error("{0}")]
    Refused(Cause),
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
    Forbidden(Cause),
    /// A statement of who somebody is, which proves nothing (401).
    #[error("{0}")]
    Unproven(Cause),
    /// Who would have to vouch for somebody does not answer (503).
    #[error("{0}")]
    IssuerUnavailable(Cause),
    /// The store did not answer (503).
    #[error("{0}")]
    StoreUnavailable(Cause),
    /// The database did not answer, and what was asked may be done or not (503).
    #[error("{0}")]
    DatabaseUnavailable(Cause),
    /// The store takes longer than a request waits, and the work continues (503).
    #[error("{0}")]
    GoesOn(Cause),
    /// Ours; the sentence does not leave the log (500).
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl Error {
    /// Why it was refused; `None` where only the log says it.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::NotFound(cause)
            | Self::Invalid(cause)
            | Self::Refused(cause)
            | Self::Forbidden(cause)
            | Self::Unproven(cause)
            | Self::IssuerUnavailable(cause)
            | Self::StoreUnavailable(cause)
            | Self::DatabaseUnavailable(cause)
            | Self::GoesOn(cause) => Some(cause),
            Self::Gate { error, .. } => error.cause(),
            Self::Internal(_) => None,
        }
    }

    /// The same, after the version had been published: who hears of the failure has to know that.
    pub(crate) fn after_publishing(self, version: &Version, channel: &ChannelName) -> Self {
        let after = |why: Cause| {
            // It says so itself.
            if why.is(cause::store::CHANNEL_IS_HIGHER) {
                return why;
            }
            let cause = causes::NOT_PROMOTED_THEN.naming("version", version).naming("channel", channel);
            cause.naming("why", why)
        };
        match self {
            Self::NotFound(why) => Self::NotFound(after(why)),
            Self::Invalid(why) => Self::Invalid(after(why)),
            Self::Refused(why) => Self::Refused(after(why)),
            Self::StoreUnavailable(why) => Self::StoreUnavailable(after(why)),
            other => other,
        }
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match Failure::of(&error) {
            Failure::Away => {
                tracing::error!(%error, "the database does not answer");
                Self::DatabaseUnavailable(causes::DATABASE_AWAY.cause())
            }
            Failure::Busy => {
                tracing::warn!(%error, "the database is busy");
                Self::DatabaseUnavailable(causes::DATABASE_BUSY.cause())
            }
            Failure::Invalid => Self::Invalid(causes::TEXT.cause()),
            Failure::Disk | Failure::Other => {
                Self::Internal(anyhow::Error::new(error).context("the database failed"))
            }
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(cause) => Self::NotFound(cause),
            StoreError::Invalid(cause) => Self::Invalid(cause),
            StoreError::Refused(cause) => Self::Refused(cause),
            StoreError::Unavailable { cause, .. } => Self::StoreUnavailable(cause),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unproven(why) => Self::Unproven(why),
            Refusal::Untrusted(why) => Self::Forbidden(why),
            Refusal::Ambiguous(why) => Self::Invalid(why),
        }
    }
}
