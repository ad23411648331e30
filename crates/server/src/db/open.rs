//! Opening the database file, locking it for one server, and closing it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use super::connection::{Db, Query};
use super::schema;
use crate::config::Secret;

/// How long a writer waits for another process's writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl Db {
    /// Opens `sqlite:PATH`, makes it and its folder if they are not there, and brings its tables up to date.
    pub(crate) async fn open(url: &Secret) -> anyhow::Result<Self> {
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
    pub(crate) fn lock(url: &Secret) -> anyhow::Result<std::fs::File> {
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

    pub(crate) async fn alive(&self) -> Result<(), DbErr> {
        self.row("SELECT 1", vec![]).await.map(|_| ())
    }

    /// Closes all connections; what was committed stays.
    pub(crate) async fn close(&self) -> Result<(), DbErr> {
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
pub(super) fn create_private(path: &Path) -> anyhow::Result<()> {
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

pub(super) async fn connect(path: &Path) -> anyhow::Result<DatabaseConnection> {
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
