//! Releases: published, promoted, blocked, and shown from a mirror of the bucket.
//!
//! Uses nothing of `devices` and `updates`; how many devices a product has, and their smallest slot, it asks the database.

mod block;
mod detached;
mod health;
mod judgement;
mod mirror;
mod promote;
mod publish;
mod refresh;
mod service;
mod show;
mod shown;
mod slot_sizes;
mod slots;
mod snapshot;
mod upload;

pub(crate) use detached::WRITE_TIMEOUT;
#[cfg(test)]
pub(crate) use detached::detached;
pub(crate) use health::{STORE_TIMEOUT, StoreHealth};
pub use judgement::judgement;
pub(crate) use mirror::Refreshed;
#[cfg(test)]
pub(crate) use service::PROMOTIONS_MAX;
pub use service::Releases;
pub use shown::shown;
pub(crate) use slot_sizes::SLOT_SIZES;
pub(crate) use slots::RecordedSlots;
pub use upload::Upload;
