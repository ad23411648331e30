//! Versions never to be offered, and why: read afresh, and changed so that no other writer's entry is lost.

use std::collections::BTreeMap;

use cause::{Cause, store as causes};
use contract::{ProductName, Version};
use serde::{Deserialize, Serialize};

use self::file::{BlockedFile, is_one};
use crate::error::StoreError;
use crate::objects::explain::first_line;
use crate::objects::object::Read;
use crate::objects::write::{Condition, Write};
use crate::releases::layout::{self, JSON_MAX_BYTES};
use crate::store::Store;

pub(crate) mod file;

/// Maximum attempts to write the blocked list. Each that is lost is another writer's win.
const SWAPS_MAX: u32 = 200;

/// Why a version is blocked, if that was said.
pub type BlockReason = Option<String>;

/// What a product's blocked list says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blocked {
    /// These versions, each with its reason if one was given.
    List(BTreeMap<Version, BlockReason>),
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

impl Store {
    /// The blocked list, read afresh.
    #[crate::boxed]
    pub async fn blocked(&self, product: &ProductName) -> Result<Blocked, StoreError> {
        let key = layout::blocked(product);
        Ok(match parsed(&key, self.bucket.read_small(&key, JSON_MAX_BYTES).await?) {
            Ok(file) => Blocked::List(file.list()),
            Err(cause) => Blocked::Unreadable(cause),
        })
    }

    /// Blocks a version, published or not, and answers its entry before, if it had one. Blocking it again changes its reason, if
    /// one is given.
    #[crate::boxed]
    pub async fn block(
        &self,
        product: &ProductName,
        version: &Version,
        reason: &str,
    ) -> Result<Option<BlockReason>, StoreError> {
        if !is_one(version) {
            return Err(StoreError::Refused(causes::NOT_BLOCKABLE.naming("version", version)));
        }
        self.change_blocked(product, version, |file| Ok(file.block(version, reason.trim()))).await
    }

    /// Takes a version off the blocked list, and answers its entry; `NotFound` if it is not on it.
    #[crate::boxed]
    pub async fn unblock(
        &self,
        product: &ProductName,
        version: &Version,
    ) -> Result<Option<BlockReason>, StoreError> {
        let unblock = |file: &mut BlockedFile| {
            if file.unblock(version) {
                return Ok(true);
            }
            Err(StoreError::NotFound(
                causes::NOT_BLOCKED.naming("version", version).naming("product", product),
            ))
        };
        self.change_blocked(product, version, unblock).await
    }

    /// Reads, changes and writes the list until nobody else has written in between, and answers the version's entry before.
    /// `change` answers whether it changed anything.
    async fn change_blocked(
        &self,
        product: &ProductName,
        version: &Version,
        change: impl Fn(&mut BlockedFile) -> Result<bool, StoreError> + Send,
    ) -> Result<Option<BlockReason>, StoreError> {
        let key = layout::blocked(product);
        let swap = async |lock| {
            let read = self.bucket.read(&key, JSON_MAX_BYTES).await?;
            let condition = Condition::unchanged(&read);
            let mut file = parsed(&key, read).map_err(StoreError::Refused)?;
            let before = file.list().remove(version);
            if !change(&mut file)? {
                return Ok(Some(before));
            }
            let bytes = file.to_bytes();
            if bytes.len() as u64 > JSON_MAX_BYTES {
                return Err(StoreError::Refused(causes::LIST_TOO_LONG.with("key", &*key)));
            }
            let write = Write::new(&key, bytes.into(), condition);
            Ok(self.bucket.put(&lock, write).await?.map(|_| before))
        };
        let changed =
            || StoreError::corrupt(causes::LIST_CHANGED.with("key", &*key).with("attempts", SWAPS_MAX));
        self.bucket.in_rounds(&key, SWAPS_MAX, swap).await?.ok_or_else(changed)
    }
}

/// The list as it was read, or why it cannot be used.
fn parsed(key: &str, read: Read) -> Result<BlockedFile, Cause> {
    let file = match read {
        Read::Missing => return Ok(BlockedFile::default()),
        Read::TooLong(found) => Err(format!("it has {} bytes; more than 1 MiB is not read", found.size)),
        Read::Found(fetched) => BlockedFile::parse(&fetched.bytes),
    };
    file.map_err(|why| causes::LIST_UNREADABLE.with("key", key).with("why", first_line(&why)))
}
