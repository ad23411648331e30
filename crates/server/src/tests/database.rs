//! The database of a test: SQLite in its folder, or, where `UPDRAFT_TEST_DATABASE` names a PostgreSQL, a schema of its own there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

/// The value of `database.url` for a folder; the same folder has the same database.
pub(crate) fn database_url(folder: &Path) -> String {
    let Ok(server) = std::env::var("UPDRAFT_TEST_DATABASE") else {
        return format!("sqlite:{}", folder.join("updraft.db").display());
    };
    schema_url(&server, folder)
}

/// A schema of PostgreSQL named as the folder, made if it is not there.
pub(crate) fn schema_url(server: &str, folder: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    let schema = format!("test_{:016x}", hasher.finish());
    let sql = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
    let made = Command::new("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", "-c", &sql]).arg(server).output();
    let made = made.expect("psql runs; on Debian: apt-get install postgresql");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let join = if server.contains('?') { '&' } else { '?' };
    format!("{server}{join}options[search_path]={schema}")
}
