//! What lies in a bucket, by its keys.

pub(crate) mod tolerant;
