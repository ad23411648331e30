//! PostgreSQL: for more than one machine.

use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};
use url::Url;

use crate::config::DatabaseConfig;

/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// None of ours takes this long; what does hangs, and holds locks. A client whose machine went away is noticed within 90 s.
const LIMITS: [(&str, &str); 6] = [
    ("statement_timeout", "60s"),
    ("lock_timeout", "20s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("tcp_keepalives_idle", "60"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];
/// Parameters of the URL; and those that begin with `options[`.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];

pub(super) fn is_named_by(config: &DatabaseConfig) -> bool {
    config.url.expose().starts_with("postgres")
}

/// As the URL says, with the password of the file. No error repeats the URL: it may carry a password.
pub(super) fn options(config: &DatabaseConfig) -> anyhow::Result<PgConnectOptions> {
    const UNREADABLE: &str =
        "database.url cannot be read: it must be postgres://USER@HOST/DATABASE?sslmode=…";
    // The error of either parser may repeat what it could not read.
    let url: Url = config.url.expose().parse().map_err(|_| anyhow::anyhow!(UNREADABLE))?;
    for (key, _) in url.query_pairs() {
        let is_known = PARAMETERS.contains(&&*key) || key.starts_with("options[");
        anyhow::ensure!(
            is_known,
            "database.url has an unknown parameter {key:?}; known are {}",
            PARAMETERS.join(", ")
        );
    }
    let mut options = PgConnectOptions::from_url(&url).map_err(|_| anyhow::anyhow!(UNREADABLE))?;
    if let Some(file) = &config.password_file {
        let password = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {} (database.password_file)", file.display()))?;
        options = options.password(password.trim_end_matches(['\r', '\n']));
    }
    Ok(options.application_name("updraft").options(LIMITS).disable_statement_logging())
}

/// A pool, once one connection has shown that the database is there and can be used.
pub(super) async fn connect(options: PgConnectOptions, connections: u32) -> anyhow::Result<PgPool> {
    let at = shown(&options);
    // Not of the pool, which would try again until its time is over, and not say why.
    let checked = tokio::time::timeout(ACQUIRE_TIMEOUT, check(&options)).await;
    checked
        .unwrap_or_else(|_| Err(anyhow::anyhow!("it did not answer within 5 seconds")))
        .with_context(|| format!("cannot open the database {at} (database.url)"))?;
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    Ok(pool.connect_lazy_with(options))
}

async fn check(options: &PgConnectOptions) -> anyhow::Result<()> {
    let mut connection = options.connect().await?;
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')";
    let (number, encoding): (i32, String) = sqlx::query_as(sql).fetch_one(&mut connection).await?;
    anyhow::ensure!(number >= 150_000, "it is PostgreSQL {}; Updraft needs 15 or newer", number / 10_000);
    anyhow::ensure!(
        encoding == "UTF8",
        "its encoding is {encoding}, and Updraft needs UTF8: make one with `createdb --encoding=UTF8 --template=template0 NAME`"
    );
    Ok(connection.close().await?)
}

/// Where it is, without its password.
pub(super) fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{database} on {}:{}", options.get_host(), options.get_port())
}
