//! One way to read, whether a bucket or a folder is behind it; [`crate::objects::put`] is how it is written.
//!
//! Reads are bounded, and what has not changed is not sent again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore};
use sha2::Digest;
use tokio::sync::{OnceCell, watch};

use crate::objects::conditions::Conditions;
use crate::objects::explain::{Action, explain};
use crate::objects::put::MARK;
use crate::{StoreError, objects::location::S3Location};

/// What is kept of small objects, so that an unchanged one is not sent again.
const CACHE_MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long an image may take that is read for its digest alone: 16 MiB on a slow line.
const READING_PATIENCE: Duration = Duration::from_mins(10);

/// The version of one object's content, as the storage names it; S3's ETag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) String);

/// An object that was read.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) tag: Tag,
    /// Which image it says that it was created for; see [`mark_of`].
    pub(crate) mark: Option<String>,
}

impl Fetched {
    /// What it takes to keep it.
    fn weight(&self, key: &str) -> usize {
        key.len() + self.bytes.len() + self.mark.as_ref().map_or(0, String::len)
    }
}

/// What a bounded read found.
#[derive(Debug, Clone)]
pub(crate) enum Read {
    Missing,
    /// Longer than it may be; not read.
    TooLong(Found),
    Found(Fetched),
}

/// An object whose content was not read.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) tag: Tag,
    /// When it was written, where that was told.
    pub(crate) modified: Option<DateTime<Utc>>,
}

/// What is behind the store.
pub(crate) enum Backing {
    Folder(PathBuf),
    S3 { location: S3Location, s3: Arc<AmazonS3> },
}

/// A bucket or a folder.
pub(crate) struct Bucket {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) backing: Backing,
    cache: Mutex<Cache>,
    /// Images that are being read for their digest, by key.
    readings: Mutex<HashMap<String, watch::Receiver<()>>>,
    /// Held by this process's one writer of each thing where the server has no conditions.
    pub(crate) writing: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) known_conditions: OnceCell<Conditions>,
}

/// Small objects as they were last read, by key.
#[derive(Default)]
struct Cache {
    kept: HashMap<String, Fetched>,
    bytes: usize,
}

impl Cache {
    fn forget(&mut self, key: &str) {
        if let Some(old) = self.kept.remove(key) {
            self.bytes -= old.weight(key);
        }
    }

    fn keep(&mut self, key: &str, fetched: &Fetched) {
        self.forget(key);
        let bytes = fetched.weight(key);
        if self.bytes + bytes > CACHE_MAX_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
        self.kept.insert(key.to_owned(), fetched.clone());
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Bucket {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, backing: Backing) -> Self {
        Self {
            objects,
            backing,
            cache: Mutex::default(),
            readings: Mutex::default(),
            writing: Mutex::default(),
            known_conditions: OnceCell::new(),
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match &self.backing {
            Backing::Folder(folder) => format!("the folder {}", folder.display()),
            Backing::S3 { location, .. } => format!("the bucket {}", location.bucket),
        }
    }

    /// Reads an object afresh.
    pub(crate) async fn read(&self, key: &str, limit: u64) -> Result<Read, StoreError> {
        self.read_unless(key, limit, None).await
    }

    /// Reads a small object; what is still as it was last time is not sent again, but it is asked for.
    pub(crate) async fn read_small(&self, key: &str, limit: u64) -> Result<Read, StoreError> {
        let known = self.cached(key);
        let read = self.read_unless(key, limit, known.as_ref()).await?;
        match &read {
            Read::Found(fetched) => self.keep(key, fetched),
            Read::Missing | Read::TooLong(_) => self.forget(key),
        }
        Ok(read)
    }

    /// Reads a small object of which a listing has just told the tag: asks for it only if it is not known.
    pub(crate) async fn read_listed(&self, found: &Found, limit: u64) -> Result<Read, StoreError> {
        match self.cached(&found.key) {
            Some(known) if known.tag == found.tag => Ok(Read::Found(known)),
            _ => self.read_small(&found.key, limit).await,
        }
    }

    /// The same for an object whose mark matters. No tag covers a mark, and times of S3 are of whole seconds; but another
    /// mark is another image's, which lies `beside` it and has another tag. So all three are what it is remembered by.
    pub(crate) async fn read_listed_mark(
        &self,
        found: &Found,
        beside: &Found,
        limit: u64,
    ) -> Result<Read, StoreError> {
        let name = format!("{}#mark", found.key);
        let state = Tag(format!("{} {:?} {}", found.tag.0, found.modified, beside.tag.0));
        if let Some(known) = self.cached(&name).filter(|known| known.tag == state) {
            return Ok(Read::Found(known));
        }
        let read = self.read(&found.key, limit).await?;
        match &read {
            Read::Found(fetched) => self.keep(&name, &Fetched { tag: state, ..fetched.clone() }),
            Read::Missing | Read::TooLong(_) => self.forget(&name),
        }
        Ok(read)
    }

    async fn read_unless(&self, key: &str, limit: u64, known: Option<&Fetched>) -> Result<Read, StoreError> {
        let options =
            GetOptions { if_none_match: known.map(|known| known.tag.0.clone()), ..GetOptions::default() };
        let result = match self.objects.get_opts(&path(key)?, options).await {
            Ok(result) => result,
            Err(object_store::Error::NotModified { .. }) if known.is_some() => {
                return Ok(known.cloned().map_or(Read::Missing, Read::Found));
            }
            Err(error) => return self.missing(key, error).map(|()| Read::Missing),
        };
        if result.meta.size > limit {
            return Ok(Read::TooLong(found(&result.meta)));
        }
        let (tag, mark) = (tag(&result.meta), mark_of(&result));
        Ok(Read::Found(Fetched { bytes: self.collect(key, limit, result).await?, tag, mark }))
    }

    /// The first bytes of an object, `length` or as many as there are.
    pub(crate) async fn read_beginning(&self, key: &str, length: u64) -> Result<Bytes, StoreError> {
        let range = Some(GetRange::Bounded(0..length));
        let options = GetOptions { range, ..GetOptions::default() };
        match self.objects.get_opts(&path(key)?, options).await {
            Ok(result) => self.collect(key, length, result).await,
            // Also the answer to a range of an empty object.
            Err(error) => Err(explain(&self.name(), Action::Read, key, error)),
        }
    }

    async fn collect(&self, key: &str, limit: u64, result: GetResult) -> Result<Bytes, StoreError> {
        // All at once: to grow is to copy, which for an image takes milliseconds.
        let expected = (result.range.end - result.range.start).min(limit);
        let mut bytes = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0));
        let mut stream = result.into_stream();
        while let Some(piece) =
            stream.try_next().await.map_err(|error| explain(&self.name(), Action::Read, key, error))?
        {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit {
                return Err(StoreError::damaged(format!(
                    "{key} grew beyond {limit} bytes while it was read"
                )));
            }
        }
        Ok(bytes.freeze())
    }

    /// Size and tag of an object, without its content.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Found>, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        Ok(self.open(key, options).await?.map(|result| found(&result.meta)))
    }

    /// Opens an object, for streaming or to see what it is.
    pub(crate) async fn open(&self, key: &str, options: GetOptions) -> Result<Option<GetResult>, StoreError> {
        let is_head = options.head;
        match self.objects.get_opts(&path(key)?, options).await {
            Ok(result) => Ok(Some(result)),
            Err(error) if is_head => {
                let error = self.reason(key, error).await?;
                self.missing(key, error).map(|()| None)
            }
            Err(error) => self.missing(key, error).map(|()| None),
        }
    }

    /// The same error with its reason: the answer to HEAD has no body, in which S3 would say it.
    async fn reason(&self, key: &str, error: object_store::Error) -> Result<object_store::Error, StoreError> {
        let is_mute = matches!(self.backing, Backing::S3 { .. })
            && !matches!(
                error,
                object_store::Error::NotFound { .. } | object_store::Error::NotModified { .. }
            );
        if !is_mute {
            return Ok(error);
        }
        let options = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        Ok(self.objects.get_opts(&path(key)?, options).await.err().unwrap_or(error))
    }

    /// Whether an error says no more than that there is no such object.
    fn missing(&self, key: &str, error: object_store::Error) -> Result<(), StoreError> {
        let gone = match &self.backing {
            Backing::Folder(folder) => !folder.is_dir(),
            Backing::S3 { .. } => error.to_string().contains("NoSuchBucket"),
        };
        match error {
            object_store::Error::NotFound { .. } if !gone => Ok(()),
            object_store::Error::NotFound { .. } if matches!(self.backing, Backing::Folder(_)) => {
                Err(StoreError::damaged(format!(
                    "{} is gone; put it back, or correct the store's URL",
                    self.name()
                )))
            }
            error => Err(explain(&self.name(), Action::Read, key, error)),
        }
    }

    fn cached(&self, key: &str) -> Option<Fetched> {
        self.cache.lock().expect("nobody panics while holding it").kept.get(key).cloned()
    }

    fn forget(&self, key: &str) {
        self.cache.lock().expect("nobody panics while holding it").forget(key);
    }

    /// Keeps what a small read gave. An empty tag names nothing.
    fn keep(&self, key: &str, fetched: &Fetched) {
        if !fetched.tag.0.is_empty() {
            self.cache.lock().expect("nobody panics while holding it").keep(key, fetched);
        }
    }

    /// The first bytes of the object that `found` names, remembered for as long as it is that one.
    pub(crate) async fn beginning(&self, found: &Found, length: u64) -> Result<Bytes, StoreError> {
        if found.size == 0 {
            return Ok(Bytes::new());
        }
        let key = format!("{}#beginning", found.key);
        if let Some(known) = self.cached(&key).filter(|known| known.tag == found.tag) {
            return Ok(known.bytes);
        }
        let bytes = self.read_beginning(&found.key, length.min(found.size)).await?;
        self.keep(&key, &Fetched { bytes: bytes.clone(), tag: found.tag.clone(), mark: None });
        Ok(bytes)
    }
}

impl Bucket {
    /// The digest of the object that `found` names, remembered for as long as it is that one.
    pub(crate) async fn digest(&self, found: &Found) -> Result<contract::Sha256, StoreError> {
        if let Some(known) = self.known_digest(found) {
            return Ok(known);
        }
        let key = digest_key(found);
        if found.size > crate::releases::layout::FIRMWARE_MAX_BYTES {
            return Err(StoreError::damaged(format!("{} is too large to be an image", found.key)));
        }
        let replaced = || StoreError::damaged(format!("{} was replaced while it was read", found.key));
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
        self.keep(&key, &Fetched { bytes, tag: found.tag.clone(), mark: None });
        Ok(contract::Sha256(digest))
    }

    /// The same if it is known already; asks for nothing.
    fn known_digest(&self, found: &Found) -> Option<contract::Sha256> {
        let known = self.cached(&digest_key(found)).filter(|known| known.tag == found.tag)?;
        <[u8; 32]>::try_from(&known.bytes[..]).ok().map(contract::Sha256)
    }

    /// The same within some time, else `None`. The reading goes on, so that it is known some time later, and whoever asks
    /// meanwhile waits for the same reading. What fails is logged.
    pub(crate) async fn digest_within(
        self: &Arc<Self>,
        found: &Found,
        patience: Duration,
    ) -> Option<contract::Sha256> {
        let known = self.known_digest(found);
        if known.is_some() {
            return known;
        }
        let mut read = self.reading(found);
        // Nobody ever sends: the other end is dropped once it has been read.
        tokio::time::timeout(patience, read.changed()).await.ok().and_then(|_| self.known_digest(found))
    }

    /// Begins to read an image, or finds the one who does.
    fn reading(self: &Arc<Self>, found: &Found) -> watch::Receiver<()> {
        let mut readings = self.readings.lock().expect("nobody panics while holding it");
        if let Some(reading) = readings.get(&found.key) {
            return reading.clone();
        }
        let (done, reading) = watch::channel(());
        readings.insert(found.key.clone(), reading.clone());
        let (bucket, found) = (Arc::clone(self), found.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(READING_PATIENCE, bucket.digest(&found)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(store.key = found.key, %error, "the image's digest stays unknown");
                }
                Err(_) => tracing::warn!(
                    store.key = found.key,
                    "the image's digest stays unknown: the store takes too long"
                ),
            }
            bucket.readings.lock().expect("nobody panics while holding it").remove(&found.key);
            drop(done);
        });
        reading
    }
}

/// Under which name the digest of an image is remembered.
fn digest_key(found: &Found) -> String {
    format!("{}#sha256", found.key)
}

/// The mark of an object, if it has one.
pub(crate) fn mark_of(result: &GetResult) -> Option<String> {
    let mark = result.attributes.get(&Attribute::Metadata(Cow::Borrowed(MARK)))?;
    Some(mark.as_ref().to_owned())
}

/// A key of the layout as the storage wants it.
pub(crate) fn path(key: &str) -> Result<Path, StoreError> {
    Path::parse(key)
        .map_err(|error| StoreError::Invalid(format!("{key:?} is not a key of the store: {error}")))
}

pub(crate) fn found(meta: &ObjectMeta) -> Found {
    let (key, modified) = (meta.location.to_string(), Some(meta.last_modified));
    Found { key, size: meta.size, tag: tag(meta), modified }
}

/// An object as a listing tells of it.
pub(crate) fn listed(key: String, size: u64, etag: String, modified: Option<DateTime<Utc>>) -> Found {
    Found { key, size, tag: Tag(etag), modified }
}

fn tag(meta: &ObjectMeta) -> Tag {
    Tag(meta.e_tag.clone().unwrap_or_default())
}
