//! Versions never to be offered, and why: read afresh, and changed so that no other writer's entry is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cause::{Cause, store as causes};
use contract::{ProductName, Version};

use self::file::BlockedFile;
use crate::error::StoreError;
use crate::objects::explain::first_line;
use crate::objects::object::{Fetched, Read};
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
        Ok(match self.bucket.read_small(&key, JSON_MAX_BYTES).await? {
            Read::Missing => Blocked::List(BTreeMap::new()),
            Read::TooLong(found) => Blocked::Unreadable(unreadable(&key, &too_long(found.size))),
            Read::Found(fetched) => match BlockedFile::parse(&fetched.bytes) {
                Ok(file) => Blocked::List(file.list()),
                Err(why) => Blocked::Unreadable(unreadable(&key, &why)),
            },
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
        let before = match self.bucket.read(key, JSON_MAX_BYTES).await? {
            Read::Missing => None,
            Read::TooLong(found) => return Err(StoreError::Refused(unreadable(key, &too_long(found.size)))),
            Read::Found(fetched) => Some(fetched),
        };
        let mut file = match &before {
            None => BlockedFile::default(),
            Some(Fetched { bytes, .. }) => {
                BlockedFile::parse(bytes).map_err(|why| StoreError::Refused(unreadable(key, &why)))?
            }
        };
        if !change(&mut file)? {
            return Ok(Swap::Done);
        }
        let bytes = file.to_bytes();
        if bytes.len() as u64 > JSON_MAX_BYTES {
            return Err(StoreError::Refused(causes::LIST_TOO_LONG.with("key", key)));
        }
        let tag = match &before {
            None => self.bucket.create(&lock, key, bytes.into()).await?,
            Some(before) => self.bucket.replace(&lock, key, &before.tag, bytes.into()).await?,
        };
        Ok(match tag {
            Some(_) if lock.is_conditional() => Swap::Done,
            Some(_) => Swap::Unsure,
            None => Swap::Lost,
        })
    }
}

fn unreadable(key: &str, why: &str) -> Cause {
    causes::LIST_UNREADABLE.with("key", key).with("why", first_line(why))
}

fn too_long(size: u64) -> String {
    format!("it has {size} bytes; more than 1 MiB is not read")
}
