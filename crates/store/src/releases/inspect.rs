//! Reading images that are offered whole, once for each content of an object: what another program put into the bucket passes
//! the gate before any device is told of it.

use cause::store as causes;
use contract::ProductName;
use tokio::sync::Semaphore;

use crate::error::StoreError;
use crate::objects::object::Read;
use crate::releases::gate::facts::Facts;
use crate::releases::gate::inspection::Inspection;
use crate::releases::layout::FIRMWARE_MAX_BYTES;
use crate::store::Store;
use crate::tasks::off_the_async_threads;

/// At most this many images are read for this at a time, each of at most 16 MiB in memory.
const AT_ONCE: usize = 2;
static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);

impl Store {
    /// What a product says of its images, for the checks that nobody may overrule. A file that cannot be read is an error: nobody
    /// knows what it limits.
    #[crate::boxed]
    pub async fn guard(&self, product: &ProductName) -> Result<Facts, StoreError> {
        let (file, slot) = tokio::join!(self.product_json(product), self.recorded_slot(product));
        let (file, _) = (file?, slot?);
        Ok(Facts {
            chip: file.chip,
            trusted_keys: file.trusted_keys,
            signatures_required: file.signatures_required,
            secure_version: file.secure_version,
            ..Facts::default()
        })
    }

    /// Reads an image as it is now; `None` if it is not there, or too long to be one.
    #[crate::boxed]
    pub async fn inspect(&self, key: &str) -> Result<Option<Inspection>, StoreError> {
        let _room = ROOM.acquire().await;
        let Some(found) = self.bucket.find(key).await? else { return Ok(None) };
        let Read::Found(fetched) = self.bucket.read(key, FIRMWARE_MAX_BYTES).await? else { return Ok(None) };
        if fetched.tag != found.tag {
            return Err(StoreError::corrupt(causes::REPLACED.with("key", key)));
        }
        off_the_async_threads(move || Inspection::of(&fetched.bytes, found.content())).await.map(Some)
    }
}
