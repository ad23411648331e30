//! SQLite: a file, for one machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use crate::config::DatabaseConfig;

/// How long a writer waits for another process's writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The file that `sqlite:PATH` names.
pub(super) fn path(config: &DatabaseConfig) -> anyhow::Result<PathBuf> {
    let path = config.url.expose().strip_prefix("sqlite:").context("database.url must be sqlite:PATH")?;
    anyhow::ensure!(
        config.password_file.is_none(),
        "database.password_file is PostgreSQL's, and database.url names SQLite: leave out one of them"
    );
    Ok(real(Path::new(path.strip_prefix("//").unwrap_or(path))))
}

/// Where the file is, whatever links lead to it: it is the file that is locked. A link that leads nowhere yet leads to where SQLite
/// makes the file.
fn real(path: &Path) -> PathBuf {
    let linked = std::fs::read_link(path).map(|to| path.parent().unwrap_or(Path::new("")).join(to));
    std::fs::canonicalize(path).or(linked).unwrap_or_else(|_| path.to_path_buf())
}

pub(super) fn make_folder(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| {
        format!("cannot make the folder {} for the database (database.url)", folder.display())
    })
}

/// It holds digests of passwords and the key that signs URLs: nobody else on this machine reads it.
fn create_private(path: &Path) -> anyhow::Result<()> {
    make_folder(path)?;
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| {
        format!("cannot write the database {} (database.url): is the folder writable?", path.display())
    })?;
    Ok(())
}

/// Opens the file, and makes it and its folder if they are not there.
pub(super) async fn connect(path: &Path) -> anyhow::Result<SqlitePool> {
    create_private(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL would lose the last commits of a power cut; they are acknowledged by then.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(100)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(4).min_connections(1);
    let pool = pool.acquire_timeout(Duration::from_secs(30)).after_release(|connection, _| {
        // Where SQLite has rolled back by itself, sqlx believes that the transaction goes on, and would begin the next ones
        // within it, for ever. The answer to the ping comes after the rollback.
        Box::pin(async move { connection.ping().await.map(|()| !connection.is_in_transaction()) })
    });
    pool.connect_with(options).await.with_context(|| {
        format!(
            "cannot open the database {} (database.url): is the folder writable, and the disk not full?",
            path.display()
        )
    })
}

/// Refuses to begin with a new database where there was one: it is gone, or emptied.
pub(super) fn check_made(path: &Path) -> anyhow::Result<()> {
    let is_empty = |path: &Path| path.metadata().map_or(true, |file| file.len() == 0);
    let made = beside(path, MADE);
    anyhow::ensure!(
        is_empty(&made) || !is_empty(path),
        "the database {} (database.url) was there and is gone or empty: put its backup back, or remove {} to begin with a new one",
        path.display(),
        made.display()
    );
    Ok(())
}

/// Notes that there is a database.
pub(super) fn note_made(path: &Path) -> anyhow::Result<()> {
    let made = beside(path, MADE);
    if made.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    std::fs::write(
        &made,
        "There is a database beside this file; a server that does not find it refuses to start.\n",
    )
    .with_context(|| format!("cannot write {} (database.url)", made.display()))
}

/// The file that a server locks also says that there was a database.
const MADE: &str = ".lock";

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.to_path_buf().into_os_string();
    path.push(suffix);
    path.into()
}

/// Refuses a database of which pages are corrupt. It reads all of it.
pub(super) async fn check(pool: &SqlitePool, path: &Path) -> anyhow::Result<()> {
    let found: Result<String, _> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await;
    let what = match found {
        Ok(what) if what == "ok" => return Ok(()),
        Ok(what) => what,
        Err(error) => error.to_string(),
    };
    anyhow::bail!(
        "the database {} (database.url) is corrupt: put its backup back ({})",
        path.display(),
        what.lines().next().unwrap_or_default()
    )
}

pub(super) fn prepared(path: &Path) -> String {
    format!("cannot prepare the database {} (database.url)", path.display())
}
