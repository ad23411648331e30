//! The smallest slot of each product's devices: what the gate lets through, and what `product.json` says of it for
//! those who work on the store alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use contract::ProductName;
use store::Slot;

use super::{App, AppError};
use crate::db::{device, meta};

/// Partitions for applications lie on borders of 64 KiB, so that no slot is smaller, and no flash that these chips run from
/// has more than 16 MiB: a device that reports anything else is wrong, and must not keep every image from being published.
pub(crate) const SLOT_SIZES: RangeInclusive<u32> = 0x1_0000..=0x100_0000;
/// So many numbers that a file may have from this server are remembered.
const TOLD_MAX: usize = 8;
/// After a write that failed, the next one to the same file waits so long.
const RETRY_AFTER: Duration = Duration::from_mins(10);

/// What this server has written into `product.json`, or found there.
#[derive(Debug, Default)]
pub(crate) struct Taught(HashMap<ProductName, Lesson>);

#[derive(Debug, Default)]
struct Lesson {
    /// The smallest slot that the file was told of since the start.
    smallest: Option<u32>,
    /// What it may have been told of ever, as the database remembers; the newest last. Any other number that stands there
    /// is somebody's own.
    told: Vec<u32>,
    /// When the file could not be written last.
    failed: Option<Instant>,
}

impl Lesson {
    /// Whether the file is to be told of this one now.
    fn is_due(&self, smallest: u32) -> bool {
        self.smallest != Some(smallest) && self.failed.is_none_or(|failed| failed.elapsed() > RETRY_AFTER)
    }
}

impl Lesson {
    /// What a process before this one told.
    async fn remembered(app: &App, product: &ProductName) -> Result<Self, AppError> {
        let told = app.db().meta(&remembered_as(product)).await?.unwrap_or_default();
        let told = told.split(' ').filter_map(|number| number.parse().ok()).collect();
        Ok(Self { told, ..Self::default() })
    }

    async fn remember(&self, app: &App, product: &ProductName) -> Result<(), AppError> {
        let told: Vec<String> = self.told.iter().map(u32::to_string).collect();
        let write = app.db().write().await?;
        write.set_meta(&remembered_as(product), &told.join(" ")).await?;
        Ok(write.commit().await?)
    }

    /// Before it is written: killed after that, the next process knows whose number it is.
    fn tell(&mut self, smallest: u32) {
        self.told.retain(|told| *told != smallest);
        self.told.push(smallest);
        let surplus = self.told.len().saturating_sub(TOLD_MAX);
        self.told.drain(..surplus);
    }
}

fn remembered_as(product: &ProductName) -> String {
    format!("{}{product}", meta::TAUGHT_SLOTS)
}

impl App {
    /// The smallest slot that the product's devices report, of those that can be one.
    pub(super) async fn smallest_slot(&self, product: &ProductName) -> Result<Option<Slot>, AppError> {
        let smallest = device::smallest_slot(self.db(), product, &SLOT_SIZES).await?;
        Ok(smallest.map(|(device, bytes)| Slot { bytes, device: Some(device.as_str().to_owned()) }))
    }

    /// Writes what has changed into the `product.json` of the products that lie in the store. A server that may not write
    /// there says so once and goes on: its own gate asks the devices.
    pub(crate) async fn teach_slots(&self, taught: &mut Taught) -> Result<(), AppError> {
        for product in self.catalog().products().into_keys() {
            let Some(slot) = self.smallest_slot(&product).await? else { continue };
            let lesson = match taught.0.entry(product.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Lesson::remembered(self, &product).await?),
            };
            if !lesson.is_due(slot.bytes) {
                continue;
            }
            if lesson.told != [slot.bytes] {
                lesson.tell(slot.bytes);
                lesson.remember(self, &product).await?;
            }
            match self.store().record_slot(&product, slot.bytes, &lesson.told).await {
                Ok(_) => {
                    let is_sure = lesson.told == [slot.bytes];
                    *lesson = Lesson { smallest: Some(slot.bytes), told: vec![slot.bytes], failed: None };
                    if !is_sure {
                        lesson.remember(self, &product).await?;
                    }
                }
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
