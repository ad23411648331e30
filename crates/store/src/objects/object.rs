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
    /// Its `Content-Encoding`, where its head was read and has one.
    pub(crate) encoding: Option<String>,
}

impl Found {
    /// Which content it has, in a name that is the same however it was told. Where the storage names none, its size and
    /// time do.
    pub(crate) fn content(&self) -> String {
        let tag = self.tag.quoted();
        match self.modified.filter(|_| tag.is_empty()) {
            Some(modified) => format!("{} {}", self.size, modified.timestamp()),
            None => tag,
        }
    }
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

/// How an object is stored that is to be decoded before it is what it was. `aws-chunked` is a way of uploading, which some
/// servers keep as if it were one.
pub(crate) fn encoding_of(result: &GetResult) -> Option<String> {
    let said = result.attributes.get(&Attribute::ContentEncoding)?.to_lowercase();
    let encodings = said.split(',').map(str::trim);
    let named: Vec<&str> = encodings.filter(|one| !matches!(*one, "" | "identity" | "aws-chunked")).collect();
    (!named.is_empty()).then(|| named.join(", "))
}

pub(crate) fn found(meta: &ObjectMeta) -> Found {
    let (key, modified) = (meta.location.to_string(), Some(meta.last_modified));
    Found { key, size: meta.size, tag: tag(meta), modified, encoding: None }
}

pub(crate) fn tag(meta: &ObjectMeta) -> Tag {
    Tag(meta.e_tag.clone().unwrap_or_default())
}
