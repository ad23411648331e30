//! Releases, channels and blocked lists, laid out in objects as section 1 of the contract says.

pub(crate) mod artifact;
pub(crate) mod blocked;
pub(crate) mod catalog;
pub(crate) mod claim;
pub(crate) mod commit;
pub(crate) mod facts;
pub(crate) mod gate;
pub(crate) mod layout;
pub(crate) mod listing;
pub(crate) mod metadata;
pub(crate) mod product;
pub(crate) mod promoter;
pub(crate) mod publisher;
