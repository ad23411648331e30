//! What is written where, and under which condition.

use bytes::Bytes;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::object::Tag;

/// Is told how many bytes of an object are in the store.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// What must be so for a write to take place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    /// There is no such object.
    Absent,
    /// It is this one.
    Same(&'a Tag),
}

/// What is written where.
pub(crate) struct Write<'a> {
    pub(crate) key: &'a str,
    pub(crate) bytes: Bytes,
    pub(crate) condition: Condition<'a>,
    pub(crate) progress: Progress<'a>,
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
