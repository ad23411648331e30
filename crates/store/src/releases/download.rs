//! Images on their way out: signed URLs, and the bytes of what may be fetched.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cause::store as causes;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::GetOptions;
use object_store::signer::{Method, Signer};
use url::Url;

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::explain::{Action, explain};
use crate::objects::images::Image;
use crate::objects::object::{Found, path, tag};
use crate::objects::signed::{self, Refused};
use crate::objects::sums::Sums;
use crate::releases::layout;
use crate::store::{SigningKey, Store};

/// At most this long an image that is not in memory is waited for to be read for its sums.
const SUMS_TIMEOUT: Duration = Duration::from_secs(1);

/// An image on its way out, as it was when it was asked for.
pub struct Object {
    /// The size of the whole object, in bytes.
    pub size: u64,
    /// A strong ETag, with its quotes; empty where the storage names no content.
    pub etag: String,
    /// Known once it was read, which takes a moment the first time.
    pub sums: Option<Sums>,
    found: Found,
    image: Option<Image>,
    bucket: Arc<Bucket>,
}

/// Bytes of an [`Object`].
pub enum Content {
    /// A slice of what others are sent too.
    Kept(Bytes),
    /// From the storage, piece by piece.
    Streamed(BoxStream<'static, Result<Bytes, StoreError>>),
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Object {
    /// A part of it, which has to lie within it; `None` if the object was replaced meanwhile.
    #[crate::boxed]
    pub async fn read(&self, range: Range<u64>) -> Result<Option<Content>, StoreError> {
        if let Some(image) = &self.image {
            let at = |offset: u64| usize::try_from(offset.min(self.size)).unwrap_or_default();
            return Ok(Some(Content::Kept(image.part(at(range.start)..at(range.end)))));
        }
        let (name, key) = (self.bucket.name(), self.found.key.clone());
        let (tag, stream) = if range == (0..self.size) {
            let Some(all) = self.bucket.open(&key, GetOptions::default()).await? else { return Ok(None) };
            (tag(&all.meta), all.into_stream())
        } else {
            let Some(part) = self.bucket.part(&key, range).await? else { return Ok(None) };
            (part.tag, part.stream)
        };
        if tag != self.found.tag {
            return Ok(None);
        }
        let stream =
            stream.map(move |piece| piece.map_err(|error| explain(&name, Action::Read, &key, error)));
        Ok(Some(Content::Streamed(stream.boxed())))
    }
}

impl Store {
    /// A URL by which anyone can fetch the image at `key` for a while, 60 to 3600 s. It is a secret.
    #[crate::boxed]
    pub async fn sign(&self, key: &str, lifetime: Duration) -> Result<Url, StoreError> {
        self.sign_for(key, lifetime, None).await
    }

    /// The same, with what it is for, a number that [`Self::verify_local`] gives back. A bucket's URL does not carry it.
    #[crate::boxed]
    pub async fn sign_for(
        &self,
        key: &str,
        lifetime: Duration,
        purpose: Option<u32>,
    ) -> Result<Url, StoreError> {
        signed::check_lifetime(lifetime)?;
        servable(key)?;
        match &self.bucket.backing {
            Backing::S3 { for_devices, .. } => for_devices
                .signed_url(Method::GET, &path(key)?, lifetime)
                .await
                .map_err(|error| explain(&self.bucket.name(), Action::Read, key, error)),
            Backing::Folder(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.sign_local(key, i64::try_from((now + lifetime).as_secs()).unwrap_or(i64::MAX), purpose)
            }
        }
    }

    fn sign_local(&self, key: &str, expires: i64, purpose: Option<u32>) -> Result<Url, StoreError> {
        let (Some(base), Some(SigningKey(signing_key))) = (&self.public_url, &self.signing_key) else {
            return Err(StoreError::Invalid(causes::CANNOT_SIGN.cause()));
        };
        let base = base.as_str().trim_end_matches('/');
        let signature = signed::signature(signing_key, key, expires, purpose);
        Url::parse(&format!("{base}/firmware/{key}?expires={expires}&signature={signature}"))
            .map_err(|error| StoreError::Invalid(causes::PUBLIC_URL.naming("why", error)))
    }

    /// Checks a signed URL of the folder store: what stands after `/firmware/`, and the two parameters. Answers what it is for, if
    /// that was said.
    pub fn verify_local(
        &self,
        path: &str,
        expires: &str,
        signature: &str,
        now_unix: i64,
    ) -> Result<Option<u32>, Refused> {
        match &self.signing_key {
            Some(SigningKey(key)) if self.is_local() && layout::is_servable(path) => {
                signed::verify(key, path, expires, signature, now_unix)
            }
            _ => Err(Refused::Tampered),
        }
    }

    /// Finds an image that may be fetched. Keys that are not those of images are `NotFound`.
    #[crate::boxed]
    pub async fn object(&self, key: &str) -> Result<Object, StoreError> {
        servable(key)?;
        let image = self.bucket.image(key).await?;
        let (found, image) =
            image.ok_or_else(|| StoreError::NotFound(causes::NO_SUCH_KEY.with("key", key)))?;
        // A weak tag promises too little for a download that is continued.
        let etag = found.tag.quoted();
        let sums = match &image {
            Some(image) => Some(image.sums()),
            None => self.bucket.sums_within(&found, SUMS_TIMEOUT).await,
        };
        Ok(Object { size: found.size, etag, sums, found, image, bucket: Arc::clone(&self.bucket) })
    }
}

fn servable(key: &str) -> Result<(), StoreError> {
    if layout::is_servable(key) {
        return Ok(());
    }
    Err(StoreError::NotFound(causes::NOT_AN_IMAGES_KEY.naming("key", format!("{key:?}"))))
}
