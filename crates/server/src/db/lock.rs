//! One server a database. A second one would fight with the first over every device, and over the MQTT session.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{postgres, sqlite};

/// Of the lock in PostgreSQL: "Updraft" in ASCII.
const KEY: i64 = 0x0055_7064_7261_6674;
/// Maximum attempts at the start, and the time between them.
const ATTEMPTS: u32 = 10;
const ATTEMPT_EVERY: Duration = Duration::from_millis(300);
/// How often it is looked whether the session that locks is still there, and how long that may take.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A session that is not heard of for 20 s ends, and its lock with it: its machine went away. Set by statements, since poolers
/// drop what a connection is opened with.
const ENDS_ALONE: &str = "SET idle_session_timeout = '20s'; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2";

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
        let path = sqlite::beside(database, ".lock");
        let shown = path.display();
        // What stands in it stays: whether there was a database.
        let file = std::fs::File::options().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot write {shown} (database.url)"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self::File { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(refused(&format!("{shown} is locked"))),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {shown} (database.url)"))
            }
        }
    }

    /// A lock of a session of its own, which ends with this process, however it ends. `lost` is cancelled if the session
    /// ended and another server has the lock since.
    pub(super) async fn of_session(
        options: PgConnectOptions,
        lost: CancellationToken,
    ) -> anyhow::Result<Self> {
        let name = format!("updraft {:016x}", getrandom::u64().context("no random numbers")?);
        let options = options.application_name(&name);
        // A server that was killed a moment ago may have it still.
        let mut attempts = ATTEMPTS;
        let session = loop {
            attempts -= 1;
            match lock(&options, &name).await? {
                Some(session) => break session,
                None if attempts > 0 => sleep(ATTEMPT_EVERY).await,
                None => {
                    let at = postgres::shown(&options);
                    return Err(refused(&format!(
                        "{at} is locked; the lock of a machine that went away ends after 20 seconds"
                    )));
                }
            }
        };
        Ok(Self::Session(tokio::spawn(keep(session, options, name, lost))))
    }
}

/// Asks the session again and again. If it is gone - the database was restarted, or the network was away - the lock is taken
/// again, unless another server was faster.
async fn keep(mut session: PgConnection, options: PgConnectOptions, name: String, lost: CancellationToken) {
    loop {
        sleep(LOOK_EVERY).await;
        if let Ok(Ok(_)) = timeout(LOOK_EVERY, sqlx::query("SELECT 1").execute(&mut session)).await {
            continue;
        }
        match timeout(LOOK_EVERY, lock(&options, &name)).await {
            Ok(Ok(Some(again))) => session = again,
            Ok(Ok(None)) => {
                tracing::error!("another server has taken the database: this one stops");
                return lost.cancel();
            }
            Ok(Err(error)) => tracing::error!("the database is not locked for this server: {error:#}"),
            Err(_) => tracing::error!("the database is not locked for this server: it does not answer"),
        }
    }
}

/// A session with the lock; `None` if another server has it. A session of this name that is left over is ours, and ended.
async fn lock(options: &PgConnectOptions, name: &str) -> anyhow::Result<Option<PgConnection>> {
    let at = postgres::shown(options);
    let cannot = || format!("cannot lock the database {at} (database.url)");
    let mut session = options.connect().await.with_context(cannot)?;
    sqlx::raw_sql(ENDS_ALONE).execute(&mut session).await.with_context(cannot)?;
    let end = "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity \
               WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()";
    sqlx::query(end).bind(name).execute(&mut session).await.with_context(cannot)?;
    // A schema is a database of its own.
    let sql = "SELECT pg_try_advisory_lock(hashtextextended(current_schema(), $1))";
    let is_locked: bool =
        sqlx::query_scalar(sql).bind(KEY).fetch_one(&mut session).await.with_context(cannot)?;
    Ok(is_locked.then_some(session))
}

fn refused(what: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "another Updraft server runs on this database ({what}); stop it, or choose another database with the key database.url"
    )
}
