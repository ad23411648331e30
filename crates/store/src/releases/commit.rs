//! Which of several publishers of one version wins, and that its image then stays.
//!
//! `version.txt` is created once, and carries the digest of the image it was created for (as S3's user metadata), so
//! that everybody knows who won, whatever was written beside it. Who finds another image and no `version.txt` does
//! not write at once: somebody may be about to commit, and what is unfinished for a moment is left alone for so long.
//! Then the version is claimed first ([`crate::releases::claim`]), and nobody else commits it. Only a publisher that has
//! claimed it already and stalls for longer than that, right before its commit, may find its image replaced afterwards:
//! whoever replaced it gives it back, and if that one is killed, publishing the winner's image again repairs the release.
//!
//! A folder needs none of this: there one writer at a time holds a lock.

use std::time::Instant;

use bytes::Bytes;
use cause::{Cause, gate, store as causes};
use contract::{ProductName, Sha256, Version};

use crate::error::StoreError;
use crate::objects::ensure::{Written, same};
use crate::objects::object::{Found, Read, Tag};
use crate::objects::write::{Condition, Progress, Write};
use crate::objects::write_lock::WriteLock;
use crate::releases::claim::LOOK_EVERY;
use crate::releases::gate::compare::taken;
use crate::releases::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place};
use crate::releases::metadata::Metadata;
use crate::releases::release::{Complete, Described, Release};
use crate::store::Store;

/// An image on its way to being a release.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) product: ProductName,
    pub(crate) version: Version,
    pub(crate) image: Bytes,
    pub(crate) sha256: Sha256,
    pub(crate) metadata: Bytes,
    /// The name of its chip, if we know it.
    pub(crate) chip: Option<&'static str>,
}

/// What came of one attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done(Release),
    /// It had been published before.
    AlreadyThere(Release),
    /// The version has other bytes; and why that is so.
    Taken(Cause),
    /// Somebody else came in between; it is to be tried again.
    Again,
}

impl Work {
    fn place(&self) -> Place {
        Place::release(&self.product, &self.version)
    }
}

impl Store {
    /// One attempt to publish, by whoever holds the lock.
    pub(crate) async fn attempt_once(
        &self,
        lock: &WriteLock,
        work: &Work,
        progress: Progress<'_>,
    ) -> Result<Outcome, StoreError> {
        if let Some(outcome) = self.published(lock, work).await? {
            if let Outcome::AlreadyThere(_) = &outcome {
                progress(work.image.len() as u64);
            }
            return Ok(outcome);
        }
        let place = work.place();
        let Some(firmware) = self.lay(lock, work, progress).await? else { return Ok(Outcome::Again) };
        progress(work.image.len() as u64);
        let metadata =
            self.bucket.ensure(lock, place.metadata(), work.metadata.clone(), JSON_MAX_BYTES).await?;
        let described = Described {
            firmware: Found {
                key: place.firmware(),
                size: work.image.len() as u64,
                tag: firmware.tag().clone(),
                modified: None,
            },
            metadata: Metadata::parse(&work.metadata),
            chip: work.chip.map(str::to_owned),
            mark: None,
        };
        let is_committed = self.commit(lock, work, firmware, metadata).await?;
        Ok(if is_committed { Outcome::Done(described.release(work.version.clone())) } else { Outcome::Again })
    }

    /// Brings the image to its place. `None`: another one lies there, whose publisher has committed or may be about to.
    async fn lay(
        &self,
        lock: &WriteLock,
        work: &Work,
        progress: Progress<'_>,
    ) -> Result<Option<Written>, StoreError> {
        let (place, image) = (work.place(), &work.image);
        let key = place.firmware();
        let (before, replaced) = match self.bucket.read(&key, FIRMWARE_MAX_BYTES).await? {
            Read::Found(found) if same(&found.bytes, image).await? => {
                return Ok(Some(Written::new(key, image.clone(), found.tag, None)));
            }
            Read::Missing => (None, None),
            Read::Found(found) => (Some(found.tag), Some(found.bytes)),
            // Nothing that we or a device could use, so nothing to give back.
            Read::TooLong(found) => (Some(found.tag), None),
        };
        if let Some(tag) = &before
            && !self.may_replace(lock, work, tag).await?
        {
            return Ok(None);
        }
        let condition = Condition::unchanged(before.as_ref());
        let write = Write { progress, ..Write::new(&key, image.clone(), condition) };
        let written = self.bucket.put(lock, write).await?;
        Ok(written.map(|tag| Written::new(key, image.clone(), tag, replaced)))
    }

    /// Waits while another publisher may be about to commit what lies there, and sees to it that it does not any more.
    async fn may_replace(&self, lock: &WriteLock, work: &Work, tag: &Tag) -> Result<bool, StoreError> {
        if self.is_local() {
            return Ok(true);
        }
        let place = work.place();
        let began = Instant::now();
        while began.elapsed() < self.unfinished_timeout {
            tokio::time::sleep(LOOK_EVERY.min(self.unfinished_timeout)).await;
            let now = self.bucket.find(&place.firmware()).await?;
            let is_committed = self.bucket.find(&place.version()).await?.is_some();
            if is_committed || now.is_none_or(|now| now.tag != *tag) {
                return Ok(false);
            }
        }
        Ok(!lock.is_conditional()
            || self.claim(lock, &work.product, &work.version, work.sha256).await?.is_some())
    }

    /// Writes `version.txt` if the other two are what they should be. False: somebody else came in between.
    async fn commit(
        &self,
        lock: &WriteLock,
        work: &Work,
        firmware: Written,
        metadata: Written,
    ) -> Result<bool, StoreError> {
        let (bucket, place) = (&self.bucket, work.place());
        let ours = work.sha256;
        let is_whole = bucket.reads_back(&firmware).await? && bucket.reads_back(&metadata).await?;
        if is_whole && self.create_version(lock, work, ours).await? {
            return Ok(true);
        }
        // An answer that was lost on its way makes our own version.txt look like another's.
        if let Some(winner) = bucket.mark(&place.version()).await?
            && winner != Some(ours)
        {
            bucket.put_back(lock, firmware).await?;
            bucket.put_back(lock, metadata).await?;
        }
        Ok(false)
    }

    async fn create_version(&self, lock: &WriteLock, work: &Work, image: Sha256) -> Result<bool, StoreError> {
        let (key, version) = (work.place().version(), &work.version);
        let mut claim = None;
        if !self.is_local() && lock.is_conditional() {
            claim = self.claim(lock, &work.product, version, image).await?;
            if claim.is_none() {
                return Ok(false);
            }
        }
        let text = format!("{version}\n");
        let write = Write { mark: Some(image), ..Write::new(&key, text.into(), Condition::Absent) };
        if self.bucket.put(lock, write).await?.is_none() {
            return Ok(false);
        }
        let Some(claim) = claim else { return Ok(true) };
        // Who took it over may have replaced the image, or be about to publish another spelling: that is looked at again.
        self.bucket.is_unchanged(&claim).await
    }

    /// What there is of that precedence already; `None` if there is nothing. Of a release that is this image's and was
    /// corrupt, what is corrupt or missing is written again.
    async fn published(&self, lock: &WriteLock, work: &Work) -> Result<Option<Outcome>, StoreError> {
        let Work { product, version, image, metadata, .. } = work;
        let Some(existing) = self.existing(product, version).await? else { return Ok(None) };
        let Complete { place, version: spelled, mark } = existing.release;
        let ours = work.sha256;
        if existing.is_contested && lock.is_conditional() {
            self.claim(lock, product, &spelled, mark.unwrap_or(ours)).await?;
            return Ok(Some(Outcome::Again));
        }
        let intended = self.intended(&place, &spelled, mark).await?;
        let (is_same, is_ours) = match self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? {
            Read::Missing => match intended.image() {
                Some(intended) => (false, intended == ours),
                None => return Err(gone(&place, &spelled)),
            },
            Read::Found(found) => {
                let is_same = same(&found.bytes, image).await?;
                (is_same, intended.marked.map_or(is_same, |marked| marked == ours))
            }
            Read::TooLong(_) => (false, intended.marked == Some(ours)),
        };
        if let (true, false, Some(winner)) = (is_same, is_ours, intended.marked) {
            let cause = gate::TAKEN_AND_REPLACED.naming("version", spelled).naming("product", product);
            return Ok(Some(Outcome::Taken(cause.naming("sha256", winner))));
        }
        if !is_ours {
            return Ok(Some(Outcome::Taken(taken(product, &spelled, existing.overtaken.as_ref()))));
        }
        if !is_same {
            tracing::warn!(
                store.key = place.firmware(),
                "its image was replaced or removed, and is put back"
            );
            self.bucket.ensure(lock, place.firmware(), image.clone(), FIRMWARE_MAX_BYTES).await?;
        }
        if intended.marked.is_some() && intended.said.is_some_and(|said| said != ours) {
            tracing::warn!(store.key = place.metadata(), "it spoke of another image, and is put back");
            self.bucket.ensure(lock, place.metadata(), metadata.clone(), JSON_MAX_BYTES).await?;
        }
        let described = self.describe(&place, &spelled).await?;
        let described = described.ok_or_else(|| gone(&place, &spelled))?;
        Ok(Some(Outcome::AlreadyThere(described.release(spelled))))
    }
}

fn gone(place: &Place, version: &Version) -> StoreError {
    StoreError::corrupt(
        causes::IMAGE_LOST
            .with("key", place.firmware())
            .with("version_txt", place.version())
            .naming("version", version),
    )
}
