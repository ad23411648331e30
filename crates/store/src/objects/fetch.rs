//! Images as they are now: looked at for each request, and read into memory once. Where there is no room, or the storage is
//! slow, the caller streams the object by itself.

use std::sync::Arc;
use std::time::Duration;

use object_store::GetOptions;
use tokio::time::timeout;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::digest::IMAGE_MAX_BYTES;
use crate::objects::images::Image;
use crate::objects::object::{Found, tag};
use crate::tasks::{broke_off, off_the_async_threads};

/// At most this long somebody waits for an image to be read whole; the reading goes on.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

impl Bucket {
    /// An object as it is now, and its bytes if they are in memory or come to be there soon; `None` if there is no such
    /// object.
    pub(crate) async fn image(
        self: &Arc<Self>,
        key: &str,
    ) -> Result<Option<(Found, Option<Image>)>, StoreError> {
        let Some(found) = self.look(key).await? else {
            self.images.forget(key);
            return Ok(None);
        };
        let image = match self.images.get(&found) {
            None if found.size <= IMAGE_MAX_BYTES && !found.tag.0.is_empty() => {
                let reading = self.readings.of(key);
                let is_read = |_: &_| self.images.get(&found).is_some();
                let read = reading.get(is_read, Arc::clone(self).read_image(found.clone()));
                // What fails is left to the caller, who has to stream it and meets the same error.
                let _ = timeout(READ_TIMEOUT, read).await;
                self.images.get(&found)
            }
            known => known,
        };
        Ok(Some((found, image)))
    }

    /// Size and tag of an object. Those who ask at once have the storage asked once or twice.
    async fn look(self: &Arc<Self>, key: &str) -> Result<Option<Found>, StoreError> {
        let (bucket, name) = (Arc::clone(self), key.to_owned());
        let found = self.looks.of(key).fresh(async move { bucket.find(&name).await }).await;
        found.unwrap_or_else(|| Err(broke_off()))
    }

    /// Reads the image that `found` names, if there is room for it.
    async fn read_image(self: Arc<Self>, found: Found) {
        let Some(room) = self.images.room(found.size) else { return };
        let Ok(Some(result)) = self.open(&found.key, GetOptions::default()).await else { return };
        if tag(&result.meta) != found.tag {
            return;
        }
        let Ok(bytes) = self.collect(&found.key, found.size, result).await else { return };
        if bytes.len() as u64 == found.size {
            let made = off_the_async_threads(move || Image::new(bytes, found.tag, room)).await;
            let Ok(image) = made else { return };
            self.images.keep(&found.key, &image);
        }
    }
}

#[cfg(test)]
mod tests;
