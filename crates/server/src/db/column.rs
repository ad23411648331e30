//! Reading columns into their types. What cannot be read is an error that names the column.

use std::fmt::Display;
use std::str::FromStr;

use contract::Sha256;
use sea_orm::{DbErr, QueryResult};
use serde::de::DeserializeOwned;

pub(super) fn corrupt(column: &str, why: impl Display) -> DbErr {
    DbErr::Type(format!("the database holds a {column} that cannot be read: {why}"))
}

/// A text column, read into its type.
pub(super) fn parsed<T: FromStr<Err: Display>>(row: &QueryResult, column: &str) -> Result<Option<T>, DbErr> {
    let text: Option<String> = row.try_get("", column)?;
    text.map(|text| text.parse().map_err(|error| corrupt(column, error))).transpose()
}

/// The column `sha256`.
pub(super) fn digest(row: &QueryResult) -> Result<Option<Sha256>, DbErr> {
    let hex: Option<String> = row.try_get("", "sha256")?;
    hex.map(|hex| Sha256::from_hex(&hex).ok_or_else(|| corrupt("sha256", "not 64 digits"))).transpose()
}

/// A column of JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &QueryResult, column: &str) -> Result<Option<T>, DbErr> {
    let text: Option<String> = row.try_get("", column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| corrupt(column, error))).transpose()
}

/// JSON for a column.
pub(super) fn json<T: serde::Serialize>(value: Option<&T>) -> Result<Option<String>, DbErr> {
    value
        .map(|value| serde_json::to_string(value).map_err(|error| DbErr::Json(error.to_string())))
        .transpose()
}
