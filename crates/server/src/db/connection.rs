//! The connection and its transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryResult, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait, Value,
};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::audit_entry;
use super::figures::FigureCache;
use super::guarded::{Guarded, Writing};
use crate::actor::Actor;

/// Rows a statement names at most, so that it stays under the databases' limits of variables.
pub(super) const ROWS_PER_STATEMENT: usize = 400;

#[derive(Debug, Clone)]
pub(crate) struct Db {
    pub(super) connection: DatabaseConnection,
    /// A fair queue before SQLite's own lock, which lets who waits try again at random. PostgreSQL has none.
    pub(super) writer: Option<Arc<Mutex<()>>>,
    pub(super) figures: Arc<FigureCache>,
    pub(super) epoch: Arc<AtomicI64>,
    pub(super) writing: Writing,
    /// Devices of rollouts have moved.
    pub(super) moved: watch::Sender<()>,
    /// Cancelled once another server has the database.
    pub(super) lost: CancellationToken,
}

/// A writing transaction. Dropped without [`Write::commit`], it never was.
pub(crate) struct Write {
    pub(super) by: Actor,
    /// Written by the commit.
    pub(super) audited: Vec<audit_entry::ActiveModel>,
    /// Devices of rollouts have moved.
    pub(super) moves_members: AtomicBool,
    moved: watch::Sender<()>,
    transaction: Guarded,
    _writer: Option<OwnedMutexGuard<()>>,
}

impl Write {
    /// Returns once what was written has reached the disk.
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        if !self.audited.is_empty() {
            Box::pin(self.insert_audited()).await?;
        }
        let moved = self.moved.clone();
        self.transaction.commit().await?;
        if self.moves_members.into_inner() {
            moved.send_replace(());
        }
        Ok(())
    }

    /// On PostgreSQL, those who are audited commit one after the other: who reads on from an entry misses none with a lower
    /// id.
    async fn insert_audited(&self) -> Result<(), DbErr> {
        if !self.is_sqlite() {
            self.row("SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 1))", vec![]).await?;
        }
        for entries in self.audited.chunks(ROWS_PER_STATEMENT) {
            let insert = audit_entry::Entity::insert_many(entries.to_vec());
            insert.exec_without_returning(&self.transaction).await?;
        }
        Ok(())
    }
}

/// Whatever can be asked: the pool, or a writing transaction.
pub(crate) trait Query: Sync {
    type Connection: ConnectionTrait;

    fn connection(&self) -> &Self::Connection;

    fn is_sqlite(&self) -> bool {
        self.connection().get_database_backend() == DbBackend::Sqlite
    }

    /// Both databases take `$1`, `$2`, …; SQLite is slow with many of them, for which the query builder is there.
    async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        let connection = self.connection();
        let backend = connection.get_database_backend();
        connection.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await
    }

    /// The first row, if there is one.
    async fn row(&self, sql: &str, values: Vec<Value>) -> Result<Option<QueryResult>, DbErr> {
        let connection = self.connection();
        let backend = connection.get_database_backend();
        connection.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await
    }
}

impl Query for Db {
    type Connection = DatabaseConnection;

    fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }
}

impl Query for Write {
    type Connection = Guarded;

    fn connection(&self) -> &Guarded {
        &self.transaction
    }
}

impl Write {
    pub(super) async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let backend = self.transaction.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        Ok(self.transaction.execute_raw(statement).await?.rows_affected())
    }
}

impl Db {
    /// Begins a writing transaction, and says whose. On SQLite it is the only one, and waits for the one before to end.
    pub(crate) async fn write(&self, by: &Actor) -> Result<Write, DbErr> {
        let writer = match &self.writer {
            Some(writer) => Some(Arc::clone(writer).lock_owned().await),
            None => None,
        };
        let options = TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: self.is_sqlite().then_some(SqliteTransactionMode::Immediate),
        };
        let transaction = Guarded::begun(self.connection.begin_with_options(options).await, &self.writing)?;
        let (by, moved) = (by.clone(), self.moved.clone());
        Ok(Write {
            by,
            audited: Vec::new(),
            moves_members: AtomicBool::new(false),
            moved,
            transaction,
            _writer: writer,
        })
    }
}
