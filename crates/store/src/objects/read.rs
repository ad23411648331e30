//! Reading: bounded, and what has not changed is not sent again.

use bytes::{Bytes, BytesMut};
use cause::store as causes;
use futures_util::TryStreamExt;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::explain::{Action, explain};
use crate::objects::object::{Fetched, Found, Read, Tag, encoding_of, found, mark_of, path, tag};
use crate::objects::part::is_all;

impl Bucket {
    pub(crate) async fn read(&self, key: &str, limit: u64) -> Result<Read, StoreError> {
        self.read_unless(key, limit, None).await
    }

    /// Reads a small object; what is still as it was last time is not sent again, but it is asked for.
    pub(crate) async fn read_small(&self, key: &str, limit: u64) -> Result<Read, StoreError> {
        let known = self.cache.get(key);
        let read = self.read_unless(key, limit, known.as_ref()).await?;
        match &read {
            Read::Found(fetched) => self.cache.keep(key, fetched),
            Read::Missing | Read::TooLong(_) => self.cache.forget(key),
        }
        Ok(read)
    }

    /// Reads a small object of which a listing has just told the tag: asks for it only if it is not known.
    pub(crate) async fn read_listed(&self, found: &Found, limit: u64) -> Result<Read, StoreError> {
        match self.cache.get(&found.key) {
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
        if let Some(known) = self.cache.get(&name).filter(|known| known.tag == state) {
            return Ok(Read::Found(known));
        }
        let read = self.read(&found.key, limit).await?;
        match &read {
            Read::Found(fetched) => self.cache.keep(&name, &Fetched { tag: state, ..fetched.clone() }),
            Read::Missing | Read::TooLong(_) => self.cache.forget(&name),
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

    pub(crate) async fn collect(
        &self,
        key: &str,
        limit: u64,
        result: GetResult,
    ) -> Result<Bytes, StoreError> {
        let failed = |error| explain(&self.name(), Action::Read, key, error);
        // In one piece, where a stream of a file is many small ones. At most as long as it was said to be.
        if matches!(result.payload, GetResultPayload::File(..))
            && result.range.end - result.range.start <= limit
        {
            return result.bytes().await.map_err(failed);
        }
        // All at once: to grow is to copy, which for an image takes milliseconds.
        let expected = (result.range.end - result.range.start).min(limit);
        let mut bytes = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0));
        let mut stream = result.into_stream();
        while let Some(piece) = stream.try_next().await.map_err(failed)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit {
                return Err(StoreError::corrupt(causes::GREW.naming("key", key).with("limit", limit)));
            }
        }
        Ok(bytes.freeze())
    }

    /// Size and tag of an object, without its content.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Found>, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let result = self.open(key, options).await?;
        Ok(result.map(|result| Found { encoding: encoding_of(&result), ..found(&result.meta) }))
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
        let said = self.objects.get_opts(&path(key)?, options).await.err();
        Ok(said.filter(|said| !is_all(said)).unwrap_or(error))
    }

    /// Whether an error says no more than that there is no such object.
    pub(crate) fn missing(&self, key: &str, error: object_store::Error) -> Result<(), StoreError> {
        let gone = match &self.backing {
            Backing::Folder(folder) => !folder.is_dir(),
            Backing::S3 { .. } => error.to_string().contains("NoSuchBucket"),
        };
        match error {
            object_store::Error::NotFound { .. } if !gone => Ok(()),
            object_store::Error::NotFound { .. } if matches!(self.backing, Backing::Folder(_)) => {
                Err(StoreError::corrupt(causes::FOLDER_GONE.naming("place", self.name())))
            }
            error => Err(explain(&self.name(), Action::Read, key, error)),
        }
    }

    /// The first bytes of the object that `found` names, remembered for as long as it is that one.
    pub(crate) async fn beginning(&self, found: &Found, length: u64) -> Result<Bytes, StoreError> {
        if found.size == 0 {
            return Ok(Bytes::new());
        }
        let key = format!("{}#beginning", found.key);
        if let Some(known) = self.cache.get(&key).filter(|known| known.tag == found.tag) {
            return Ok(known.bytes);
        }
        let length = length.min(found.size);
        let failed = |error| explain(&self.name(), Action::Read, &found.key, error);
        let part = self.part(&found.key, 0..length).await?;
        let part = part.ok_or_else(|| StoreError::corrupt(causes::REPLACED.naming("key", &found.key)))?;
        let bytes = Bytes::from(part.stream.try_collect::<Vec<Bytes>>().await.map_err(failed)?.concat());
        self.cache.keep(&key, &Fetched { bytes: bytes.clone(), tag: found.tag.clone(), mark: None });
        Ok(bytes)
    }
}
