//! The database. SQL exists here and nowhere else; times are milliseconds since 1970, truths are 0 and 1.
//!
//! One writer at a time: whoever writes holds [`Write`], a transaction that began as a writing one, so that
//! nobody fails halfway because somebody else wrote in between. Other processes (`updraft token`) wait for
//! SQLite's own lock. Nothing is acknowledged before its commit has reached the disk.

mod connection;
pub(crate) mod device;
pub(crate) mod device_list;
pub(crate) mod meta;
mod open;
mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod token;
pub(crate) mod update;

pub(crate) use connection::{Db, Write, is_duplicate};
