//! The firmware bucket: releases, channels, blocked versions, signed URLs.
//!
//! A [`Store`] is a folder on this machine or a bucket of S3 or something compatible, laid out as section 1 of the
//! contract says. It may be filled by other programs at the same time: everything that is read is bounded and checked,
//! nothing that was published is ever overwritten, and `version.txt` is the commit point of releases and channels.

mod artifact;
mod blocked;
mod bucket;
mod catalog;
mod claim;
mod client;
mod commit;
mod conditions;
mod credentials;
mod error;
mod gate;
mod layout;
mod listing;
mod location;
mod metadata;
mod parts;
mod product;
mod promote;
mod publish;
mod put;
mod settle;
mod signed;
mod signers;
mod store;

pub use artifact::Artifact;
pub use blocked::Blocked;
pub use catalog::Release;
pub use error::StoreError;
pub use gate::{
    Check, Facts, Finding, Level, NotAllowable, Production, SizeOf, Slot, Taken, Verdict, grouped, judge,
};
pub use layout::release_of;
pub use product::{GateSettings, ProductFile};
pub use publish::{Attempt, NOTES_MAX_BYTES, Publication, Published};
pub use signed::Refused;
pub use store::{Object, Options, Store};

/// The digest by which an image is known.
fn sha256(bytes: &[u8]) -> contract::Sha256 {
    use sha2::Digest;
    contract::Sha256(sha2::Sha256::digest(bytes).into())
}
