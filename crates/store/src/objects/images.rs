//! Images in memory: what many devices fetch is read once, and each gets slices of the same bytes.
//!
//! An image counts until the last slice of it is dropped, so memory is bounded however slowly anybody reads. Where there is
//! no room, or the storage is slow, the caller streams the object by itself.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::GetOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::digest::IMAGE_MAX_BYTES;
use crate::objects::object::{Found, Tag, tag};

/// Maximum size of all images in memory, those included that were replaced or forgotten and are still being sent.
const TOTAL_MAX_BYTES: usize = 64 * 1024 * 1024;
/// An image that was asked for within this time is not dropped for another one. So more images than there is room for are
/// streamed, and not read whole for each range of them.
const IN_USE: Duration = Duration::from_secs(10);
/// At most this long somebody waits for an image to be read whole; the reading goes on.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// An image in memory. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Image(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    tag: Tag,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Image {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Image {
    /// A part of it, which keeps all of it in memory.
    pub(crate) fn part(&self, range: Range<usize>) -> Bytes {
        Bytes::from_owner(self.clone()).slice(range)
    }
}

pub(crate) struct Images {
    kept: Mutex<HashMap<String, Kept>>,
    /// A permit a byte.
    room: Arc<Semaphore>,
    objects: Mutex<HashMap<String, Arc<Asked>>>,
}

/// An object that is being asked for.
#[derive(Default)]
struct Asked {
    /// How many looks at it have begun.
    looks: AtomicU64,
    /// The last look that has ended, by its number, and what it found. Locked by whoever looks.
    last: tokio::sync::Mutex<(u64, Option<Found>)>,
    /// Locked by whoever reads the image.
    reading: Arc<tokio::sync::Mutex<()>>,
}

struct Kept {
    image: Image,
    asked: Instant,
}

impl Default for Images {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(TOTAL_MAX_BYTES));
        Self { kept: Mutex::default(), room, objects: Mutex::default() }
    }
}

impl Images {
    /// The image that `found` names. Another one of this key is forgotten.
    fn get(&self, found: &Found) -> Option<Image> {
        let mut kept = self.kept();
        let known = kept.get_mut(&found.key)?;
        if known.image.0.tag != found.tag {
            kept.remove(&found.key);
            return None;
        }
        known.asked = Instant::now();
        Some(known.image.clone())
    }

    fn forget(&self, key: &str) {
        self.kept().remove(key);
    }

    fn keep(&self, key: &str, image: &Image) {
        self.kept().insert(key.to_owned(), Kept { image: image.clone(), asked: Instant::now() });
    }

    /// Room for an image; drops others that nobody uses, those first that were asked for longest ago.
    fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
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

    fn asked(&self, key: &str) -> Arc<Asked> {
        let mut objects = self.objects.lock().expect("nobody panics while holding it");
        if let Some(asked) = objects.get(key) {
            return Arc::clone(asked);
        }
        objects.retain(|_, asked| Arc::strong_count(asked) > 1);
        Arc::clone(objects.entry(key.to_owned()).or_default())
    }
}

impl Bucket {
    /// An object as it is now, and its bytes if they are in memory or come to be there soon; `None` if there is no such
    /// object.
    pub(crate) async fn image(
        self: &Arc<Self>,
        key: &str,
    ) -> Result<Option<(Found, Option<Image>)>, StoreError> {
        let asked = self.images.asked(key);
        let Some(found) = self.look(key, &asked).await? else {
            self.images.forget(key);
            return Ok(None);
        };
        let image = match self.images.get(&found) {
            None if found.size <= IMAGE_MAX_BYTES && !found.tag.0.is_empty() => {
                timeout(READ_TIMEOUT, self.read_image(&found, &asked)).await.ok().flatten()
            }
            known => known,
        };
        Ok(Some((found, image)))
    }

    /// Size and tag of an object. A look that began after this was asked for answers it, too, so that those who ask at once
    /// have the storage asked once or twice.
    async fn look(&self, key: &str, asked: &Asked) -> Result<Option<Found>, StoreError> {
        let begun = asked.looks.load(Ordering::SeqCst);
        let mut last = asked.last.lock().await;
        if last.0 <= begun {
            let number = asked.looks.fetch_add(1, Ordering::SeqCst) + 1;
            *last = (number, self.find(key).await?);
        }
        Ok(last.1.clone())
    }

    /// Reads the image that `found` names, or waits for whoever reads it. What fails is left to the caller, who has to
    /// stream it and meets the same error.
    async fn read_image(self: &Arc<Self>, found: &Found, asked: &Asked) -> Option<Image> {
        let reading = Arc::clone(&asked.reading).lock_owned().await;
        if let Some(image) = self.images.get(found) {
            return Some(image);
        }
        let room = self.images.room(found.size)?;
        let (bucket, found) = (Arc::clone(self), found.clone());
        // It goes on when the one who began it leaves: others wait for it.
        let task = tokio::spawn(async move {
            let _reading = reading;
            let result = bucket.open(&found.key, GetOptions::default()).await.ok()??;
            if tag(&result.meta) != found.tag {
                return None;
            }
            let bytes = bucket.collect(&found.key, found.size, result).await.ok()?;
            if bytes.len() as u64 != found.size {
                return None;
            }
            let image = Image(Arc::new(Inner { bytes, tag: found.tag, _room: room }));
            bucket.images.keep(&found.key, &image);
            Some(image)
        });
        task.await.ok()?
    }
}

#[cfg(test)]
mod tests;
