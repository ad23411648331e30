//! Recording the smallest slot of each product's devices in the store, for those who work on the store alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use contract::ProductName;
use store::Slot;

use super::service::Releases;
use crate::db::mirror;
use crate::error::Error;

/// How long the next write to the same file waits after one that failed.
const RETRY_AFTER: Duration = Duration::from_mins(10);

#[derive(Debug, Default)]
pub(crate) struct RecordedSlots(HashMap<ProductName, Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    /// What was recorded since the start.
    slot: Option<Slot>,
    /// When it could not be recorded last.
    failed: Option<Instant>,
}

impl Releases {
    /// Records what has changed, of the products that lie in the store. A server that may not write there says so once and
    /// goes on: its own gate asks the devices.
    pub(crate) async fn record_slots(&self, slots: &mut RecordedSlots) -> Result<(), Error> {
        for mirror::Shown { name: product, .. } in mirror::products(&self.0.db).await? {
            let Some(slot) = self.smallest_slot(&product).await? else { continue };
            let recorded = slots.0.entry(product.clone()).or_default();
            let is_paused = recorded.failed.is_some_and(|failed| failed.elapsed() < RETRY_AFTER);
            if recorded.slot.as_ref() == Some(&slot) || is_paused {
                continue;
            }
            match self.0.store.record_slot(&product, &slot).await {
                Ok(_) => *recorded = Recorded { slot: Some(slot), failed: None },
                Err(error) => {
                    if recorded.failed.replace(Instant::now()).is_none() {
                        tracing::warn!(
                            product = %product,
                            slot_bytes = slot.bytes,
                            "the devices' smallest slot cannot be recorded for those who publish with --store: {error}"
                        );
                    }
                }
            }
        }
        Ok(())
    }
}
