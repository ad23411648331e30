//! The firmware bucket: releases, channels, blocked versions, signed URLs.
//!
//! A [`Store`] is a folder on this machine or a bucket of S3 or something compatible, laid out as section 1 of the
//! contract says. It may be filled by other programs at the same time: everything that is read is bounded and checked,
//! nothing that was published is ever overwritten, and `version.txt` is the commit point of releases and channels.

mod objects;
mod releases;
mod store;

pub use objects::explain::StoreError;
pub use objects::signed::Refused;
pub use releases::artifact::Artifact;
pub use releases::blocked::Blocked;
pub use releases::catalog::Release;
pub use releases::gate::{
    Check, Facts, Finding, Level, NotAllowable, Production, SizeOf, Slot, Taken, Verdict, grouped, judge,
};
pub use releases::layout::release_of;
pub use releases::product::{GateSettings, ProductFile};
pub use releases::publisher::{Attempt, NOTES_MAX_BYTES, Publication, Published};
pub use store::{Object, Options, Store};

/// The digest by which an image is known.
fn sha256(bytes: &[u8]) -> contract::Sha256 {
    use sha2::Digest;
    contract::Sha256(sha2::Sha256::digest(bytes).into())
}
