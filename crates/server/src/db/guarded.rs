//! A transaction that does nothing more once a statement of it has failed, and what is known of writing by it.
//!
//! PostgreSQL answers the COMMIT of a failed one with a rollback and no error. SQLite may have rolled back by itself (a full
//! disk, a failed read), and would write each further statement for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use flight::Flight;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::failure::Failure;

/// Why nothing could be written the last time, or that it could.
pub(super) type Writing = Arc<Flight<Option<Failure>>>;

pub(crate) struct Guarded {
    transaction: DatabaseTransaction,
    failed: AtomicBool,
    writing: Writing,
}

impl Guarded {
    /// What came of beginning it.
    pub(super) fn begun(begun: Result<DatabaseTransaction, DbErr>, writing: &Writing) -> Result<Self, DbErr> {
        let transaction = begun.inspect_err(|error| note(writing, error))?;
        Ok(Self { transaction, failed: AtomicBool::new(false), writing: Arc::clone(writing) })
    }

    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.check()?;
        let committed = self.transaction.commit().await;
        match &committed {
            Ok(()) => self.writing.note(None),
            Err(error) => note(&self.writing, error),
        }
        committed
    }

    fn check(&self) -> Result<(), DbErr> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(DbErr::Custom("a statement of this transaction failed before".to_owned()));
        }
        Ok(())
    }

    async fn run<T>(&self, statement: impl Future<Output = Result<T, DbErr>> + Send) -> Result<T, DbErr> {
        self.check()?;
        statement.await.inspect_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            note(&self.writing, error);
        })
    }
}

/// A statement that is at fault says nothing of the database.
fn note(writing: &Writing, error: &DbErr) {
    let failure = Failure::of(error);
    if matches!(failure, Failure::Away | Failure::Disk) {
        writing.note(Some(failure));
    }
}

#[async_trait]
impl ConnectionTrait for Guarded {
    fn get_database_backend(&self) -> DbBackend {
        self.transaction.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.run(self.transaction.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.run(self.transaction.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.run(self.transaction.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.run(self.transaction.query_all_raw(statement)).await
    }
}
