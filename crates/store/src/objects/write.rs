//! What is written where, and under which condition.

use bytes::Bytes;
use contract::Sha256;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::object::Tag;

/// Is told how many bytes of an object are in the store.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// What must be so for a write to take place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    Absent,
    Same(&'a Tag),
}

impl<'a> Condition<'a> {
    /// That it is as it was found.
    pub(crate) fn unchanged(before: Option<&'a Tag>) -> Self {
        before.map_or(Self::Absent, Self::Same)
    }
}

pub(crate) struct Write<'a> {
    pub(crate) key: &'a str,
    pub(crate) bytes: Bytes,
    pub(crate) condition: Condition<'a>,
    pub(crate) progress: Progress<'a>,
    /// Which image it is created for, where that is to be said; a folder keeps no marks.
    pub(crate) mark: Option<Sha256>,
}

impl<'a> Write<'a> {
    pub(crate) fn new(key: &'a str, bytes: Bytes, condition: Condition<'a>) -> Self {
        Self { key, bytes, condition, progress: &|_| (), mark: None }
    }
}

impl Bucket {
    /// Whether a write's condition holds at this moment.
    pub(crate) async fn holds(&self, write: &Write<'_>) -> Result<bool, StoreError> {
        let found = self.find(write.key).await?;
        Ok(match write.condition {
            Condition::Absent => found.is_none(),
            Condition::Same(expected) => found.is_some_and(|found| found.tag == *expected),
        })
    }
}
