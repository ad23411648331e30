//! Images on their way out: signed URLs, and the bytes of what may be fetched.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cause::store as causes;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::signer::{Method, Signer};
use object_store::{GetOptions, GetRange, GetResult};
use url::Url;

use crate::error::StoreError;
use crate::objects::bucket::Backing;
use crate::objects::explain::{Action, explain};
use crate::objects::object::path;
use crate::objects::signed::{self, Refused};
use crate::releases::layout;
use crate::store::{SigningKey, Store};

/// An image on its way out.
pub struct Object {
    /// The size of the whole object, in bytes.
    pub size: u64,
    /// Which bytes of it [`Self::stream`] gives.
    pub range: Range<u64>,
    /// A strong ETag, with its quotes.
    pub etag: String,
    /// The bytes.
    pub stream: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("size", &self.size).field("range", &self.range).finish_non_exhaustive()
    }
}

impl Store {
    /// A URL by which anyone can fetch the image at `key` for a while, 60 to 3600 s. It is a secret.
    pub async fn sign(&self, key: &str, lifetime: Duration) -> Result<Url, StoreError> {
        signed::check_lifetime(lifetime)?;
        servable(key)?;
        match &self.bucket.backing {
            Backing::S3 { s3, .. } => s3
                .signed_url(Method::GET, &path(key)?, lifetime)
                .await
                .map_err(|error| explain(&self.bucket.name(), Action::Read, key, error)),
            Backing::Folder(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.sign_local(key, i64::try_from((now + lifetime).as_secs()).unwrap_or(i64::MAX))
            }
        }
    }

    fn sign_local(&self, key: &str, expires: i64) -> Result<Url, StoreError> {
        let (Some(base), Some(SigningKey(signing_key))) = (&self.public_url, &self.signing_key) else {
            return Err(StoreError::Invalid(causes::CANNOT_SIGN.cause()));
        };
        let base = base.as_str().trim_end_matches('/');
        let signature = signed::signature(signing_key, key, expires);
        Url::parse(&format!("{base}/firmware/{key}?expires={expires}&signature={signature}"))
            .map_err(|error| StoreError::Invalid(causes::PUBLIC_URL.naming("why", error)))
    }

    /// Checks a signed URL of the folder store: what stands after `/firmware/`, and the two parameters.
    pub fn verify_local(
        &self,
        path: &str,
        expires: &str,
        signature: &str,
        now_unix: i64,
    ) -> Result<(), Refused> {
        match &self.signing_key {
            Some(SigningKey(key)) if self.is_local() && layout::is_servable(path) => {
                signed::verify(key, path, expires, signature, now_unix)
            }
            _ => Err(Refused::Tampered),
        }
    }

    /// Opens an image for streaming, whole or in part. A range that begins beyond the end is `Invalid`; one that ends
    /// beyond it is cut. Keys that are not those of images are `NotFound`.
    pub async fn object(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        servable(key)?;
        let none = || StoreError::NotFound(causes::NO_SUCH_KEY.with("key", key));
        // One request, so that size and bytes are of the same object; only for a range that is not in it is more asked.
        let options = GetOptions { range: range.clone().map(GetRange::Bounded), ..GetOptions::default() };
        let is_empty = range.as_ref().is_some_and(Range::is_empty);
        let opened = if is_empty { None } else { Some(self.bucket.open(key, options).await) };
        match opened {
            Some(Ok(Some(result))) => Ok(self.stream(key, result)),
            Some(Ok(None)) => Err(none()),
            Some(Err(error)) if range.is_none() => Err(error),
            refused => {
                let size = self.bucket.find(key).await?.ok_or_else(none)?.size;
                let range = range.unwrap_or_default();
                match refused {
                    Some(Err(error)) if range.start < size => Err(error),
                    _ => Err(StoreError::Invalid(
                        causes::RANGE
                            .with("key", key)
                            .with("size", size)
                            .naming("range", format!("{range:?}")),
                    )),
                }
            }
        }
    }

    fn stream(&self, key: &str, result: GetResult) -> Object {
        let (size, range) = (result.meta.size, result.range.clone());
        // A weak tag promises too little for a download that is continued.
        let etag = result.meta.e_tag.clone().unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        let (name, key) = (self.bucket.name(), key.to_owned());
        let etag = format!("\"{etag}\"");
        let stream = result
            .into_stream()
            .map(move |piece| piece.map_err(|error| explain(&name, Action::Read, &key, error)));
        Object { size, range, etag, stream: stream.boxed() }
    }
}

fn servable(key: &str) -> Result<(), StoreError> {
    if layout::is_servable(key) {
        return Ok(());
    }
    Err(StoreError::NotFound(causes::NOT_AN_IMAGES_KEY.naming("key", format!("{key:?}"))))
}
