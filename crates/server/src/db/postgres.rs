//! PostgreSQL: for more than one machine.

use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};

use crate::config::DatabaseConfig;

/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// None of ours takes this long; what does hangs, and holds locks.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "60s"), ("lock_timeout", "20s"), ("idle_in_transaction_session_timeout", "60s")];

pub(super) fn is_named_by(config: &DatabaseConfig) -> bool {
    config.url.expose().starts_with("postgres")
}

/// As the URL says, with the password of the file. No error repeats the URL: it may carry a password.
pub(super) fn options(config: &DatabaseConfig) -> anyhow::Result<PgConnectOptions> {
    let mut options: PgConnectOptions = config.url.expose().parse().map_err(|_| {
        anyhow::anyhow!("database.url cannot be read: it must be postgres://USER@HOST/DATABASE?sslmode=…")
    })?;
    if let Some(file) = &config.password_file {
        let password = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {} (database.password_file)", file.display()))?;
        options = options.password(password.trim_end_matches(['\r', '\n']));
    }
    Ok(options.application_name("updraft").options(LIMITS).disable_statement_logging())
}

pub(super) async fn connect(options: PgConnectOptions, connections: u32) -> anyhow::Result<PgPool> {
    let at = shown(&options);
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    pool.connect_with(options).await.with_context(|| format!("cannot open the database {at} (database.url)"))
}

/// Where it is, without its password.
pub(super) fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{database} on {}:{}", options.get_host(), options.get_port())
}
