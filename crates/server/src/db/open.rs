//! Opening the database, for a server or for a command, and closing it.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use anyhow::Context;
use sea_orm::{DatabaseConnection, DbErr, RuntimeErr, SqlxPostgresConnector, SqlxSqliteConnector};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::Db;
use super::failure::Failure;
use super::lock::ServerLock;
use super::{meta, migrate, postgres, sqlite};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::config::DatabaseConfig;

/// How long it may take to write that it is there.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what came of the last writing is the answer to whether it can be written.
const WRITTEN_FOR: Duration = Duration::from_secs(1);
const NOT_PREPARED: &str = "cannot prepare the database (database.url)";
/// Tables are not changed beneath a server that runs.
const OTHER_TABLES: &str = "the database's tables are of another version than this program";

impl Db {
    /// Takes the database for a server, makes it if it is a file that is not there, and brings its tables up to date: not
    /// beneath a server that runs.
    pub(crate) async fn open_for_server(config: &DatabaseConfig) -> anyhow::Result<(Self, ServerLock)> {
        if postgres::is_named_by(config) {
            return Box::pin(Self::postgres_for_server(config)).await;
        }
        let path = sqlite::path(config)?;
        let lock = ServerLock::of_file(&path)?;
        sqlite::check_made(&path)?;
        let pool = sqlite::connect(&path).await?;
        sqlite::check(&pool, &path).await?;
        migrate::sqlite(&pool).await.with_context(|| sqlite::prepared(&path))?;
        sqlite::note_made(&path)?;
        Ok((Self::of_sqlite(pool), lock))
    }

    /// Opens it for a command, beside a server of the same version or without one.
    pub(crate) async fn open(config: &DatabaseConfig) -> anyhow::Result<Self> {
        if postgres::is_named_by(config) {
            return Box::pin(Self::of_postgres(config)).await;
        }
        let path = sqlite::path(config)?;
        sqlite::check_made(&path)?;
        let pool = sqlite::connect(&path).await?;
        if !migrate::is_current(&pool).await? {
            let _lock = ServerLock::of_file(&path).context(OTHER_TABLES)?;
            migrate::sqlite(&pool).await.with_context(|| sqlite::prepared(&path))?;
        }
        Ok(Self::of_sqlite(pool))
    }

    async fn postgres_for_server(config: &DatabaseConfig) -> anyhow::Result<(Self, ServerLock)> {
        let options = postgres::options(config)?;
        let pool = postgres::connect(options.clone(), config.max_connections).await?;
        let db = Self::new(SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone()), false);
        let lock = ServerLock::of_session(options, db.lost.clone()).await?;
        migrate::postgres(&pool).await.context(NOT_PREPARED)?;
        Ok((db, lock))
    }

    async fn of_postgres(config: &DatabaseConfig) -> anyhow::Result<Self> {
        let options = postgres::options(config)?;
        let pool = postgres::connect(options.clone(), config.max_connections).await?;
        if !migrate::is_current_postgres(&pool).await? {
            let lock = ServerLock::of_session(options, CancellationToken::new()).await;
            let _lock = lock.context(OTHER_TABLES)?;
            migrate::postgres(&pool).await.context(NOT_PREPARED)?;
        }
        Ok(Self::new(SqlxPostgresConnector::from_sqlx_postgres_pool(pool), false))
    }

    pub(super) fn of_sqlite(pool: sqlx::SqlitePool) -> Self {
        Self::new(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool), true)
    }

    fn new(connection: DatabaseConnection, one_writer: bool) -> Self {
        let writer = one_writer.then(Arc::default);
        let (figures, epoch, writing) = (Arc::default(), Arc::new(AtomicI64::new(1)), Arc::default());
        let (moved, lost) = (watch::Sender::default(), CancellationToken::new());
        Self { connection, writer, figures, epoch, writing, moved, lost }
    }

    /// Returns once another server has the database, and this one must stop.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Why it cannot be used, if so: what came of the last writing, or of a row that is written for this.
    pub(crate) async fn problem(&self) -> Option<&'static str> {
        if self.lost.is_cancelled() {
            return Some("Another server has taken the database; this one stops.");
        }
        let written =
            self.writing.get(|last| last.age() < WRITTEN_FOR, Box::pin(self.clone().try_to_write()));
        match written.await.unwrap_or(Some(Failure::Away)) {
            None => None,
            Some(Failure::Disk) => Some(
                "The database cannot be written: make room on its disk, or look whether it fails; the log says more.",
            ),
            Some(_) => Some("The database does not answer; the log says why."),
        }
    }

    async fn try_to_write(self) -> Option<Failure> {
        let written = async {
            let write = self.write(&Actor::SERVER).await?;
            write.set_meta(meta::WRITTEN_AT, &now_ms().to_string()).await?;
            write.commit().await
        };
        let error = match timeout(ALIVE_TIMEOUT, written).await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error,
            Err(_) => DbErr::Conn(RuntimeErr::Internal("it did not answer within 5 seconds".to_owned())),
        };
        tracing::error!(%error, "the database could not be written");
        Some(Failure::of(&error))
    }

    /// Closes all connections; what was committed stays.
    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        self.connection.close_by_ref().await
    }
}
