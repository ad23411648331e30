//! Recording the smallest slot of each product's devices in its `product.json`, for those who work on the store alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use contract::ProductName;

use super::service::Releases;
use crate::db::{Db, meta};
use crate::error::Error;

/// Maximum number of own values that are remembered for a file.
const WRITTEN_MAX: usize = 8;
/// How long the next write to the same file waits after one that failed.
const RETRY_AFTER: Duration = Duration::from_mins(10);

#[derive(Debug, Default)]
pub(crate) struct RecordedSlots(HashMap<ProductName, Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    /// The smallest slot that was written since the start.
    smallest: Option<u32>,
    /// What may ever have been written, as the database remembers; the newest last. Any other number in the file is
    /// somebody's own.
    written: Vec<u32>,
    /// When the file could not be written last.
    failed: Option<Instant>,
}

impl Recorded {
    /// What a process before this one has written.
    async fn remembered(db: &Db, product: &ProductName) -> Result<Self, Error> {
        let written = db.meta(&remembered_as(product)).await?.unwrap_or_default();
        let written = written.split(' ').filter_map(|number| number.parse().ok()).collect();
        Ok(Self { written, ..Self::default() })
    }

    async fn remember(&self, db: &Db, product: &ProductName) -> Result<(), Error> {
        let written: Vec<String> = self.written.iter().map(u32::to_string).collect();
        let write = db.write().await?;
        write.set_meta(&remembered_as(product), &written.join(" ")).await?;
        Ok(write.commit().await?)
    }

    fn is_due(&self, smallest: u32) -> bool {
        self.smallest != Some(smallest) && self.failed.is_none_or(|failed| failed.elapsed() > RETRY_AFTER)
    }

    /// Before it is written: killed after that, the next process knows whose number it is.
    fn add(&mut self, smallest: u32) {
        self.written.retain(|written| *written != smallest);
        self.written.push(smallest);
        let surplus = self.written.len().saturating_sub(WRITTEN_MAX);
        self.written.drain(..surplus);
    }
}

fn remembered_as(product: &ProductName) -> String {
    format!("{}{product}", meta::RECORDED_SLOTS)
}

impl Releases {
    /// Writes what has changed into the `product.json` of the products that lie in the store. A server that may not write
    /// there says so once and goes on: its own gate asks the devices.
    pub(crate) async fn record_slots(&self, slots: &mut RecordedSlots) -> Result<(), Error> {
        for product in self.mirror().products().into_keys() {
            let Some(slot) = self.smallest_slot(&product).await? else { continue };
            let recorded = match slots.0.entry(product.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Recorded::remembered(&self.0.db, &product).await?),
            };
            if !recorded.is_due(slot.bytes) {
                continue;
            }
            if recorded.written != [slot.bytes] {
                recorded.add(slot.bytes);
                recorded.remember(&self.0.db, &product).await?;
            }
            match self.0.store.record_slot(&product, slot.bytes, &recorded.written).await {
                Ok(_) => {
                    let is_sure = recorded.written == [slot.bytes];
                    *recorded =
                        Recorded { smallest: Some(slot.bytes), written: vec![slot.bytes], failed: None };
                    if !is_sure {
                        recorded.remember(&self.0.db, &product).await?;
                    }
                }
                Err(error) => {
                    if recorded.failed.replace(Instant::now()).is_none() {
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
