//! The database. SQL exists here and nowhere else; times are milliseconds since 1970, truths are 0 and 1.
//!
//! One writer at a time: whoever writes holds [`Write`], a transaction that began as a writing one, so that
//! nobody fails halfway because somebody else wrote in between. Other processes (`updraft token`) wait for
//! SQLite's own lock. Nothing is acknowledged before its commit has reached the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    QueryResult, SqlErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait, Value,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::config::Secret;

pub(crate) mod device;
pub(crate) mod meta;
mod schema;
pub(crate) mod token;
pub(crate) mod update;

/// How long a writer waits for another process's writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows a statement names at most, so that it stays under SQLite's limit of variables.
const ROWS_PER_STATEMENT: usize = 400;

/// The open database.
#[derive(Debug, Clone)]
pub struct Db {
    connection: DatabaseConnection,
    writer: Arc<Mutex<()>>,
}

/// A writing transaction. Dropped without [`Write::commit`], it never was.
pub(crate) struct Write {
    transaction: DatabaseTransaction,
    _writer: OwnedMutexGuard<()>,
}

impl Write {
    /// Returns once what was written has reached the disk.
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        self.transaction.commit().await
    }
}

/// Whatever can be asked: the pool, or a writing transaction.
pub(crate) trait Query: Sync {
    type Connection: ConnectionTrait;

    fn connection(&self) -> &Self::Connection;

    /// The rows. `sql` has `?` for each value, whatever the database.
    async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        let connection = self.connection();
        connection.query_all_raw(statement(connection.get_database_backend(), sql, values)).await
    }

    /// The first row, if there is one.
    async fn row(&self, sql: &str, values: Vec<Value>) -> Result<Option<QueryResult>, DbErr> {
        let connection = self.connection();
        connection.query_one_raw(statement(connection.get_database_backend(), sql, values)).await
    }
}

impl Query for Db {
    type Connection = DatabaseConnection;

    fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }
}

impl Query for Write {
    type Connection = DatabaseTransaction;

    fn connection(&self) -> &DatabaseTransaction {
        &self.transaction
    }
}

impl Write {
    /// Executes and answers how many rows it changed.
    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let statement = statement(self.transaction.get_database_backend(), sql, values);
        Ok(self.transaction.execute_raw(statement).await?.rows_affected())
    }
}

impl Db {
    /// Opens `sqlite:PATH`, makes it and its folder if they are not there, and brings its tables up to date.
    pub async fn open(url: &Secret) -> anyhow::Result<Self> {
        let path = sqlite_path(url.expose())?;
        make_folder(&path)?;
        create_private(&path)?;
        let db = Self { connection: connect(&path).await?, writer: Arc::default() };
        schema::migrate(&db)
            .await
            .with_context(|| format!("cannot prepare the database {} (database.url)", path.display()))?;
        Ok(db)
    }

    /// Takes the database for one server. A second one would fight with the first over every device.
    pub fn lock(url: &Secret) -> anyhow::Result<std::fs::File> {
        let path = sqlite_path(url.expose())?;
        make_folder(&path)?;
        let mut path = path.into_os_string();
        path.push(".lock");
        let shown = path.display();
        let file =
            std::fs::File::create(&path).with_context(|| format!("cannot write {shown} (database.url)"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
                "another Updraft server runs on this database ({shown} is locked); stop it, or choose another \
                 database with the key database.url"
            ),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {shown} (database.url)"))
            }
        }
    }

    /// Begins a writing transaction; waits for the one before to end.
    pub(crate) async fn write(&self) -> Result<Write, DbErr> {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        let options = TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        };
        Ok(Write { transaction: self.connection.begin_with_options(options).await?, _writer: writer })
    }

    /// Whether it answers.
    pub(crate) async fn alive(&self) -> Result<(), DbErr> {
        self.row("SELECT 1", vec![]).await.map(|_| ())
    }

    /// Closes all connections; what was committed stays.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.connection.close_by_ref().await
    }
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| {
        format!("cannot make the folder {} for the database (database.url)", folder.display())
    })
}

/// It holds digests of passwords and the key that signs URLs: nobody else on this machine reads it.
fn create_private(path: &Path) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| {
        format!("cannot write the database {} (database.url): is the folder writable?", path.display())
    })?;
    Ok(())
}

fn sqlite_path(url: &str) -> anyhow::Result<PathBuf> {
    let path =
        url.strip_prefix("sqlite:").context("this build has SQLite only; use sqlite:PATH as database.url")?;
    Ok(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
}

async fn connect(path: &Path) -> anyhow::Result<DatabaseConnection> {
    // The URL only chooses the driver: a path may hold letters that a URL may not.
    let mut options = ConnectOptions::new("sqlite::memory:");
    let file = path.to_path_buf();
    options
        .max_connections(4)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |options| {
            options
                .in_memory(false)
                .shared_cache(false)
                .filename(&file)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // NORMAL would lose the last commits of a power cut; they are acknowledged by then.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(BUSY_TIMEOUT)
                .statement_cache_capacity(100)
        });
    Database::connect(options).await.with_context(|| {
        format!(
            "cannot open the database {} (database.url): is the folder writable, and the disk not full?",
            path.display()
        )
    })
}

/// `?` for SQLite, `$1`, `$2`, … for PostgreSQL. No text of ours holds a question mark of another meaning.
fn statement(backend: DbBackend, sql: &str, values: Vec<Value>) -> Statement {
    if backend != DbBackend::Postgres {
        return Statement::from_sql_and_values(backend, sql, values);
    }
    let mut numbered = String::with_capacity(sql.len() + 2 * values.len());
    let mut parts = sql.split('?');
    numbered.push_str(parts.next().unwrap_or_default());
    for (index, part) in parts.enumerate() {
        numbered.push('$');
        numbered.push_str(&(index + 1).to_string());
        numbered.push_str(part);
    }
    Statement::from_sql_and_values(backend, numbered, values)
}

/// `(?, ?), (?, ?)` for so many rows of so many columns.
fn tuples(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

/// Whether a statement failed because the row, or one that excludes it, is already there.
pub(crate) fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

#[cfg(test)]
mod tests;
