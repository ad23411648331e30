//! One server a database, where there may be one only. A second one would fight with the first over every device.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::task::JoinHandle;

use super::{postgres, sqlite};

/// Of the lock in PostgreSQL: "Updraft" in ASCII.
const KEY: i64 = 0x0055_7064_7261_6674;
/// Maximum attempts at the start, and the time between them.
const ATTEMPTS: u32 = 10;
const ATTEMPT_EVERY: Duration = Duration::from_millis(300);
/// How often it is looked whether the session that locks is still there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Locked as long as it is kept.
pub(crate) enum ServerLock {
    File { _file: std::fs::File },
    Session(JoinHandle<()>),
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        if let Self::Session(kept) = self {
            kept.abort();
        }
    }
}

impl ServerLock {
    pub(super) fn of_file(database: &Path) -> anyhow::Result<Self> {
        sqlite::make_folder(database)?;
        let mut path = database.to_path_buf().into_os_string();
        path.push(".lock");
        let shown = path.display();
        let file =
            std::fs::File::create(&path).with_context(|| format!("cannot write {shown} (database.url)"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self::File { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(refused(&format!("{shown} is locked"))),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {shown} (database.url)"))
            }
        }
    }

    /// A lock of a session of its own, which ends with this process, however it ends. `alone`: no second server beside it.
    pub(super) async fn of_session(options: PgConnectOptions, alone: bool) -> anyhow::Result<Self> {
        // A server that was killed a moment ago may have it still.
        let mut attempts = ATTEMPTS;
        let mut session = loop {
            attempts -= 1;
            match lock(&options, alone).await {
                Err(_) if attempts > 0 => tokio::time::sleep(ATTEMPT_EVERY).await,
                other => break other?,
            }
        };
        Ok(Self::Session(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if sqlx::query("SELECT 1").execute(&mut session).await.is_ok() {
                    continue;
                }
                // The database was restarted, or the network was away, and the lock went with the session.
                match lock(&options, alone).await {
                    Ok(again) => session = again,
                    Err(error) => tracing::error!("the database is not locked for this server: {error:#}"),
                }
            }
        })))
    }
}

async fn lock(options: &PgConnectOptions, alone: bool) -> anyhow::Result<PgConnection> {
    let at = postgres::shown(options);
    let cannot = || format!("cannot open the database {at} (database.url)");
    let mut session = options.connect().await.with_context(cannot)?;
    // A schema is a database of its own.
    let sql = if alone {
        "SELECT pg_try_advisory_lock(hashtextextended(current_schema(), $1))"
    } else {
        "SELECT pg_try_advisory_lock_shared(hashtextextended(current_schema(), $1))"
    };
    let is_locked: bool =
        sqlx::query_scalar(sql).bind(KEY).fetch_one(&mut session).await.with_context(cannot)?;
    if is_locked { Ok(session) } else { Err(refused(&format!("{at} is locked"))) }
}

fn refused(what: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "another Updraft server runs on this database ({what}); stop it, or choose another database with the key database.url"
    )
}
