//! Objects, in a bucket of S3 or in a folder: how they are read, written, listed and signed. Nothing here knows what a
//! release is.

pub(crate) mod bucket;
mod cache;
mod checksum;
pub(crate) mod client;
mod conditions;
mod credentials;
pub(crate) mod digest;
pub(crate) mod ensure;
pub(crate) mod explain;
mod fetch;
pub(crate) mod images;
pub(crate) mod listing;
pub(crate) mod location;
pub(crate) mod object;
pub(crate) mod part;
mod read;
pub(crate) mod rounds;
pub(crate) mod s3_error;
pub(crate) mod settings;
pub(crate) mod signed;
pub(crate) mod sums;
pub(crate) mod tag;
pub(crate) mod write;
pub(crate) mod write_lock;
