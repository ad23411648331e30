//! Writing: an object is created where there is none, or replaced where it is still the one that was looked at.
//!
//! Where other programs may write at the same time the server compares (`If-None-Match`, `If-Match`); where nobody else
//! may, in a folder under its lock, we do.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cause::store as causes;
use contract::Sha256;
use object_store::path::Path;
use object_store::{Attribute, PutMode, PutOptions};
use tracing::Instrument;

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::checksum::Checksum;
use crate::objects::conditions::same;
use crate::objects::explain::{Action, explain};
use crate::objects::object::{MARK, Read, Tag};
use crate::objects::write_lock::WriteLock;
use crate::tasks::pause;

/// After so many refusals of a write whose condition is true, between which nobody else wrote, the server is not relied on.
const REFUSALS_MAX: u32 = 2;
/// At most this many files of killed processes are removed at a time.
const STAGED_MAX: u32 = 1000;

/// What must be so for a write to take place.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Absent,
    Same(Tag),
}

impl Condition {
    /// That it is as it was read.
    pub(crate) fn unchanged(read: &Read) -> Self {
        match read {
            Read::Missing => Self::Absent,
            Read::Found(found) => Self::Same(found.tag.clone()),
            Read::TooLong(found) => Self::Same(found.tag.clone()),
        }
    }
}

pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) bytes: Bytes,
    pub(crate) condition: Condition,
    /// Which image it is created for, where that is to be said; a folder keeps no marks.
    pub(crate) mark: Option<Sha256>,
}

impl Write {
    pub(crate) fn new(key: &str, bytes: Bytes, condition: Condition) -> Self {
        Self { key: key.to_owned(), bytes, condition, mark: None }
    }
}

impl Bucket {
    /// Writes if the condition holds; `None` if it does not. Whoever asked may go away: the write takes place, and the lock
    /// is kept until it has.
    pub(crate) async fn put(
        self: &Arc<Self>,
        lock: &WriteLock,
        write: Write,
    ) -> Result<Option<Tag>, StoreError> {
        let (bucket, lock) = (Arc::clone(self), lock.clone());
        let task = async move { bucket.write(&lock, write).await };
        match tokio::spawn(task.in_current_span()).await {
            Ok(done) => done,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::corrupt(causes::ENDED.cause())),
            },
        }
    }

    async fn write(&self, lock: &WriteLock, write: Write) -> Result<Option<Tag>, StoreError> {
        let Write { key, bytes, condition, mark } = write;
        let failed = |error| explain(&self.name(), Action::Write, &key, error);
        let form = match lock {
            WriteLock::Conditional(form) => *form,
            WriteLock::Alone(_) if !self.holds(&key, &condition).await? => return Ok(None),
            WriteLock::Alone(_) => {
                return self.upload(&key, bytes, PutMode::Overwrite, mark).await.map(Some).map_err(failed);
            }
        };
        for _ in 0..REFUSALS_MAX {
            let mode = match &condition {
                Condition::Absent => PutMode::Create,
                Condition::Same(tag) => same(tag, form),
            };
            match self.upload(&key, bytes.clone(), mode, mark).await {
                Ok(tag) => return Ok(Some(tag)),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                }
                Err(error) => return Err(failed(error)),
            }
            if !self.holds(&key, &condition).await? {
                return Ok(None);
            }
            pause().await;
        }
        Err(self.distrust().await)
    }

    /// One write, with what makes it conditional.
    pub(crate) async fn upload(
        &self,
        key: &str,
        bytes: Bytes,
        mode: PutMode,
        mark: Option<Sha256>,
    ) -> object_store::Result<Tag> {
        let mut options = PutOptions { mode, ..PutOptions::default() };
        if let Backing::Folder(folder) = &self.backing {
            remove_staged(folder, key);
        } else {
            options.extensions.insert(Checksum::of(&bytes).await);
            if let Some(mark) = mark {
                options.attributes.insert(Attribute::Metadata(Cow::Borrowed(MARK)), mark.to_string().into());
            }
        }
        let result = self.objects.put_opts(&Path::parse(key)?, bytes.into(), options).await?;
        Ok(Tag(result.e_tag.unwrap_or_default()))
    }

    /// Whether a condition holds at this moment.
    pub(crate) async fn holds(&self, key: &str, condition: &Condition) -> Result<bool, StoreError> {
        let found = self.find(key).await?.map(|found| found.tag);
        Ok(match condition {
            Condition::Absent => found.is_none(),
            Condition::Same(expected) => found.as_ref() == Some(expected),
        })
    }
}

/// Removes what a killed process left of a file that it was still writing: `object_store` writes `{file}#1` and renames
/// it, and takes the next number if that one is taken. Whoever holds the lock is alone.
fn remove_staged(folder: &std::path::Path, key: &str) {
    for number in 1..STAGED_MAX {
        if std::fs::remove_file(folder.join(format!("{key}#{number}"))).is_err() {
            return;
        }
    }
}
