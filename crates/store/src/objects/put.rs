//! Writing: an object is created where there is none, or replaced where it is still the one that was read.
//!
//! S3 does the comparing itself (`If-None-Match`, `If-Match`). In a folder, writers of all processes take turns by a
//! lock on a file, and whoever holds it compares and replaces. A bucket whose server has no conditions is looked at
//! before a write and after it; see [`crate::objects::conditions`] for what that does not promise.

use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{Attribute, Attributes, GetOptions, PutMode, PutOptions, UpdateVersion};
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument;

use crate::StoreError;
use crate::objects::bucket::{Backing, Bucket, Tag, mark_of, path};
use crate::objects::conditions::Conditions;
use crate::objects::explain::{Action, explain};
use crate::objects::parts::{self, PART_BYTES};

/// The file in a folder store that writers lock.
pub(crate) const LOCK_FILE: &str = ".updraft.lock";
/// How long a writer waits for another one. A publish takes a second or two on a slow disk.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// The name under which `version.txt` carries the digest of the image it was created for; `x-amz-meta-` stands before
/// it in HTTP.
pub(crate) const MARK: &str = "updraft-sha256";
/// How many killed processes are cleaned up after at a time.
const STAGED_MAX: u32 = 1000;
/// The largest object that is sent in one request.
const ONE_PUT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Is told how many bytes of an object are in the store.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// The right to write. In a folder nobody else has it meanwhile; on S3 everybody does, and conditional writes decide.
pub(crate) struct Turn {
    /// Unlocks when it is dropped, also by a killed process.
    _lock: Option<File>,
    /// Without conditions this process at least does not race with itself over one thing.
    _alone: Option<OwnedMutexGuard<()>>,
    conditions: Conditions,
}

impl Turn {
    /// Whether writes can depend on what is there.
    pub(crate) fn is_conditional(&self) -> bool {
        self.conditions == Conditions::Kept
    }
}

/// What must be so for a write to take place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    /// There is no such object.
    Absent,
    /// It is this one.
    Same(&'a Tag),
}

/// What is written where.
pub(crate) struct Write<'a> {
    pub(crate) key: &'a str,
    pub(crate) bytes: Bytes,
    pub(crate) condition: Condition<'a>,
    pub(crate) progress: Progress<'a>,
}

/// Does what must not be left half done in a task of its own: who asked for it may go away, and what the task holds, the
/// turn above all, is held until it has ended.
pub(crate) async fn to_its_end<T: Send + 'static>(
    task: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(task.in_current_span()).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::damaged(
                "the program was ended while it wrote to the store; run the same command again",
            )),
        },
    }
}

impl Bucket {
    /// Takes the right to write `what`: a channel, the releases of a product, its blocked list. In a folder that is the right
    /// to write anything. The first time, finds out whether the bucket's server has conditions.
    pub(crate) async fn turn(&self, what: &str) -> Result<Turn, StoreError> {
        if let Backing::Folder(folder) = &self.backing {
            let lock = self.lock(folder).await?;
            return Ok(Turn { _lock: Some(lock), _alone: None, conditions: Conditions::Kept });
        }
        let conditions = self.conditions().await?;
        let alone = match conditions {
            Conditions::Kept => None,
            Conditions::Ignored | Conditions::Unknown => Some(self.writing_lock(what).lock_owned().await),
        };
        Ok(Turn { _lock: None, _alone: alone, conditions })
    }

    /// The lock of what is written, which is kept for as long as anybody has it or waits for it. Each thing has its own, so
    /// that a version can be blocked while an image's upload hangs.
    fn writing_lock(&self, what: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut writing = self.writing.lock().expect("nobody panics while holding it");
        writing.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(writing.entry(what.to_owned()).or_default())
    }

    async fn lock(&self, folder: &std::path::Path) -> Result<File, StoreError> {
        let unavailable = |error: std::io::Error| {
            let error = object_store::Error::Generic { store: "folder", source: Box::new(error) };
            explain(&self.name(), Action::Write, LOCK_FILE, error)
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK_FILE))
            .map_err(unavailable)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(StoreError::damaged(format!(
                        "another program has been writing to {} for {} seconds; wait for it or end it, then run this again",
                        self.name(),
                        LOCK_PATIENCE.as_secs()
                    )));
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(unavailable(error)),
            }
        }
    }

    /// Writes an object where there is none. `None`: there is one.
    pub(crate) async fn create(
        &self,
        turn: &Turn,
        key: &str,
        bytes: Bytes,
    ) -> Result<Option<Tag>, StoreError> {
        let write = Write { key, bytes, condition: Condition::Absent, progress: &|_| () };
        self.put(turn, write, Attributes::new()).await
    }

    /// The same, with a mark that says which image it was created for; a folder keeps none.
    pub(crate) async fn create_marked(
        &self,
        turn: &Turn,
        key: &str,
        bytes: Bytes,
        mark: &str,
    ) -> Result<Option<Tag>, StoreError> {
        let mut attributes = Attributes::new();
        if matches!(self.backing, Backing::S3 { .. }) {
            attributes.insert(Attribute::Metadata(Cow::Borrowed(MARK)), mark.to_owned().into());
        }
        let write = Write { key, bytes, condition: Condition::Absent, progress: &|_| () };
        self.put(turn, write, attributes).await
    }

    /// The mark of an object, if it has one; `None` if there is no such object.
    pub(crate) async fn mark(&self, key: &str) -> Result<Option<Option<String>>, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.open(key, options).await?;
        Ok(found.map(|found| mark_of(&found)))
    }

    /// Replaces the object that `expected` names. `None`: it is another one by now, or gone.
    pub(crate) async fn replace(
        &self,
        turn: &Turn,
        key: &str,
        expected: &Tag,
        bytes: Bytes,
    ) -> Result<Option<Tag>, StoreError> {
        let write = Write { key, bytes, condition: Condition::Same(expected), progress: &|_| () };
        self.put(turn, write, Attributes::new()).await
    }

    /// Writes if the condition holds; `None` if it does not.
    pub(crate) async fn put(
        &self,
        turn: &Turn,
        write: Write<'_>,
        attributes: Attributes,
    ) -> Result<Option<Tag>, StoreError> {
        let s3 = match &self.backing {
            Backing::S3 { s3, .. } => s3,
            // Whoever holds the turn is the only writer that asks.
            Backing::Folder(folder) => {
                remove_staged(folder, write.key);
                let mode = match write.condition {
                    Condition::Absent => PutMode::Create,
                    Condition::Same(_) if !self.holds(&write).await? => return Ok(None),
                    Condition::Same(_) => PutMode::Overwrite,
                };
                return self.put_at_once(write, mode, attributes).await;
            }
        };
        let is_conditional = turn.is_conditional();
        let is_long = write.bytes.len() > ONE_PUT_MAX_BYTES;
        // Servers differ in whether completing a multipart upload heeds conditions, so it is looked at besides.
        if (is_long || !is_conditional) && !self.holds(&write).await? {
            return Ok(None);
        }
        if is_long {
            let conditional = is_conditional.then_some(write.condition);
            let done = parts::upload(s3, self, &write, conditional, PART_BYTES).await;
            let done = done.map_err(|error| explain(&self.name(), Action::Write, write.key, error))?;
            return if done { Ok(self.find(write.key).await?.map(|found| found.tag)) } else { Ok(None) };
        }
        if is_conditional {
            let mode = match write.condition {
                Condition::Absent => PutMode::Create,
                Condition::Same(Tag(tag)) => {
                    PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None })
                }
            };
            return self.put_at_once(write, mode, attributes).await;
        }
        let key = write.key;
        let written = self.put_at_once(write, PutMode::Overwrite, attributes).await?;
        let found = self.find(key).await?.map(|found| found.tag);
        Ok(written.filter(|written| found.as_ref() == Some(written)))
    }

    /// Whether a write's condition holds at this moment.
    pub(crate) async fn holds(&self, write: &Write<'_>) -> Result<bool, StoreError> {
        let found = self.find(write.key).await?;
        Ok(match write.condition {
            Condition::Absent => found.is_none(),
            Condition::Same(expected) => found.is_some_and(|found| found.tag == *expected),
        })
    }

    async fn put_at_once(
        &self,
        write: Write<'_>,
        mode: PutMode,
        attributes: Attributes,
    ) -> Result<Option<Tag>, StoreError> {
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let size = write.bytes.len() as u64;
        match self.objects.put_opts(&path(write.key)?, write.bytes.into(), options).await {
            Ok(result) => {
                (write.progress)(size);
                Ok(Some(Tag(result.e_tag.unwrap_or_default())))
            }
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(None)
            }
            Err(error) => Err(explain(&self.name(), Action::Write, write.key, error)),
        }
    }
}

/// Removes what a killed process left of a file that it was still writing: `object_store` writes `{file}#1` and renames
/// it, and takes the next number if that one is taken. Whoever holds the turn is alone.
fn remove_staged(folder: &std::path::Path, key: &str) {
    for number in 1..STAGED_MAX {
        if std::fs::remove_file(folder.join(format!("{key}#{number}"))).is_err() {
            return;
        }
    }
}
