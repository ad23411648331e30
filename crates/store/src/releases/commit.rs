//! Which of several publishers of one version wins, and that its image then stays.
//!
//! `version.txt` is created once, with the digest of its image (as S3's user metadata), so that everybody knows who won. An
//! image without it is unfinished: its own publisher goes on with it, another one may replace it once it is old. Whoever
//! writes looks at what it replaces before it looks whether the version is published, so that who comes late writes nothing
//! over a release. Who stalls between its last look and `version.txt` leaves what readers refuse; publishing again repairs.

use bytes::Bytes;
use cause::{Cause, gate, store as causes};
use chrono::{TimeDelta, Utc};
use contract::{ProductName, Sha256, Version};

use crate::error::StoreError;
use crate::objects::ensure::{Written, same};
use crate::objects::object::{Found, Read};
use crate::objects::write::{Condition, Write};
use crate::objects::write_lock::WriteLock;
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
    /// Where it will lie.
    pub(crate) place: Place,
    pub(crate) image: Bytes,
    pub(crate) sha256: Sha256,
    pub(crate) metadata: Bytes,
    /// The name of its chip, if we know it.
    pub(crate) chip: Option<&'static str>,
}

/// What came of one attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is published, now or before.
    There { release: Box<Release>, already_there: bool },
    /// The version has other bytes, or is about to have; and why that is so.
    Taken(Cause),
    /// Somebody else came in between; it is to be tried again.
    Again,
}

impl Store {
    /// One attempt to publish, by whoever has the lock.
    pub(crate) async fn attempt_once(&self, lock: &WriteLock, work: &Work) -> Result<Outcome, StoreError> {
        let (bucket, place) = (&self.bucket, &work.place);
        let (image, beside) = (place.firmware(), place.metadata());
        let (image, beside) = tokio::try_join!(bucket.find(&image), bucket.read(&beside, JSON_MAX_BYTES))?;
        if let Some(outcome) = self.published(lock, work).await? {
            return Ok(outcome);
        }
        let mut firmware = match self.lay(lock, work, image).await? {
            Ok(firmware) => firmware,
            Err(outcome) => return Ok(outcome),
        };
        let Some(mut metadata) =
            bucket.replace(lock, place.metadata(), work.metadata.clone(), beside).await?
        else {
            return Ok(Outcome::Again);
        };
        if !(bucket.reads_back(&mut firmware).await? && bucket.reads_back(&mut metadata).await?) {
            return Ok(Outcome::Again);
        }
        let text = format!("{}\n", work.version);
        let version_txt = Write::new(&place.version(), text.into(), Condition::Absent);
        if bucket.put(lock, Write { mark: Some(work.sha256), ..version_txt }).await?.is_none() {
            // Perhaps it is our own, and only the answer was lost on its way.
            return Ok(Outcome::Again);
        }
        // Somebody may have taken it for left over while it was read back: whoever won puts it right.
        if !bucket.holds(&firmware.key, &Condition::Same(firmware.tag.clone())).await? {
            return Ok(Outcome::Again);
        }
        bucket.ensure(lock, place.metadata(), work.metadata.clone(), JSON_MAX_BYTES).await?;
        let size = work.image.len() as u64;
        let described = Described {
            firmware: Found { key: firmware.key, size, tag: firmware.tag, modified: None, encoding: None },
            metadata: Metadata::parse(&work.metadata).unwrap_or_default(),
            chip: work.chip.map(str::to_owned),
            mark: None,
            fault: None,
        };
        let release = Box::new(described.release(work.version.clone()));
        Ok(Outcome::There { release, already_there: false })
    }

    /// Brings the image to its place, or tells what came of the attempt.
    async fn lay(
        &self,
        lock: &WriteLock,
        work: &Work,
        before: Option<Found>,
    ) -> Result<Result<Written, Outcome>, StoreError> {
        let (key, bytes) = (work.place.firmware(), work.image.clone());
        let mut condition = Condition::Absent;
        if let Some(before) = before {
            if before.size == bytes.len() as u64
                && let Read::Found(found) = self.bucket.read(&key, before.size).await?
                && same(&found.bytes, &bytes).await?
            {
                return Ok(Ok(Written { key, bytes, tag: found.tag }));
            }
            if let Some(cause) = self.being_published(lock, work, &before) {
                return Ok(Err(Outcome::Taken(cause)));
            }
            condition = Condition::Same(before.tag);
        }
        let tag = self.bucket.put(lock, Write::new(&key, bytes.clone(), condition)).await?;
        Ok(tag.map(|tag| Written { key, bytes, tag }).ok_or(Outcome::Again))
    }

    /// Why another publisher's unfinished image may not be replaced yet. Whoever writes alone knows that nobody has it.
    fn being_published(&self, lock: &WriteLock, work: &Work, image: &Found) -> Option<Cause> {
        let since = image.modified.filter(|_| !lock.is_alone())?;
        let until = since + TimeDelta::from_std(self.unfinished_after).unwrap_or(TimeDelta::MAX);
        let time = |time: chrono::DateTime<Utc>| time.format("%H:%M:%S UTC").to_string();
        (Utc::now() < until).then(|| {
            let cause =
                gate::BEING_PUBLISHED.naming("version", &work.version).naming("product", &work.product);
            cause.with("since", time(since)).with("until", time(until))
        })
    }

    /// What there is of that precedence already; `None` if there is nothing. Of a release that is this image's and was
    /// corrupt, what is corrupt or missing is written again.
    async fn published(&self, lock: &WriteLock, work: &Work) -> Result<Option<Outcome>, StoreError> {
        let Work { product, version, image, metadata, .. } = work;
        let Some(Complete { place, version: spelled, mark }) = self.find_complete(product, version).await?
        else {
            return Ok(None);
        };
        let ours = work.sha256;
        let said = Metadata::of_read(&self.bucket.read(&place.metadata(), JSON_MAX_BYTES).await?);
        let (is_same, is_ours) = match self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? {
            Read::Missing => match mark.or_else(|| said.as_ref().ok()?.sha256_of(&spelled)) {
                Some(lost) => (false, lost == ours),
                None => return Err(gone(&place, &spelled)),
            },
            Read::Found(found) => {
                let is_same = same(&found.bytes, image).await?;
                (is_same, mark.map_or(is_same, |mark| mark == ours))
            }
            Read::TooLong(_) => (false, mark == Some(ours)),
        };
        if let (true, false, Some(winner)) = (is_same, is_ours, mark) {
            let cause = gate::TAKEN_AND_REPLACED.naming("version", spelled).naming("product", product);
            return Ok(Some(Outcome::Taken(cause.naming("sha256", winner))));
        }
        if !is_ours {
            return Ok(Some(Outcome::Taken(taken(product, &spelled))));
        }
        if !is_same {
            tracing::warn!(
                store.key = place.firmware(),
                "its image was replaced or removed, and is put back"
            );
            self.bucket.ensure(lock, place.firmware(), image.clone(), FIRMWARE_MAX_BYTES).await?;
        }
        let is_about = |said: &Metadata| {
            said.sha256().is_none_or(|said| said == ours)
                && said.contradiction(&spelled, image.len() as u64).is_none()
        };
        if mark.is_some() && !said.as_ref().is_ok_and(is_about) {
            tracing::warn!(store.key = place.metadata(), "it did not speak of its image, and is put back");
            self.bucket.ensure(lock, place.metadata(), metadata.clone(), JSON_MAX_BYTES).await?;
        }
        let described = self.describe(&place, &spelled).await?;
        let described = described.ok_or_else(|| gone(&place, &spelled))?;
        let release = Box::new(described.release(spelled));
        Ok(Some(Outcome::There { release, already_there: true }))
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
