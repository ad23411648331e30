//! The right to write. In a folder, writers of all processes wait for each other by a lock on a file. On S3 everybody may
//! write, and conditional writes decide; where a server has none, one process alone writes, one of its tasks at a time.

use std::any::Any;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cause::store as causes;

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket, Conditions};
use crate::objects::explain::{Action, explain_io};
use crate::objects::tag::TagForm;

/// The file in a folder store that writers lock.
pub(crate) const LOCK_FILE: &str = ".updraft.lock";
/// At most this long a writer waits for another one. A publish takes a second or two on a slow disk.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Clones are one lock, which is released with the last of them, also by a killed process.
#[derive(Clone)]
pub(crate) enum WriteLock {
    /// Nobody else can write meanwhile.
    Alone(#[expect(dead_code, reason = "it is kept until it is dropped")] Arc<dyn Any + Send + Sync>),
    /// Others can. The server compares, and wants tags in this form.
    Conditional(TagForm),
}

impl WriteLock {
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Self::Alone(_))
    }
}

impl Bucket {
    /// Takes the right to write `what`: a channel, the releases of a product, its blocked list. In a folder that is the right
    /// to write anything. The first time, finds out whether the bucket's server has conditions.
    pub(crate) async fn write_lock(&self, what: &str) -> Result<WriteLock, StoreError> {
        let Backing::Folder(folder) = &self.backing else {
            return Ok(match self.conditions().await? {
                Conditions::Kept(form) => WriteLock::Conditional(form),
                Conditions::Unreliable(_) => {
                    WriteLock::Alone(Arc::new(self.writing.of(what).lock_owned().await))
                }
            });
        };
        Ok(WriteLock::Alone(Arc::new(self.lock(folder).await?)))
    }

    async fn lock(&self, folder: &std::path::Path) -> Result<File, StoreError> {
        let unavailable = |error| explain_io(&self.name(), Action::Write, LOCK_FILE, error);
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(folder.join(LOCK_FILE));
        let file = file.map_err(unavailable)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if began.elapsed() < LOCK_TIMEOUT => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let cause = causes::LOCKED.naming("place", self.name());
                    return Err(StoreError::corrupt(cause.with("seconds", LOCK_TIMEOUT.as_secs())));
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(unavailable(error)),
            }
        }
    }
}
