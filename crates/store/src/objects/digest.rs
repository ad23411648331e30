//! Digests of objects, read out of their bytes and remembered.

use std::sync::Arc;
use std::time::Duration;

use cause::store as causes;
use contract::Sha256;
use futures_util::TryStreamExt;
use md5::Md5;
use object_store::GetOptions;
use sha2::Digest;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::explain::{Action, explain};
use crate::objects::object::{Fetched, Found, tag};
use crate::objects::sums::Sums;

/// What is longer is no image.
pub(crate) const IMAGE_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// At most this long an image is read for its digest alone: 16 MiB on a slow line.
const READING_TIMEOUT: Duration = Duration::from_mins(10);

impl Bucket {
    /// The digest of the object that `found` names, remembered for as long as it is that one.
    pub(crate) async fn digest(&self, found: &Found) -> Result<Sha256, StoreError> {
        self.sums(found).await.map(|sums| sums.sha256)
    }

    async fn sums(&self, found: &Found) -> Result<Sums, StoreError> {
        if let Some(known) = self.known_sums(found) {
            return Ok(known);
        }
        let key = digest_key(found);
        if found.size > IMAGE_MAX_BYTES {
            return Err(StoreError::corrupt(
                causes::IMAGE_TOO_LONG.naming("key", &found.key).with("size", found.size),
            ));
        }
        let replaced = || StoreError::corrupt(causes::REPLACED.naming("key", &found.key));
        let result = self.open(&found.key, GetOptions::default()).await?.ok_or_else(replaced)?;
        if tag(&result.meta) != found.tag {
            return Err(replaced());
        }
        let mut stream = result.into_stream();
        let (mut digest, mut md5) = (sha2::Sha256::default(), Md5::default());
        while let Some(piece) =
            stream.try_next().await.map_err(|error| explain(&self.name(), Action::Read, &found.key, error))?
        {
            digest.update(&piece);
            md5.update(&piece);
        }
        let sums = Sums { sha256: Sha256(digest.finalize().into()), md5: md5.finalize().into() };
        self.cache.keep(&key, &Fetched { bytes: sums.to_bytes(), tag: found.tag.clone(), mark: None });
        Ok(sums)
    }

    /// The same if it is known already; asks for nothing.
    fn known_sums(&self, found: &Found) -> Option<Sums> {
        let known = self.cache.get(&digest_key(found)).filter(|known| known.tag == found.tag)?;
        Sums::from_bytes(&known.bytes)
    }

    /// The same within some time, else `None`. The reading goes on, so that it is known some time later, and whoever asks
    /// meanwhile waits for the same reading. What fails is logged.
    pub(crate) async fn digest_within(self: &Arc<Self>, found: &Found, timeout: Duration) -> Option<Sha256> {
        self.sums_within(found, timeout).await.map(|sums| sums.sha256)
    }

    pub(crate) async fn sums_within(self: &Arc<Self>, found: &Found, timeout: Duration) -> Option<Sums> {
        let known = self.known_sums(found);
        if known.is_some() {
            return known;
        }
        let (bucket, name) = (Arc::clone(self), found.clone());
        let reading = self.readings.of(&digest_key(found));
        let read = reading.join(async move {
            let read = tokio::time::timeout(READING_TIMEOUT, bucket.digest(&name)).await;
            let read = read.map_err(|_| "the store takes too long".to_owned());
            if let Err(why) = read.and_then(|read| read.map_err(|error| error.to_string())) {
                tracing::warn!(store.key = name.key, "the image's digest stays unknown: {why}");
            }
        });
        let _ = tokio::time::timeout(timeout, read).await;
        self.known_sums(found)
    }
}

/// Under which name the digest of an image is remembered.
fn digest_key(found: &Found) -> String {
    format!("{}#sha256", found.key)
}
