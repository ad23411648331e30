//! The database: SQLite or PostgreSQL. SQL exists here and nowhere else; times are milliseconds since 1970.
//!
//! Whoever writes anything of a device or of its updates holds a [`Write`], a transaction, and locks the device's row first
//! ([`Write::lock_devices`]); what was read under the lock is compared with what is to be, and only what changed is written.
//! On SQLite a transaction that writes is the only one. Nothing is acknowledged before its commit has reached the disk.

pub(crate) mod audit;
mod audit_entry;
pub(crate) mod audit_seal;
mod bare;
mod connection;
mod count;
pub(crate) mod device;
pub(crate) mod device_list;
mod failure;
pub(crate) mod figures;
mod guarded;
pub(crate) mod image;
mod lock;
mod locked;
pub(crate) mod meta;
mod migrate;
pub(crate) mod mirror;
pub(crate) mod moved;
mod open;
mod postgres;
pub(crate) mod presence;
pub(crate) mod rollout;
pub(crate) mod rollout_device;
pub(crate) mod silent;
mod sqlite;
pub(crate) mod tag;
#[cfg(test)]
mod tests;
pub(crate) mod token;
pub(crate) mod update;
pub(crate) mod update_event;
mod user;
mod values;
pub(crate) mod waiting;

pub(crate) use audit_entry::{Action, Model as AuditEntry};
pub(crate) use connection::{Db, Query, Write};
pub(crate) use failure::{Failure, is_duplicate};
pub(crate) use lock::ServerLock;
pub(crate) use locked::Locked;
#[cfg(test)]
pub(crate) use values::Text;
