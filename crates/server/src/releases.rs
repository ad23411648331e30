//! Releases: published, promoted, blocked, and shown from a mirror of the bucket.
//!
//! Uses nothing of `devices` and `updates`; how many devices a product has, and their smallest slot, it asks the database.

mod audited;
mod health;
mod images;
mod mirror;
mod promote;
mod publish;
mod service;
mod show;
mod slots;
mod snapshot;

pub(crate) use health::{STORE_TIMEOUT, StoreHealth};
pub(crate) use images::admit;
pub(crate) use mirror::Refreshed;
pub(crate) use promote::{WRITE_TIMEOUT, detached};
pub use publish::judgement;
#[cfg(test)]
pub(crate) use service::PROMOTIONS_MAX;
pub use service::Releases;
pub(crate) use service::SLOT_SIZES;
pub(crate) use slots::RecordedSlots;
pub use snapshot::shown;
