//! Versions never to be offered, and why: read afresh, and changed so that no other writer's entry is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cause::{Cause, store as causes};
use contract::{ProductName, Version};

use self::file::BlockedFile;
use crate::error::StoreError;
use crate::objects::explain::first_line;
use crate::objects::object::{Read, Tag};
use crate::objects::write::{Condition, Write};
use crate::objects::write_lock::WriteLock;
use crate::releases::layout::{self, JSON_MAX_BYTES};
use crate::store::Store;
use crate::tasks::run_detached;

mod file;

/// Maximum attempts to write the blocked list. Each that is lost is another writer's win.
const SWAPS_MAX: u32 = 200;

/// How long after a write without conditions it is looked at again.
const CONFIRMED_AFTER: Duration = Duration::from_millis(400);

/// What a product's blocked list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// These versions, each with its reason if one was given.
    List(BTreeMap<Version, Option<String>>),
    /// The list is there and cannot be read, so everything is blocked, and why.
    Unreadable(Cause),
}

impl Blocked {
    /// Why `version` must not be offered; `None` if it may.
    pub fn cause(&self, version: &Version) -> Option<Cause> {
        match self {
            Self::Unreadable(cause) => Some(cause.clone()),
            Self::List(list) => {
                let reason = list.get(version)?.clone();
                Some(causes::BLOCKED.naming("version", version).with("why", reason))
            }
        }
    }
}

/// Changes the file; false if there is nothing to change.
type Change = Arc<dyn Fn(&mut BlockedFile) -> Result<bool, StoreError> + Send + Sync>;

/// What came of one attempt to change the list.
enum Swap {
    Done,
    /// Written, but without a condition: it has to be looked at again.
    Unsure,
    /// Somebody else has written in between.
    Lost,
}

impl Store {
    /// The blocked list, read afresh.
    pub async fn blocked(&self, product: &ProductName) -> Result<Blocked, StoreError> {
        let key = layout::blocked(product);
        Ok(match parsed(&key, self.bucket.read_small(&key, JSON_MAX_BYTES).await?) {
            Ok((file, _)) => Blocked::List(file.list()),
            Err(cause) => Blocked::Unreadable(cause),
        })
    }

    /// Blocks a version, published or not. Blocking it again changes its reason, if one is given.
    pub async fn block(
        &self,
        product: &ProductName,
        version: &Version,
        reason: &str,
    ) -> Result<(), StoreError> {
        let reason = reason.trim();
        let (version, reason) = (version.clone(), reason.to_owned());
        self.change_blocked(product, Arc::new(move |file| Ok(file.block(&version, &reason)))).await
    }

    /// Takes a version off the blocked list; `NotFound` if it is not on it.
    pub async fn unblock(&self, product: &ProductName, version: &Version) -> Result<(), StoreError> {
        let (of, version) = (product.clone(), version.clone());
        let unblock = move |file: &mut BlockedFile| {
            if file.unblock(&version) {
                return Ok(true);
            }
            Err(StoreError::NotFound(causes::NOT_BLOCKED.naming("version", &version).naming("product", &of)))
        };
        self.change_blocked(product, Arc::new(unblock)).await
    }

    /// Reads, changes and writes the list until nobody else has written in between.
    async fn change_blocked(&self, product: &ProductName, change: Change) -> Result<(), StoreError> {
        let key = layout::blocked(product);
        let mut written = false;
        for attempt in 0..SWAPS_MAX {
            let lock = self.bucket.write_lock(&key).await?;
            let (store, change, key) = (self.clone(), Arc::clone(&change), key.clone());
            let swap = run_detached(async move { store.swap_blocked(lock, &key, &*change).await });
            match swap.await {
                Ok(Swap::Done) => return Ok(()),
                Ok(Swap::Unsure) => written = true,
                Ok(Swap::Lost) => {}
                // What was written a moment ago still stands.
                Err(StoreError::NotFound(_)) if written => return Ok(()),
                Err(error) => return Err(error),
            }
            if written {
                // Somebody else may be writing over it just now.
                tokio::time::sleep(CONFIRMED_AFTER).await;
            }
            tokio::time::sleep(Duration::from_millis(u64::from(attempt % 10) * 7)).await;
        }
        Err(StoreError::corrupt(causes::LIST_CHANGED.with("key", key).with("attempts", SWAPS_MAX)))
    }

    async fn swap_blocked(
        &self,
        lock: WriteLock,
        key: &str,
        change: &(dyn Fn(&mut BlockedFile) -> Result<bool, StoreError> + Send + Sync),
    ) -> Result<Swap, StoreError> {
        let read = self.bucket.read(key, JSON_MAX_BYTES).await?;
        let (mut file, before) = parsed(key, read).map_err(StoreError::Refused)?;
        if !change(&mut file)? {
            return Ok(Swap::Done);
        }
        let bytes = file.to_bytes();
        if bytes.len() as u64 > JSON_MAX_BYTES {
            return Err(StoreError::Refused(causes::LIST_TOO_LONG.with("key", key)));
        }
        let write = Write::new(key, bytes.into(), Condition::unchanged(before.as_ref()));
        let tag = self.bucket.put(&lock, write).await?;
        Ok(match tag {
            Some(_) if lock.is_conditional() => Swap::Done,
            Some(_) => Swap::Unsure,
            None => Swap::Lost,
        })
    }
}

/// The list as it was read, and its tag if it is there; or why it cannot be used.
fn parsed(key: &str, read: Read) -> Result<(BlockedFile, Option<Tag>), Cause> {
    let why = match read {
        Read::Missing => return Ok((BlockedFile::default(), None)),
        Read::TooLong(found) => format!("it has {} bytes; more than 1 MiB is not read", found.size),
        Read::Found(fetched) => match BlockedFile::parse(&fetched.bytes) {
            Ok(file) => return Ok((file, Some(fetched.tag))),
            Err(why) => why,
        },
    };
    Err(causes::LIST_UNREADABLE.with("key", key).with("why", first_line(&why)))
}
