//! Objects, in a bucket of S3 or in a folder: how they are read, written, listed and signed. Nothing here knows what a
//! release is.

pub(crate) mod bucket;
pub(crate) mod client;
pub(crate) mod conditions;
pub(crate) mod credentials;
pub(crate) mod ensure;
pub(crate) mod explain;
pub(crate) mod listing;
pub(crate) mod location;
pub(crate) mod parts;
pub(crate) mod put;
pub(crate) mod signed;
