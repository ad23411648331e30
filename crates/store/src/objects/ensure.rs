//! Making an object be certain bytes while others may be writing it too, and making sure that it stayed so.
//!
//! S3 can compare and write one object, not three. So one that lost gives back what it had replaced, if that is still as
//! it left it.

use bytes::Bytes;
use cause::store as causes;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::object::{Read, Tag};
use crate::objects::write::{Condition, Write};
use crate::objects::write_lock::WriteLock;
use crate::tasks::{ROUNDS_MAX, off_the_async_threads, pause};

/// What is compared on the spot: metadata takes microseconds.
const COMPARED_AT_ONCE: usize = 64 * 1024;

/// An object that is what it should be, or was a moment ago.
#[derive(Debug)]
pub(crate) struct Written {
    key: String,
    bytes: Bytes,
    tag: Tag,
    /// What had to give way.
    replaced: Option<Bytes>,
}

impl Written {
    pub(crate) fn new(key: String, bytes: Bytes, tag: Tag, replaced: Option<Bytes>) -> Self {
        Self { key, bytes, tag, replaced }
    }

    pub(crate) fn tag(&self) -> &Tag {
        &self.tag
    }
}

impl Bucket {
    /// Makes the object at `key` be `bytes`; writes nothing if it is.
    pub(crate) async fn ensure(
        &self,
        lock: &WriteLock,
        key: String,
        bytes: Bytes,
        limit: u64,
    ) -> Result<Written, StoreError> {
        let put =
            async |condition: Condition<'_>| self.put(lock, Write::new(&key, bytes.clone(), condition)).await;
        for _ in 0..ROUNDS_MAX {
            let (tag, replaced) = match self.read(&key, limit).await? {
                Read::Missing => (put(Condition::Absent).await?, None),
                Read::Found(found) if same(&found.bytes, &bytes).await? => (Some(found.tag), None),
                Read::Found(found) => (put(Condition::Same(&found.tag)).await?, Some(found.bytes)),
                // Nothing that we or a device could use, so nothing to give back.
                Read::TooLong(found) => (put(Condition::Same(&found.tag)).await?, None),
            };
            if let Some(tag) = tag {
                return Ok(Written { key, bytes, tag, replaced });
            }
            pause().await;
        }
        Err(StoreError::corrupt(causes::WRITTEN_BY_ANOTHER.with("key", key)))
    }

    pub(crate) async fn reads_back(&self, written: &Written) -> Result<bool, StoreError> {
        let read = self.read(&written.key, written.bytes.len() as u64).await?;
        match read {
            Read::Found(found) => same(&found.bytes, &written.bytes).await,
            Read::Missing | Read::TooLong(_) => Ok(false),
        }
    }

    /// Whether nobody has written the object since.
    pub(crate) async fn is_unchanged(&self, written: &Written) -> Result<bool, StoreError> {
        Ok(self.find(&written.key).await?.is_some_and(|found| found.tag == written.tag))
    }

    /// Puts back what was replaced, unless somebody else has written meanwhile.
    pub(crate) async fn put_back(&self, lock: &WriteLock, written: Written) -> Result<(), StoreError> {
        if let Some(before) = written.replaced {
            self.put(lock, Write::new(&written.key, before, Condition::Same(&written.tag))).await?;
        }
        Ok(())
    }
}

/// Whether two objects are the same bytes. Images are compared beside those who are being served.
pub(crate) async fn same(left: &Bytes, right: &Bytes) -> Result<bool, StoreError> {
    if left.len() != right.len() || left.len() <= COMPARED_AT_ONCE {
        return Ok(left == right);
    }
    let (left, right) = (left.clone(), right.clone());
    off_the_async_threads(move || left == right).await
}
