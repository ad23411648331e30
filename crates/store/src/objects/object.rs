//! One object: its key, its tag, and what a read of it gives.

use std::borrow::Cow;

use bytes::Bytes;
use cause::store as causes;
use chrono::{DateTime, Utc};
use contract::Sha256;
use object_store::path::Path;
use object_store::{Attribute, GetResult, ObjectMeta};

use crate::error::StoreError;
pub(crate) use crate::objects::tag::Tag;

/// The name under which an object carries the digest of the image it was created for; `x-amz-meta-` stands before it in
/// HTTP.
pub(crate) const MARK: &str = "updraft-sha256";

#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) tag: Tag,
    /// Which image it says that it was created for; see [`mark_of`].
    pub(crate) mark: Option<Sha256>,
}

#[derive(Debug, Clone)]
pub(crate) enum Read {
    Missing,
    /// Longer than it may be; not read.
    TooLong(Found),
    Found(Fetched),
}

/// An object whose content was not read.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) tag: Tag,
    /// When it was written, where that was told.
    pub(crate) modified: Option<DateTime<Utc>>,
}

/// The mark of an object, if it has one.
pub(crate) fn mark_of(result: &GetResult) -> Option<Sha256> {
    Sha256::from_hex(result.attributes.get(&Attribute::Metadata(Cow::Borrowed(MARK)))?)
}

/// A key of the layout as the storage wants it.
pub(crate) fn path(key: &str) -> Result<Path, StoreError> {
    Path::parse(key).map_err(|error| {
        StoreError::Invalid(causes::KEY_MALFORMED.naming("key", format!("{key:?}")).naming("why", error))
    })
}

pub(crate) fn found(meta: &ObjectMeta) -> Found {
    let (key, modified) = (meta.location.to_string(), Some(meta.last_modified));
    Found { key, size: meta.size, tag: tag(meta), modified }
}

pub(crate) fn tag(meta: &ObjectMeta) -> Tag {
    Tag(meta.e_tag.clone().unwrap_or_default())
}
