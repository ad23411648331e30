//! Releases, channels and blocked lists, laid out in objects as section 1 of the contract says.

pub(crate) mod artifact;
pub(crate) mod blocked;
mod catalog;
mod commit;
pub(crate) mod download;
pub(crate) mod gate;
mod identity;
mod inspect;
mod known;
pub(crate) mod layout;
mod listing;
pub(crate) mod metadata;
pub(crate) mod product;
mod promoter;
pub(crate) mod publication;
pub(crate) mod publisher;
pub(crate) mod release;
mod slots;
mod unfinished;
