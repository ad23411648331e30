//! The smallest slot of each product's devices: what the gate lets through, and what `product.json` says of it for
//! those who work on the store alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use contract::ProductName;
use store::Slot;

use super::{App, AppError};
use crate::db::device;

/// Partitions for applications lie on borders of 64 KiB, so that no slot is smaller: a device that reports less is wrong,
/// and must not keep every image from being published.
const SLOT_MIN_BYTES: u32 = 0x1_0000;
/// After a write that failed, the next one to the same file waits so long.
const RETRY_AFTER: Duration = Duration::from_mins(10);

/// What this server has written into `product.json`, or found there.
#[derive(Debug, Default)]
pub(crate) struct Taught(HashMap<ProductName, Lesson>);

#[derive(Debug, Default)]
struct Lesson {
    /// The smallest slot that the file was told of.
    smallest: Option<u32>,
    /// When the file could not be written last.
    failed: Option<Instant>,
}

impl Lesson {
    /// Whether the file is to be told of this one now.
    fn is_due(&self, smallest: u32) -> bool {
        self.smallest != Some(smallest) && self.failed.is_none_or(|failed| failed.elapsed() > RETRY_AFTER)
    }
}

impl App {
    /// The smallest slot that the product's devices report.
    pub(super) async fn smallest_slot(&self, product: &ProductName) -> Result<Option<Slot>, AppError> {
        let smallest = device::smallest_slot(self.db(), product, SLOT_MIN_BYTES).await?;
        Ok(smallest.map(|(device, bytes)| Slot { bytes, device: Some(device.as_str().to_owned()) }))
    }

    /// Writes what has changed into the `product.json` of the products that lie in the store. A server that may not write
    /// there says so once and goes on: its own gate asks the devices.
    pub(crate) async fn teach_slots(&self, taught: &mut Taught) -> Result<(), AppError> {
        for product in self.catalog().products().into_keys() {
            let Some(slot) = self.smallest_slot(&product).await? else { continue };
            let lesson = taught.0.entry(product.clone()).or_default();
            if !lesson.is_due(slot.bytes) {
                continue;
            }
            match self.store().learn_slot(&product, slot.bytes, lesson.smallest).await {
                Ok(_) => *lesson = Lesson { smallest: Some(slot.bytes), failed: None },
                Err(error) => {
                    if lesson.failed.replace(Instant::now()).is_none() {
                        tracing::warn!(
                            product = %product,
                            slot_bytes = slot.bytes,
                            "the devices' smallest slot cannot be written for those who publish with --store: {error}"
                        );
                    }
                }
            }
        }
        Ok(())
    }
}
