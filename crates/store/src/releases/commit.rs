//! Which of several publishers of one version wins, and that its image then stays.
//!
//! `version.txt` is created once, and carries the digest of the image it was created for (as S3's user metadata), so
//! that everybody knows who won, whatever was written beside it. Who finds another image and no `version.txt` does
//! not write at once: somebody may be about to commit, and what is unfinished for a moment is left alone for so long.
//! Then the version is claimed first ([`crate::releases::claim`]), and nobody else commits it. Only a publisher that has claimed it
//! already and stalls for longer than that, right before its commit, may find its image replaced afterwards: whoever
//! replaced it gives it back, and if that one is killed, publishing the winner's image again repairs the release.
//!
//! A folder needs none of this: there writers take turns.

use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::{ProductName, Sha256, Version};

use crate::objects::bucket::{Found, Read, Tag};
use crate::objects::ensure::{Settled, same};
use crate::objects::put::{Condition, Progress, Turn, Write};
use crate::releases::catalog::{Complete, Described, Release};
use crate::releases::gate::taken_sentence;
use crate::releases::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place};
use crate::releases::metadata::Metadata;
use crate::{Store, StoreError};

/// How long another publisher's unfinished release is waited for: a few times what reading an image back and three small
/// writes take on a slow line.
pub(crate) const UNFINISHED_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An image on its way to being a release.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) product: ProductName,
    pub(crate) version: Version,
    pub(crate) image: Bytes,
    /// Its digest.
    pub(crate) sha256: Sha256,
    pub(crate) metadata: Bytes,
    /// The name of its chip, if we know it.
    pub(crate) chip: Option<&'static str>,
}

/// What came of one attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is published.
    Done(Release),
    /// It had been published before.
    AlreadyThere(Release),
    /// The version has other bytes; the sentence says so.
    Taken(String),
    /// Somebody else came in between; it is to be tried again.
    Again,
}

/// Which image a release is meant to have.
struct Meant {
    /// The one that its `version.txt` was created for.
    marked: Option<Sha256>,
    /// The one that its metadata speaks of.
    said: Option<Sha256>,
    /// Whether that metadata can be this release's.
    is_about: bool,
}

impl Work {
    fn place(&self) -> Place {
        Place::release(&self.product, &self.version)
    }
}

impl Store {
    /// One attempt to publish, by whoever has the turn.
    pub(crate) async fn attempt_once(
        &self,
        turn: &Turn,
        work: &Work,
        progress: Progress<'_>,
    ) -> Result<Outcome, StoreError> {
        if let Some(outcome) = self.published(turn, work).await? {
            if let Outcome::AlreadyThere(_) = &outcome {
                progress(work.image.len() as u64);
            }
            return Ok(outcome);
        }
        let place = work.place();
        let Some(firmware) = self.lay(turn, work, progress).await? else { return Ok(Outcome::Again) };
        progress(work.image.len() as u64);
        let metadata =
            self.bucket.settle(turn, place.metadata(), work.metadata.clone(), JSON_MAX_BYTES).await?;
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
        let is_committed = self.commit(turn, work, firmware, metadata).await?;
        Ok(if is_committed { Outcome::Done(described.release(work.version.clone())) } else { Outcome::Again })
    }

    /// Brings the image to its place. `None`: another one lies there, whose publisher has committed or may be about to.
    async fn lay(
        &self,
        turn: &Turn,
        work: &Work,
        progress: Progress<'_>,
    ) -> Result<Option<Settled>, StoreError> {
        let (place, image) = (work.place(), &work.image);
        let key = place.firmware();
        let (before, replaced) = match self.bucket.read(&key, FIRMWARE_MAX_BYTES).await? {
            Read::Found(found) if same(&found.bytes, image).await? => {
                return Ok(Some(Settled::new(key, image.clone(), found.tag, None)));
            }
            Read::Missing => (None, None),
            Read::Found(found) => (Some(found.tag), Some(found.bytes)),
            // Nothing that we or a device could use, so nothing to give back.
            Read::TooLong(found) => (Some(found.tag), None),
        };
        if let Some(tag) = &before
            && !self.may_replace(turn, work, tag).await?
        {
            return Ok(None);
        }
        let condition = before.as_ref().map_or(Condition::Absent, Condition::Same);
        let write = Write { key: &key, bytes: image.clone(), condition, progress };
        let written = self.bucket.put(turn, write, object_store::Attributes::new()).await?;
        Ok(written.map(|tag| Settled::new(key, image.clone(), tag, replaced)))
    }

    /// Waits while another publisher may be about to commit what lies there, and sees to it that it does not any more.
    async fn may_replace(&self, turn: &Turn, work: &Work, tag: &Tag) -> Result<bool, StoreError> {
        if self.is_local() {
            return Ok(true);
        }
        let place = work.place();
        let began = Instant::now();
        while began.elapsed() < self.patience {
            tokio::time::sleep(LOOK_EVERY.min(self.patience)).await;
            let now = self.bucket.find(&place.firmware()).await?;
            let is_committed = self.bucket.find(&place.version()).await?.is_some();
            if is_committed || now.is_none_or(|now| now.tag != *tag) {
                return Ok(false);
            }
        }
        Ok(!turn.is_conditional()
            || self.claim(turn, &work.product, &work.version, work.sha256).await?.is_some())
    }

    /// Writes `version.txt` if the other two are what they should be. False: somebody else came in between.
    async fn commit(
        &self,
        turn: &Turn,
        work: &Work,
        firmware: Settled,
        metadata: Settled,
    ) -> Result<bool, StoreError> {
        let (bucket, place) = (&self.bucket, work.place());
        let ours = work.sha256;
        let is_whole = bucket.reads_back(&firmware).await? && bucket.reads_back(&metadata).await?;
        if is_whole && self.create_version(turn, work, ours).await? {
            return Ok(true);
        }
        // An answer that was lost on its way makes our own version.txt look like another's.
        if let Some(winner) = self.winner(&place).await?
            && winner != Some(ours)
        {
            bucket.give_back(turn, firmware).await?;
            bucket.give_back(turn, metadata).await?;
        }
        Ok(false)
    }

    async fn create_version(&self, turn: &Turn, work: &Work, image: Sha256) -> Result<bool, StoreError> {
        let (key, version) = (work.place().version(), &work.version);
        let mut held = None;
        if !self.is_local() && turn.is_conditional() {
            held = self.claim(turn, &work.product, version, image).await?;
            if held.is_none() {
                return Ok(false);
            }
        }
        let (text, mark) = (format!("{version}\n"), image.to_string());
        if self.bucket.create_marked(turn, &key, text.into(), &mark).await?.is_none() {
            return Ok(false);
        }
        let Some(held) = held else { return Ok(true) };
        // Who took it over may have replaced the image, or be about to publish another spelling: that is looked at again.
        self.is_held(&held).await
    }

    /// Whether there is a `version.txt`, and for which image it was made if it says so.
    async fn winner(&self, place: &Place) -> Result<Option<Option<Sha256>>, StoreError> {
        let mark = self.bucket.mark(&place.version()).await?;
        Ok(mark.map(|mark| mark.and_then(|text| Sha256::from_hex(&text))))
    }

    /// Which image a release that has lost it had, if anything says so. Where no mark does, metadata may: there is nothing
    /// left to be replaced wrongly.
    pub(crate) async fn lost_image(
        &self,
        place: &Place,
        version: &Version,
        mark: Option<Sha256>,
    ) -> Result<Option<Sha256>, StoreError> {
        Ok(self.meant(place, version, mark).await?.image())
    }

    /// Whose a release is, whatever bytes lie in it now: the image that it was marked for. What metadata says is not enough:
    /// a script may have copied another release's.
    async fn meant(
        &self,
        place: &Place,
        version: &Version,
        marked: Option<Sha256>,
    ) -> Result<Meant, StoreError> {
        let metadata = match self.bucket.read(&place.metadata(), JSON_MAX_BYTES).await? {
            Read::Found(found) => Metadata::parse(&found.bytes),
            Read::Missing | Read::TooLong(_) => Metadata::default(),
        };
        Ok(Meant { marked, said: metadata.sha256(), is_about: metadata.version().as_ref() == Some(version) })
    }

    /// What there is of that precedence already; `None` if there is nothing. Of a release that is this image's and was
    /// damaged, what is damaged or missing is written again.
    async fn published(&self, turn: &Turn, work: &Work) -> Result<Option<Outcome>, StoreError> {
        let Work { product, version, image, metadata, .. } = work;
        let Some(standing) = self.standing(product, version).await? else { return Ok(None) };
        let Complete { place, version: spelled, mark } = standing.release;
        let ours = work.sha256;
        if standing.is_contested && turn.is_conditional() {
            self.claim(turn, product, &spelled, mark.unwrap_or(ours)).await?;
            return Ok(Some(Outcome::Again));
        }
        let meant = self.meant(&place, &spelled, mark).await?;
        let (is_same, is_ours) = match self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? {
            Read::Missing => match meant.image() {
                Some(meant) => (false, meant == ours),
                None => return Err(gone(&place, &spelled)),
            },
            Read::Found(found) => {
                let is_same = same(&found.bytes, image).await?;
                (is_same, meant.marked.map_or(is_same, |marked| marked == ours))
            }
            Read::TooLong(_) => (false, meant.marked == Some(ours)),
        };
        if let (true, false, Some(winner)) = (is_same, is_ours, meant.marked) {
            return Ok(Some(Outcome::Taken(format!(
                "version {spelled} of {product} is already published with other bytes (sha256 {winner}), which this \
                 image replaced when it was published at the same time: publish those bytes again, which repairs it, \
                 and this image under a higher version"
            ))));
        }
        if !is_ours {
            let sentence = taken_sentence(product, &spelled, standing.overtaken.as_ref());
            return Ok(Some(Outcome::Taken(sentence)));
        }
        if !is_same {
            tracing::warn!(
                store.key = place.firmware(),
                "its image was replaced or removed, and is put back"
            );
            self.bucket.settle(turn, place.firmware(), image.clone(), FIRMWARE_MAX_BYTES).await?;
        }
        if meant.marked.is_some() && meant.said.is_some_and(|said| said != ours) {
            tracing::warn!(store.key = place.metadata(), "it spoke of another image, and is put back");
            self.bucket.settle(turn, place.metadata(), metadata.clone(), JSON_MAX_BYTES).await?;
        }
        let described = self.describe(&place, &spelled).await?;
        let described = described.ok_or_else(|| gone(&place, &spelled))?;
        Ok(Some(Outcome::AlreadyThere(described.release(spelled))))
    }
}

impl Meant {
    fn image(&self) -> Option<Sha256> {
        self.marked.or(self.said.filter(|_| self.is_about))
    }
}

fn gone(place: &Place, version: &Version) -> StoreError {
    StoreError::damaged(format!(
        "{} has gone, and nothing says which image it was; restore it, or remove {} and publish {version} again",
        place.firmware(),
        place.version()
    ))
}
