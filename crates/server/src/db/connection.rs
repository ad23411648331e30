//! The connection and its transactions, and columns read into their types: what cannot be read is an error that names the
//! column.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use contract::Sha256;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult, SqlErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait, Value,
};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Rows a statement names at most, so that it stays under SQLite's limit of variables.
pub(super) const ROWS_PER_STATEMENT: usize = 400;

#[derive(Debug, Clone)]
pub(crate) struct Db {
    pub(super) connection: DatabaseConnection,
    pub(super) writer: Arc<Mutex<()>>,
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
    pub(super) async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let statement = statement(self.transaction.get_database_backend(), sql, values);
        Ok(self.transaction.execute_raw(statement).await?.rows_affected())
    }
}

impl Db {
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
}

/// `?` for SQLite, `$1`, `$2`, … for PostgreSQL. No text of ours holds a question mark of another meaning.
pub(super) fn statement(backend: DbBackend, sql: &str, values: Vec<Value>) -> Statement {
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

/// `(?, ?), (?, ?)` for two rows of two columns.
pub(super) fn tuples(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

/// Whether a statement failed because the row, or one that excludes it, is already there.
pub(crate) fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

pub(super) fn corrupt(column: &str, why: impl Display) -> DbErr {
    DbErr::Type(format!("the database holds a {column} that cannot be read: {why}"))
}

pub(super) fn parsed<T: FromStr<Err: Display>>(row: &QueryResult, column: &str) -> Result<Option<T>, DbErr> {
    let text: Option<String> = row.try_get("", column)?;
    text.map(|text| text.parse().map_err(|error| corrupt(column, error))).transpose()
}

pub(super) fn digest(row: &QueryResult) -> Result<Option<Sha256>, DbErr> {
    let hex: Option<String> = row.try_get("", "sha256")?;
    hex.map(|hex| Sha256::from_hex(&hex).ok_or_else(|| corrupt("sha256", "not 64 digits"))).transpose()
}

pub(super) fn from_json<T: DeserializeOwned>(row: &QueryResult, column: &str) -> Result<Option<T>, DbErr> {
    let text: Option<String> = row.try_get("", column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| corrupt(column, error))).transpose()
}

pub(super) fn json<T: serde::Serialize>(value: Option<&T>) -> Result<Option<String>, DbErr> {
    value
        .map(|value| serde_json::to_string(value).map_err(|error| DbErr::Json(error.to_string())))
        .transpose()
}
