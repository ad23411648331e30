//! What the databases' errors mean: the one place that knows their codes.

use sea_orm::{DbErr, RuntimeErr, SqlErr};
use sqlx::error::DatabaseError;

/// Why a statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The database does not answer, or not in time: what was asked may be done or not.
    Away,
    /// Others were in the way. Nothing was done, and it may be asked again.
    Busy,
    /// It answers, and cannot write: its disk is full or fails.
    Disk,
    /// It cannot hold this text.
    Invalid,
    /// Anything else: what was asked is at fault, or we are.
    Other,
}

impl Failure {
    pub(crate) fn of(error: &DbErr) -> Self {
        use sqlx::Error;
        match error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Away,
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
                match &**error {
                    Error::Io(_)
                    | Error::Tls(_)
                    | Error::PoolTimedOut
                    | Error::PoolClosed
                    | Error::WorkerCrashed => Self::Away,
                    Error::Database(error) => Self::of_code(&**error),
                    _ => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }

    fn of_code(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
            // The lower byte of an extended code is the plain one.
            return match code.parse::<u32>().unwrap_or_default() & 0xFF {
                // SQLITE_BUSY, _LOCKED.
                5 | 6 => Self::Busy,
                // SQLITE_ERROR, _TOOBIG, _CONSTRAINT, _MISMATCH, _RANGE: of the statement.
                1 | 18 | 19 | 20 | 25 => Self::Other,
                _ => Self::Disk,
            };
        }
        match &*code {
            // A deadlock, a serialization failure, a lock that somebody else keeps.
            "40P01" | "40001" | "55P03" => Self::Busy,
            // Cancelled (statement_timeout), idle in a transaction for too long, no connection free, a standby.
            "57014" | "25P03" | "53300" | "25006" => Self::Away,
            "22021" => Self::Invalid,
            // 57P01 to 57P05: it is being stopped, it crashed, it is being started, the session was idle.
            code if code.starts_with("08") || code.starts_with("57P") => Self::Away,
            // No resources, errors of the system, a corrupt database.
            code if ["53", "58", "XX"].iter().any(|class| code.starts_with(class)) => Self::Disk,
            _ => Self::Other,
        }
    }

    /// Whether the same may succeed later.
    pub(crate) fn passes(self) -> bool {
        matches!(self, Self::Away | Self::Busy | Self::Disk)
    }
}

/// Whether a statement failed because the row, or one that excludes it, is already there.
pub(crate) fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}
