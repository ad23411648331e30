//! The store itself: how it is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::{Host, Url};

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket, Writers};
use crate::objects::client::client;
use crate::objects::explain::{Action, explain, explain_io};
use crate::objects::listing;
use crate::objects::location::Location;
use crate::objects::settings::Limits;

/// How old another publisher's unfinished image is before it may be replaced: far more than reading an image back and
/// two small writes take on a slow line.
const UNFINISHED_AFTER: Duration = Duration::from_mins(10);

/// What opening a store needs besides its URL.
#[derive(Clone)]
pub struct Options {
    /// As devices reach this server; folder stores sign URLs below it.
    pub public_url: Option<Url>,
    /// What folder stores sign URLs with; 32 random bytes.
    pub signing_key: Option<[u8; 32]>,
    /// Where S3's credentials and settings are looked up: names such as `AWS_ACCESS_KEY_ID`.
    pub environment: BTreeMap<String, String>,
    /// Who else may write to the store.
    pub writers: Writers,
}

impl Default for Options {
    /// No signed URLs for folders; credentials from this process's environment; others may write.
    fn default() -> Self {
        let variables = std::env::vars_os();
        let environment = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("AWS_"))
            .collect();
        Self { public_url: None, signing_key: None, environment, writers: Writers::Many }
    }
}

/// A firmware bucket. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) bucket: Arc<Bucket>,
    /// How old an unfinished image is before it counts as left over.
    pub(crate) unfinished_after: Duration,
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
    #[crate::boxed]
    pub async fn open(url: &str, options: Options) -> Result<Self, StoreError> {
        let (objects, backing): (Arc<dyn ObjectStore>, Backing) = match Location::parse(url)? {
            Location::Folder(folder) => {
                let place = format!("the folder {}", folder.display());
                std::fs::create_dir_all(&folder)
                    .map_err(|error| explain_io(&place, Action::Write, "", error))?;
                let files = LocalFileSystem::new_with_prefix(&folder);
                let files = files.map_err(|error| explain(&place, Action::Write, "", error))?;
                (Arc::new(files.with_fsync(true)), Backing::Folder(folder))
            }
            Location::S3(location) => {
                let location = location.or_endpoint_of(&options.environment)?;
                let s3 = Arc::new(client(&location, &options.environment, Limits::default())?);
                let for_devices = match &location.device_endpoint {
                    Some(_) => {
                        Arc::new(client(&location.for_devices(), &options.environment, Limits::default())?)
                    }
                    None => Arc::clone(&s3),
                };
                (Arc::clone(&s3) as _, Backing::S3 { location, s3, for_devices })
            }
        };
        Ok(Self {
            bucket: Arc::new(Bucket::new(objects, backing, options.writers)),
            unfinished_after: UNFINISHED_AFTER,
            public_url: options.public_url,
            signing_key: options.signing_key.map(SigningKey),
        })
    }

    /// Where it lies, without credentials.
    pub fn location(&self) -> String {
        match &self.bucket.backing {
            Backing::Folder(folder) => format!("file:{}", folder.display()),
            Backing::S3 { location, .. } => {
                let endpoint = location.endpoint.as_ref();
                let host = endpoint.and_then(Url::host_str).unwrap_or("amazonaws.com");
                let port = endpoint.and_then(Url::port_or_known_default).unwrap_or(443);
                format!("s3://{host}:{port}/{}", location.bucket)
            }
        }
    }

    /// The host that devices are sent to for its images; `None` for Amazon's.
    pub fn device_host(&self) -> Option<Host> {
        let url = match &self.bucket.backing {
            Backing::Folder(_) => self.public_url.clone(),
            Backing::S3 { location, .. } => location.for_devices().endpoint,
        };
        url?.host().map(|host| host.to_owned())
    }

    /// Whether this is a folder, whose signed URLs this server answers itself.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.bucket.backing, Backing::Folder(_))
    }

    /// Finds out before the first write whether the server has conditional writes. Writes up to three times, but only to a
    /// bucket that Amazon does not serve, and leaves one small object there.
    #[crate::boxed]
    pub async fn prepare_to_write(&self) -> Result<(), StoreError> {
        if self.is_local() { Ok(()) } else { self.bucket.conditions().await.map(drop) }
    }

    /// Whether the store answers: one request.
    #[crate::boxed]
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.is_local() {
            return listing::folders(&self.bucket, "").await.map(drop);
        }
        self.bucket.read("updraft-check", 0).await.map(drop)
    }
}
