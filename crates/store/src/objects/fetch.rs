//! Images as they are now: looked at for each request, and read into memory once. Where there is no room, or the storage is
//! slow, the caller streams the object by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::GetOptions;
use tokio::time::timeout;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::digest::IMAGE_MAX_BYTES;
use crate::objects::images::{Asked, Image};
use crate::objects::object::{Found, tag};

/// At most this long somebody waits for an image to be read whole; the reading goes on.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

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
            let image = Image::new(bytes, found.tag, room);
            bucket.images.keep(&found.key, &image);
            Some(image)
        });
        task.await.ok()?
    }
}

#[cfg(test)]
mod tests;
