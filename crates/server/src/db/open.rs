//! Opening the database, for a server or for a command, and closing it.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use anyhow::Context;
use sea_orm::{DatabaseConnection, DbErr, SqlxPostgresConnector, SqlxSqliteConnector};

use super::connection::{Db, Query};
use super::lock::ServerLock;
use super::{migrate, postgres, sqlite};
use crate::config::DatabaseConfig;

/// Tables are not changed beneath a server that runs.
const OTHER_TABLES: &str = "the database's tables are of another version than this program";

impl Db {
    /// Takes the database for a server, makes it if it is a file that is not there, and brings its tables up to date: not
    /// beneath a server that runs. `alone`: no second server may run on it.
    pub(crate) async fn open_for_server(
        config: &DatabaseConfig,
        alone: bool,
    ) -> anyhow::Result<(Self, ServerLock)> {
        if postgres::is_named_by(config) {
            let db = Box::pin(Self::of_postgres(config)).await?;
            let lock = Box::pin(ServerLock::of_session(postgres::options(config)?, alone)).await?;
            return Ok((db, lock));
        }
        let path = sqlite::path(config)?;
        let lock = ServerLock::of_file(&path)?;
        let pool = sqlite::connect(&path).await?;
        migrate::sqlite(&pool).await.with_context(|| sqlite::prepared(&path))?;
        Ok((Self::of_sqlite(pool), lock))
    }

    /// Opens it for a command, beside a server of the same version or without one.
    pub(crate) async fn open(config: &DatabaseConfig) -> anyhow::Result<Self> {
        if postgres::is_named_by(config) {
            return Box::pin(Self::of_postgres(config)).await;
        }
        let path = sqlite::path(config)?;
        let pool = sqlite::connect(&path).await?;
        if !migrate::is_current(&pool).await? {
            let _lock = ServerLock::of_file(&path).context(OTHER_TABLES)?;
            migrate::sqlite(&pool).await.with_context(|| sqlite::prepared(&path))?;
        }
        Ok(Self::of_sqlite(pool))
    }

    async fn of_postgres(config: &DatabaseConfig) -> anyhow::Result<Self> {
        let options = postgres::options(config)?;
        let pool = postgres::connect(options.clone(), config.max_connections).await?;
        if !migrate::is_current_postgres(&pool).await? {
            let _lock = ServerLock::of_session(options, true).await.context(OTHER_TABLES)?;
            migrate::postgres(&pool).await.context("cannot prepare the database (database.url)")?;
        }
        Ok(Self::new(SqlxPostgresConnector::from_sqlx_postgres_pool(pool), false))
    }

    pub(super) fn of_sqlite(pool: sqlx::SqlitePool) -> Self {
        Self::new(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool), true)
    }

    fn new(connection: DatabaseConnection, one_writer: bool) -> Self {
        let writer = one_writer.then(Arc::default);
        Self { connection, writer, figures: Arc::default(), epoch: Arc::new(AtomicI64::new(1)) }
    }

    pub(crate) async fn alive(&self) -> Result<(), DbErr> {
        self.row("SELECT 1", vec![]).await.map(|_| ())
    }

    /// Closes all connections; what was committed stays.
    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        self.connection.close_by_ref().await
    }
}
