//! The firmware bucket: releases, channels, blocked versions, signed URLs.
//!
//! A [`Store`] is a folder on this machine or a bucket of S3 or something compatible, laid out as section 1 of the
//! contract says. It may be filled by other programs at the same time: everything that is read is bounded and checked,
//! nothing that was published is ever overwritten, and `version.txt` is the commit point of releases and channels.

mod error;
mod json;
mod objects;
mod releases;
mod store;
mod tasks;
pub mod testing;
mod text;

/// For what other crates await: its future is in a box, or each of them would compile all of it anew.
pub(crate) use async_recursion::async_recursion as boxed;

pub use cause::grouped;
pub use error::StoreError;
pub use objects::bucket::Writers;
pub use objects::signed::Refused;
pub use objects::sums::Sums;
pub use releases::artifact::Artifact;
pub use releases::blocked::{BlockReason, Blocked};
pub use releases::download::{Content, Object};
pub use releases::gate::check::{Check, Level, NotAllowable};
pub use releases::gate::facts::{Facts, GateSettings, Production, Slot, Taken};
pub use releases::gate::inspection::Inspection;
pub use releases::gate::judge::judge;
pub use releases::gate::verdict::{Finding, SizeOf, Verdict};
pub use releases::layout::release_of;
pub use releases::publication::{NOTES_MAX_BYTES, Publication};
pub use releases::publisher::{Attempt, Published};
pub use releases::release::Release;
pub use store::{Options, Store};
pub use text::{NotText, text};
