//! The store itself: how it is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cause::Cause;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::client::client;
use crate::objects::explain::{Action, explain};
use crate::objects::listing;
use crate::objects::location::Location;
use crate::objects::settings::Limits;

/// At most this long another publisher's unfinished release is waited for: a few times what reading an image back and
/// three small writes take on a slow line.
const UNFINISHED_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// How long is waited for what another publisher left unfinished.
    pub(crate) unfinished_timeout: Duration,
    pub(crate) public_url: Option<Url>,
    pub(crate) signing_key: Option<SigningKey>,
}

#[derive(Clone)]
pub(crate) struct SigningKey(pub(crate) [u8; 32]);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret")
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
            unfinished_timeout: UNFINISHED_TIMEOUT,
            public_url: options.public_url,
            signing_key: options.signing_key.map(SigningKey),
        })
    }

    /// The same store with its reads and writes going through what `wrap` makes of it: to count them, to slow them
    /// down or to cut them off.
    #[must_use]
    pub fn through(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        let (objects, backing) = (wrap(Arc::clone(&self.bucket.objects)), self.bucket.backing.clone());
        Self { bucket: Arc::new(Bucket::new(objects, backing)), ..self }
    }

    /// The same store, which waits so long for what another publisher left unfinished; 10 s unless this is said.
    #[must_use]
    pub fn with_unfinished_timeout(self, unfinished_timeout: Duration) -> Self {
        Self { unfinished_timeout, ..self }
    }

    /// Whether this is a folder, whose signed URLs this server answers itself.
    pub fn is_local(&self) -> bool {
        matches!(self.bucket.backing, Backing::Folder(_))
    }

    /// What this store does not promise, once a write has found that out; `None` if there is nothing.
    pub fn warning(&self) -> Option<Cause> {
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
            return listing::folders(&self.bucket, "").await.map(drop);
        }
        self.bucket.read("updraft-check", 0).await.map(drop)
    }
}
