//! `_slots.json`: the smallest slot that a server's devices report, for those who publish without it. Nobody else writes it.

use bytes::Bytes;
use cause::store as causes;
use contract::ProductName;

use crate::error::StoreError;
use crate::json;
use crate::objects::object::Read;
use crate::objects::write::{Condition, Write};
use crate::releases::gate::facts::Slot;
use crate::releases::layout::{self, JSON_MAX_BYTES};
use crate::store::Store;
use crate::tasks::ROUNDS_MAX;

impl Store {
    /// What a server recorded. A file that cannot be read is an error: nobody knows what it limits.
    pub(crate) async fn recorded_slot(&self, product: &ProductName) -> Result<Option<Slot>, StoreError> {
        let key = layout::slots(product);
        let slot = match self.bucket.read_small(&key, JSON_MAX_BYTES).await? {
            Read::Missing => return Ok(None),
            Read::Found(found) => json::object(&found.bytes),
            Read::TooLong(found) => Err(format!("it has {} bytes", found.size)),
        };
        let slot = slot.and_then(|map| {
            let slot = (!map.is_empty()).then(|| serde_json::from_value(map.into()));
            slot.transpose().map_err(|error| error.to_string())
        });
        slot.map_err(|why| {
            let cause = causes::PRODUCT_UNREADABLE.with("key", key).with("why", why);
            StoreError::corrupt(cause.with("place", self.bucket.name()))
        })
    }

    /// Records the smallest slot of a product's devices, whatever is there. Answers whether anything was written.
    #[crate::boxed]
    pub async fn record_slot(&self, product: &ProductName, slot: &Slot) -> Result<bool, StoreError> {
        let key = layout::slots(product);
        let mut bytes = serde_json::to_vec(slot).expect("a number and a text are JSON");
        bytes.push(b'\n');
        let bytes = Bytes::from(bytes);
        let record = async |lock| {
            let before = self.bucket.read(&key, JSON_MAX_BYTES).await?;
            if matches!(&before, Read::Found(found) if found.bytes == bytes) {
                return Ok(Some(false));
            }
            let write = Write::new(&key, bytes.clone(), Condition::unchanged(&before));
            Ok(self.bucket.put(&lock, write).await?.map(|_| true))
        };
        let written = self.bucket.in_rounds(&key, ROUNDS_MAX, record).await?;
        written.ok_or_else(|| StoreError::corrupt(causes::WRITTEN_BY_ANOTHER.with("key", &*key)))
    }
}
