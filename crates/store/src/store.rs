//! The store itself: opening it, signed URLs, serving objects.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::signer::{Method, Signer};
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};
use url::Url;

use crate::objects::bucket::{Backing, Bucket, path};
use crate::objects::client::{Limits, client};
use crate::objects::explain::{Action, explain};
use crate::objects::location::Location;
use crate::objects::signed;
use crate::releases::commit::UNFINISHED_PATIENCE;
use crate::releases::layout;
use crate::{Refused, StoreError};

/// What opening a store needs besides its URL.
#[derive(Clone)]
pub struct Options {
    /// As devices reach this server; folder stores sign URLs below it.
    pub public_url: Option<Url>,
    /// What folder stores sign URLs with; 32 random bytes.
    pub signing_key: Option<[u8; 32]>,
    /// Where S3's credentials and settings are looked up: names such as `AWS_ACCESS_KEY_ID`.
    pub environment: BTreeMap<String, String>,
}

impl Default for Options {
    /// No signed URLs for folders; credentials from this process's environment.
    fn default() -> Self {
        let variables = std::env::vars_os();
        let environment = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("AWS_"))
            .collect();
        Self { public_url: None, signing_key: None, environment }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// A firmware bucket. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) patience: Duration,
    public_url: Option<Url>,
    signing_key: Option<SigningKey>,
}

#[derive(Clone)]
struct SigningKey([u8; 32]);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret")
    }
}

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
    /// The folder that a store's URL names, if there is nothing by that name; [`Self::open`] would make it.
    pub fn missing_folder(url: &str) -> Result<Option<PathBuf>, StoreError> {
        Ok(match Location::parse(url)? {
            Location::Folder(folder) if matches!(folder.try_exists(), Ok(false)) => Some(folder),
            Location::Folder(_) | Location::S3(_) => None,
        })
    }

    /// Opens `file:PATH` (made if it is not there) or `s3://bucket?region=…&endpoint=…&path_style=…`. Of S3 nothing is
    /// asked yet; see [`Self::check`].
    #[allow(clippy::unused_async, reason = "opening a store may come to ask it")]
    pub async fn open(url: &str, options: Options) -> Result<Self, StoreError> {
        let (objects, backing): (Arc<dyn ObjectStore>, Backing) = match Location::parse(url)? {
            Location::Folder(folder) => {
                let unavailable =
                    |error| explain(&format!("the folder {}", folder.display()), Action::Write, "", error);
                std::fs::create_dir_all(&folder).map_err(|error| {
                    unavailable(object_store::Error::Generic { store: "folder", source: Box::new(error) })
                })?;
                let files = LocalFileSystem::new_with_prefix(&folder).map_err(unavailable)?;
                (Arc::new(files.with_fsync(true)), Backing::Folder(folder))
            }
            Location::S3(location) => {
                let location = location.or_endpoint_of(&options.environment)?;
                let s3 = Arc::new(client(&location, &options.environment, Limits::default())?);
                (Arc::clone(&s3) as _, Backing::S3 { location, s3 })
            }
        };
        Ok(Self {
            bucket: Arc::new(Bucket::new(objects, backing)),
            patience: UNFINISHED_PATIENCE,
            public_url: options.public_url,
            signing_key: options.signing_key.map(SigningKey),
        })
    }

    /// The same store with its reads and writes going through what `wrap` makes of it: to count them, to slow them
    /// down or to cut them off.
    #[must_use]
    pub fn through(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        let backing = match &self.bucket.backing {
            Backing::Folder(folder) => Backing::Folder(folder.clone()),
            Backing::S3 { location, s3 } => Backing::S3 { location: location.clone(), s3: Arc::clone(s3) },
        };
        let objects = wrap(Arc::clone(&self.bucket.objects));
        Self { bucket: Arc::new(Bucket::new(objects, backing)), ..self }
    }

    /// The same store, which waits so long for what another publisher left unfinished; 10 s unless this is said.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether this is a folder, whose signed URLs this server answers itself.
    pub fn is_local(&self) -> bool {
        matches!(self.bucket.backing, Backing::Folder(_))
    }

    /// One sentence on what this store does not promise, once a write has found that out; `None` if there is nothing.
    pub fn warning(&self) -> Option<String> {
        self.bucket.warning()
    }

    /// Finds out what [`Self::warning`] tells, before the first write. Writes up to three times, but only to a bucket
    /// that Amazon does not serve, and leaves one small object there.
    pub async fn prepare_to_write(&self) -> Result<(), StoreError> {
        self.bucket.prepare().await
    }

    /// Whether the store answers: one request.
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.is_local() {
            return self.products().await.map(drop);
        }
        self.bucket.read("updraft-check", 0).await.map(drop)
    }

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
            return Err(StoreError::Invalid(
                "a folder store signs URLs only in a server that has a public_url and a signing key"
                    .to_owned(),
            ));
        };
        let base = base.as_str().trim_end_matches('/');
        let signature = signed::signature(signing_key, key, expires);
        Url::parse(&format!("{base}/firmware/{key}?expires={expires}&signature={signature}"))
            .map_err(|error| StoreError::Invalid(format!("public_url cannot carry a path: {error}")))
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
        let none = || StoreError::NotFound(format!("there is no {key}"));
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
                    _ => Err(StoreError::Invalid(format!(
                        "{key} has {size} bytes; bytes {range:?} are not in it"
                    ))),
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
    Err(StoreError::NotFound(format!("{key:?} is not the image of a release or of a channel")))
}
