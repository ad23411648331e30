//! Writing: an object is created where there is none, or replaced where it is still the one that was looked at.
//!
//! Where other programs may write at the same time the server compares (`If-None-Match`, `If-Match`); where nobody else
//! may, in a folder under its lock, we do.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cause::store as causes;
use contract::Sha256;
use object_store::{Attribute, Attributes, PutMode, PutOptions, UpdateVersion};
use tracing::Instrument;

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::explain::{Action, explain};
use crate::objects::object::{MARK, Read, Tag, path};
use crate::objects::write_lock::WriteLock;

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
        let mode = match write.condition {
            condition if lock.is_alone() => {
                if !self.holds(&write.key, &condition).await? {
                    return Ok(None);
                }
                PutMode::Overwrite
            }
            Condition::Absent => PutMode::Create,
            Condition::Same(Tag(tag)) => PutMode::Update(UpdateVersion { e_tag: Some(tag), version: None }),
        };
        let mut attributes = Attributes::new();
        if let Backing::Folder(folder) = &self.backing {
            remove_staged(folder, &write.key);
        } else if let Some(mark) = write.mark {
            attributes.insert(Attribute::Metadata(Cow::Borrowed(MARK)), mark.to_string().into());
        }
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        match self.objects.put_opts(&path(&write.key)?, write.bytes.into(), options).await {
            Ok(result) => Ok(Some(Tag(result.e_tag.unwrap_or_default()))),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(None)
            }
            Err(error) => Err(explain(&self.name(), Action::Write, &write.key, error)),
        }
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
