//! Images in memory: what many devices fetch is read once, and each gets slices of the same bytes. An image counts until the
//! last slice of it is dropped, so memory is bounded however slowly anybody reads.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::objects::object::{Found, Tag};
use crate::objects::sums::Sums;

/// Maximum size of all images in memory, those included that were replaced or forgotten and are still being sent.
const TOTAL_MAX_BYTES: usize = 64 * 1024 * 1024;
/// An image that was asked for within this time is not dropped for another one. So more images than there is room for are
/// streamed, and not read whole for each range of them.
const IN_USE: Duration = Duration::from_secs(10);

/// An image in memory. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Image(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    tag: Tag,
    sums: Sums,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Image {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Image {
    /// Takes its time, for its sums.
    pub(crate) fn new(bytes: Bytes, tag: Tag, room: OwnedSemaphorePermit) -> Self {
        let sums = Sums::of(&bytes);
        Self(Arc::new(Inner { bytes, tag, sums, _room: room }))
    }

    pub(crate) fn sums(&self) -> Sums {
        self.0.sums
    }

    /// A part of it, which keeps all of it in memory.
    pub(crate) fn part(&self, range: Range<usize>) -> Bytes {
        Bytes::from_owner(self.clone()).slice(range)
    }
}

pub(crate) struct Images {
    kept: Mutex<HashMap<String, Kept>>,
    /// A permit a byte.
    room: Arc<Semaphore>,
}

struct Kept {
    image: Image,
    asked: Instant,
}

impl Default for Images {
    fn default() -> Self {
        Self { kept: Mutex::default(), room: Arc::new(Semaphore::new(TOTAL_MAX_BYTES)) }
    }
}

impl Images {
    /// The image that `found` names. Another one of this key is forgotten.
    pub(crate) fn get(&self, found: &Found) -> Option<Image> {
        let mut kept = self.kept();
        let known = kept.get_mut(&found.key)?;
        if known.image.0.tag != found.tag {
            kept.remove(&found.key);
            return None;
        }
        known.asked = Instant::now();
        Some(known.image.clone())
    }

    pub(crate) fn forget(&self, key: &str) {
        self.kept().remove(key);
    }

    pub(crate) fn keep(&self, key: &str, image: &Image) {
        self.kept().insert(key.to_owned(), Kept { image: image.clone(), asked: Instant::now() });
    }

    /// Room for an image; drops others that nobody uses, those first that were asked for longest ago.
    pub(crate) fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        let mut kept = self.kept();
        loop {
            if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) {
                return Some(room);
            }
            let idle = kept
                .iter()
                .filter(|(_, kept)| Arc::strong_count(&kept.image.0) == 1 && kept.asked.elapsed() >= IN_USE);
            let oldest = idle.min_by_key(|(_, kept)| kept.asked).map(|(key, _)| key.clone())?;
            kept.remove(&oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests;
