//! Writing: an object is created where there is none, or replaced where it is still the one that was read.
//!
//! S3 does the comparing itself (`If-None-Match`, `If-Match`); in a folder, whoever holds the lock does. A bucket whose
//! server has no conditions is looked at before a write and after it; see [`crate::objects::conditions`] for what that
//! does not promise.

use std::borrow::Cow;

use object_store::{Attribute, Attributes, PutMode, PutOptions, UpdateVersion};

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::explain::{Action, explain};
use crate::objects::object::{MARK, Tag, path};
use crate::objects::parts::{self, PART_BYTES};
use crate::objects::write::{Condition, Write};
use crate::objects::write_lock::WriteLock;

/// At most this many files of killed processes are removed at a time.
const STAGED_MAX: u32 = 1000;
/// The largest object that is sent in one request.
const ONE_PUT_MAX_BYTES: usize = 8 * 1024 * 1024;

impl Bucket {
    /// Writes if the condition holds; `None` if it does not.
    pub(crate) async fn put(&self, lock: &WriteLock, write: Write<'_>) -> Result<Option<Tag>, StoreError> {
        let s3 = match &self.backing {
            Backing::S3 { s3, .. } => s3,
            // Whoever holds the lock is the only writer that asks.
            Backing::Folder(folder) => {
                remove_staged(folder, write.key);
                let mode = match write.condition {
                    Condition::Absent => PutMode::Create,
                    Condition::Same(_) if !self.holds(&write).await? => return Ok(None),
                    Condition::Same(_) => PutMode::Overwrite,
                };
                return self.put_at_once(write, mode).await;
            }
        };
        let is_conditional = lock.is_conditional();
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
            return self.put_at_once(write, mode).await;
        }
        let key = write.key;
        let written = self.put_at_once(write, PutMode::Overwrite).await?;
        let found = self.find(key).await?.map(|found| found.tag);
        Ok(written.filter(|written| found.as_ref() == Some(written)))
    }

    async fn put_at_once(&self, write: Write<'_>, mode: PutMode) -> Result<Option<Tag>, StoreError> {
        let mut attributes = Attributes::new();
        if let (Some(mark), Backing::S3 { .. }) = (write.mark, &self.backing) {
            attributes.insert(Attribute::Metadata(Cow::Borrowed(MARK)), mark.to_string().into());
        }
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
/// it, and takes the next number if that one is taken. Whoever holds the lock is alone.
fn remove_staged(folder: &std::path::Path, key: &str) {
    for number in 1..STAGED_MAX {
        if std::fs::remove_file(folder.join(format!("{key}#{number}"))).is_err() {
            return;
        }
    }
}
