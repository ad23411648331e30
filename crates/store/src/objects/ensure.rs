//! Making an object be certain bytes while others may be writing it too, and making sure that it stayed so.

use std::sync::Arc;

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
    pub(crate) key: String,
    pub(crate) bytes: Bytes,
    pub(crate) tag: Tag,
}

impl Bucket {
    /// Makes the object at `key` be `bytes`; writes nothing if it is.
    pub(crate) async fn ensure(
        self: &Arc<Self>,
        lock: &WriteLock,
        key: String,
        bytes: Bytes,
        limit: u64,
    ) -> Result<Written, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let before = self.read(&key, limit).await?;
            if let Some(written) = self.replace(lock, key.clone(), bytes.clone(), before).await? {
                return Ok(written);
            }
            pause().await;
        }
        Err(StoreError::corrupt(causes::WRITTEN_BY_ANOTHER.with("key", key)))
    }

    /// The same, once, over what was read before; `None` if it is not that any more.
    pub(crate) async fn replace(
        self: &Arc<Self>,
        lock: &WriteLock,
        key: String,
        bytes: Bytes,
        before: Read,
    ) -> Result<Option<Written>, StoreError> {
        let write = Write::new(&key, bytes.clone(), Condition::unchanged(&before));
        if let Read::Found(found) = before
            && same(&found.bytes, &bytes).await?
        {
            return Ok(Some(Written { key, bytes, tag: found.tag }));
        }
        Ok(self.put(lock, write).await?.map(|tag| Written { key, bytes, tag }))
    }

    /// Whether it is what was written. Then its tag is the one that was read: what a write is answered with may be another.
    pub(crate) async fn reads_back(&self, written: &mut Written) -> Result<bool, StoreError> {
        let Read::Found(found) = self.read(&written.key, written.bytes.len() as u64).await? else {
            return Ok(false);
        };
        written.tag = found.tag;
        same(&found.bytes, &written.bytes).await
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
