//! Digests of objects, read out of their bytes and remembered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cause::store as causes;
use contract::Sha256;
use futures_util::TryStreamExt;
use object_store::GetOptions;
use sha2::Digest;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::explain::{Action, explain};
use crate::objects::object::{Fetched, Found, tag};

/// What is longer is no image.
pub(crate) const IMAGE_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// At most this long an image is read for its digest alone: 16 MiB on a slow line.
const READING_TIMEOUT: Duration = Duration::from_mins(10);

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

impl Bucket {
    /// The digest of the object that `found` names, remembered for as long as it is that one.
    pub(crate) async fn digest(&self, found: &Found) -> Result<Sha256, StoreError> {
        if let Some(known) = self.known_digest(found) {
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
        let mut digest = sha2::Sha256::default();
        while let Some(piece) =
            stream.try_next().await.map_err(|error| explain(&self.name(), Action::Read, &found.key, error))?
        {
            digest.update(&piece);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let bytes = Bytes::copy_from_slice(&digest);
        self.cache.keep(&key, &Fetched { bytes, tag: found.tag.clone(), mark: None });
        Ok(Sha256(digest))
    }

    /// The same if it is known already; asks for nothing.
    fn known_digest(&self, found: &Found) -> Option<Sha256> {
        let known = self.cache.get(&digest_key(found)).filter(|known| known.tag == found.tag)?;
        <[u8; 32]>::try_from(&known.bytes[..]).ok().map(Sha256)
    }

    /// The same within some time, else `None`. The reading goes on, so that it is known some time later, and whoever asks
    /// meanwhile waits for the same reading. What fails is logged.
    pub(crate) async fn digest_within(self: &Arc<Self>, found: &Found, timeout: Duration) -> Option<Sha256> {
        let known = self.known_digest(found);
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
        self.known_digest(found)
    }
}

/// Under which name the digest of an image is remembered.
fn digest_key(found: &Found) -> String {
    format!("{}#sha256", found.key)
}
