//! Promoting: a release is copied into a channel, `version.txt` last, which is the commit.

use bytes::Bytes;
use cause::store as causes;
use contract::{ChannelName, ProductName, Version};

use crate::error::StoreError;
use crate::objects::digest::sha256;
use crate::objects::object::{Read, Tag};
use crate::objects::write::{Condition, Write};
use crate::objects::write_lock::WriteLock;
use crate::releases::gate::check::Check;
use crate::releases::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place, VERSION_MAX_BYTES};
use crate::releases::metadata::Metadata;
use crate::releases::publication::Publication;
use crate::releases::publisher::Published;
use crate::releases::release::{Complete, VersionFile, parse_version};
use crate::store::Store;
use crate::tasks::{ROUNDS_MAX, off_the_async_threads, pause, run_detached};

struct Copied {
    firmware: Bytes,
    /// Byte for byte what stands in the release, so that nothing that others wrote there is lost.
    metadata: Bytes,
    version: Bytes,
}

/// What to do where the channel points to a higher version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    Allowed,
    Refused,
}

/// What came of one attempt.
enum Outcome {
    Done,
    /// Somebody else wrote to the channel meanwhile; it is to be tried again.
    Again,
    /// The channel points to this higher version, and holds what belongs to it.
    Higher(Version),
}

#[derive(Debug, Clone)]
struct Promotion {
    product: ProductName,
    version: Version,
    channel: ChannelName,
    lower: Lower,
}

impl Store {
    /// Points a channel at a release. Doing it again changes nothing. Refused for a blocked version; `NotFound` for one
    /// that is not published. Can be killed at any point and run again.
    pub async fn promote(
        &self,
        product: &ProductName,
        version: &Version,
        channel: &ChannelName,
    ) -> Result<(), StoreError> {
        self.promote_unless_higher(product, version, channel, Lower::Allowed).await.map(drop)
    }

    /// Promotes what was published, now or before, but not over a higher version unless `lower-version` is allowed: of two
    /// jobs at once the higher version stays, and an old job that is run again must not roll a fleet back. What the
    /// channel points to is looked at by the write that changes it.
    pub async fn promote_published(
        &self,
        publication: &Publication,
        published: &Published,
        channel: &ChannelName,
    ) -> Result<(), StoreError> {
        let (product, version) = (&publication.product, &published.release.version);
        if publication.allow.contains(&Check::LowerVersion) {
            return self.promote(product, version, channel).await;
        }
        let higher = self.promote_unless_higher(product, version, channel, Lower::Refused).await?;
        let Some(higher) = higher else { return Ok(()) };
        let cause = causes::CHANNEL_IS_HIGHER.naming("version", version).naming("product", product);
        Err(StoreError::Refused(cause.naming("channel", channel).naming("higher", higher)))
    }

    /// The higher version that the channel was left at, if it was.
    async fn promote_unless_higher(
        &self,
        product: &ProductName,
        version: &Version,
        channel: &ChannelName,
        lower: Lower,
    ) -> Result<Option<Version>, StoreError> {
        let place = Place::channel(product, channel);
        let (product, version, channel) = (product.clone(), version.clone(), channel.clone());
        let promotion = Promotion { product, version, channel, lower };
        for _ in 0..ROUNDS_MAX {
            let lock = self.bucket.write_lock(&place.version()).await?;
            let (store, attempted) = (self.clone(), promotion.clone());
            match run_detached(async move { store.promote_once(&lock, &attempted).await }).await? {
                Outcome::Done => return Ok(None),
                Outcome::Higher(now) => return Ok(Some(now)),
                Outcome::Again => pause().await,
            }
        }
        let Promotion { product, channel, .. } = promotion;
        let cause = causes::PROMOTED_BY_ANOTHER.naming("channel", channel).naming("product", product);
        Err(StoreError::corrupt(cause))
    }

    /// One attempt, by whoever holds the lock. What the channel points to is read before anything is written, and the commit
    /// is for exactly that: who loses in between looks again before it writes again.
    async fn promote_once(&self, lock: &WriteLock, promotion: &Promotion) -> Result<Outcome, StoreError> {
        let Promotion { product, version, channel, lower } = promotion;
        let place = Place::channel(product, channel);
        let before = self.bucket.read(&place.version(), VERSION_MAX_BYTES).await?;
        if let (Lower::Refused, VersionFile::Says(now)) =
            (lower, parse_version(&place.version(), before.clone()))
            && now > *version
            && !self.product_json(product).await?.gate.allow.contains(&Check::LowerVersion)
        {
            let is_whole = self.make_whole(lock, &place, before, product, &now).await?;
            return Ok(if is_whole { Outcome::Higher(now) } else { Outcome::Again });
        }
        self.refuse_blocked(product, version).await?;
        let release = self.copied(product, version).await?;
        let is_done = self.copy_into(lock, &place, before, release, Some(promotion)).await?;
        Ok(if is_done { Outcome::Done } else { Outcome::Again })
    }

    /// Sees to it that a channel holds what belongs to the version that it points to: a lower one's job may have copied
    /// its own image there before it lost, or been killed. False if somebody else wrote meanwhile.
    async fn make_whole(
        &self,
        lock: &WriteLock,
        place: &Place,
        before: Read,
        product: &ProductName,
        now: &Version,
    ) -> Result<bool, StoreError> {
        let mut release = match self.copied(product, now).await {
            Ok(release) => release,
            // Another program's, of which the channel has the only copy.
            Err(StoreError::NotFound(_)) => return Ok(true),
            // Nothing to mend it with, and it is the higher one all the same.
            Err(error) if error.is_corrupt() => {
                tracing::warn!("{} is left as it is: {error}", place.version());
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        if let Read::Found(before) = &before {
            release.version = before.bytes.clone();
        }
        self.copy_into(lock, place, before, release, None).await
    }

    /// Copies a release and points the channel at it; false if somebody else wrote to the channel meanwhile. `promotion` is
    /// what must still be allowed then; none, where the channel points there already.
    async fn copy_into(
        &self,
        lock: &WriteLock,
        place: &Place,
        before: Read,
        release: Copied,
        promotion: Option<&Promotion>,
    ) -> Result<bool, StoreError> {
        let bucket = &self.bucket;
        let firmware = bucket.ensure(lock, place.firmware(), release.firmware, FIRMWARE_MAX_BYTES).await?;
        let metadata = bucket.ensure(lock, place.metadata(), release.metadata, JSON_MAX_BYTES).await?;
        if !(bucket.reads_back(&firmware).await? && bucket.reads_back(&metadata).await?) {
            return Ok(false);
        }
        if let Some(Promotion { product, version, .. }) = promotion {
            // It may have been blocked while the image was copied.
            self.refuse_blocked(product, version).await?;
        }
        let is_pointed = self.point(lock, place, before, release.version.clone()).await?.is_some();
        // Another job's for the same version, or our own whose answer was lost on its way, is no defeat.
        if !is_pointed && !self.is_pointed(place, &release.version).await? {
            // Perhaps over what belongs to the version that it points to by now.
            bucket.put_back(lock, firmware).await?;
            bucket.put_back(lock, metadata).await?;
            return Ok(false);
        }
        Ok(bucket.is_unchanged(&firmware).await? && bucket.is_unchanged(&metadata).await?)
    }

    async fn point(
        &self,
        lock: &WriteLock,
        place: &Place,
        before: Read,
        version: Bytes,
    ) -> Result<Option<Tag>, StoreError> {
        let key = place.version();
        let before = match before {
            Read::Missing => None,
            // Nothing to write, so nothing that fails if somebody else has written since: it is looked at again.
            Read::Found(before) if before.bytes == version => {
                let now = self.bucket.find(&key).await?;
                return Ok(now.map(|now| now.tag).filter(|tag| *tag == before.tag));
            }
            Read::Found(before) => Some(before.tag),
            Read::TooLong(before) => Some(before.tag),
        };
        self.bucket.put(lock, Write::new(&key, version, Condition::unchanged(before.as_ref()))).await
    }

    async fn is_pointed(&self, place: &Place, version: &Bytes) -> Result<bool, StoreError> {
        let now = self.bucket.read(&place.version(), VERSION_MAX_BYTES).await?;
        Ok(matches!(now, Read::Found(now) if now.bytes == *version))
    }

    async fn refuse_blocked(&self, product: &ProductName, version: &Version) -> Result<(), StoreError> {
        match self.blocked(product).await?.cause(version) {
            Some(cause) => Err(StoreError::Refused(cause.with("promotion", "refused"))),
            None => Ok(()),
        }
    }

    async fn copied(&self, product: &ProductName, version: &Version) -> Result<Copied, StoreError> {
        let found = self.find_complete(product, version).await?;
        let Some(Complete { place, version: spelled, mark }) = found else {
            let cause = causes::NO_RELEASE.naming("product", product).naming("version", version);
            return Err(StoreError::NotFound(cause));
        };
        let Read::Found(firmware) = self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? else {
            let cause = causes::PROMOTION_WITHOUT_IMAGE.with("key", place.firmware());
            return Err(StoreError::corrupt(cause.naming("version", spelled)));
        };
        let image = firmware.bytes.clone();
        let digest = off_the_async_threads(move || sha256(&image)).await?;
        if let Some(published) = mark.filter(|published| *published != digest) {
            let cause = causes::PROMOTION_OF_ANOTHER_IMAGE.with("key", place.firmware());
            return Err(StoreError::corrupt(cause.naming("version", spelled).naming("published", published)));
        }
        let metadata = match self.bucket.read(&place.metadata(), JSON_MAX_BYTES).await? {
            Read::Found(found) => {
                let metadata = Metadata::parse(&found.bytes);
                if metadata.sha256().is_some_and(|said| said != digest) {
                    let cause = causes::PROMOTION_AGAINST_METADATA.with("key", place.firmware());
                    let cause = cause.with("metadata", place.metadata());
                    return Err(StoreError::corrupt(cause.naming("version", spelled)));
                }
                found.bytes
            }
            // The channel must not keep what was said of its last image.
            Read::Missing | Read::TooLong(_) => {
                let described = self.describe(&place, &spelled).await?;
                let chip = described.and_then(|described| described.chip);
                let size = firmware.bytes.len();
                Metadata::bare(product, &spelled, chip.as_deref(), size, digest).to_bytes().into()
            }
        };
        Ok(Copied { firmware: firmware.bytes, metadata, version: format!("{spelled}\n").into() })
    }
}
