//! Promoting: a release is copied into a channel, `version.txt` last, which is the commit.

use bytes::Bytes;
use contract::{ChannelName, ProductName, Version};

use crate::blocked::Blocked;
use crate::bucket::{Read, Tag};
use crate::gate::Check;
use crate::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place, VERSION_MAX_BYTES};
use crate::metadata::Metadata;
use crate::publish::{Publication, Published};
use crate::put::{Turn, to_its_end};
use crate::settle::{ROUNDS_MAX, pause};
use crate::{Store, StoreError};

/// A release as it is copied.
struct Copied {
    firmware: Bytes,
    /// Byte for byte what stands in the release, so that nothing that others wrote there is lost.
    metadata: Bytes,
    version: Bytes,
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
        let place = Place::channel(product, channel);
        for _ in 0..ROUNDS_MAX {
            let turn = self.bucket.turn().await?;
            let (store, place) = (self.clone(), place.clone());
            let (product, version) = (product.clone(), version.clone());
            let promote = async move {
                store.refuse_blocked(&product, &version).await?;
                let release = store.copied(&product, &version).await?;
                store.copy_into(&turn, &place, release, &product, &version).await
            };
            if to_its_end(promote).await? {
                return Ok(());
            }
            pause().await;
        }
        Err(StoreError::damaged(format!(
            "somebody else is promoting to {channel} of {product} at the same time; run this again"
        )))
    }

    /// Promotes what was just published. What had been published before is not promoted over a higher version unless
    /// `lower-version` is allowed: an old job that is run again must not roll a fleet back.
    pub async fn promote_published(
        &self,
        publication: &Publication,
        published: &Published,
        channel: &ChannelName,
    ) -> Result<(), StoreError> {
        let (product, version) = (&publication.product, &published.release.version);
        if published.already_there
            && !publication.allow.contains(&Check::LowerVersion)
            && let Ok(Some(now)) = self.channel(product, channel).await
            && now > *version
        {
            return Err(StoreError::Refused(format!(
                "{version} of {product} had been published before, and {channel} points to {now}, which is higher, so it is \
                 not promoted; `updraft promote {version} -p {product}` does it, or --allow lower-version"
            )));
        }
        self.promote(product, version, channel).await
    }

    /// One attempt; false if somebody else wrote to the channel meanwhile.
    async fn copy_into(
        &self,
        turn: &Turn,
        place: &Place,
        release: Copied,
        product: &ProductName,
        version: &Version,
    ) -> Result<bool, StoreError> {
        let bucket = &self.bucket;
        let before = bucket.read(&place.version(), VERSION_MAX_BYTES).await?;
        let firmware = bucket.settle(turn, place.firmware(), release.firmware, FIRMWARE_MAX_BYTES).await?;
        let metadata = bucket.settle(turn, place.metadata(), release.metadata, JSON_MAX_BYTES).await?;
        if !(bucket.reads_back(&firmware).await? && bucket.reads_back(&metadata).await?) {
            return Ok(false);
        }
        // It may have been blocked while the image was copied.
        self.refuse_blocked(product, version).await?;
        if self.point(turn, place, before, release.version).await?.is_none() {
            return Ok(false);
        }
        Ok(bucket.stands(&firmware).await? && bucket.stands(&metadata).await?)
    }

    async fn point(
        &self,
        turn: &Turn,
        place: &Place,
        before: Read,
        version: Bytes,
    ) -> Result<Option<Tag>, StoreError> {
        let key = place.version();
        match before {
            Read::Missing => self.bucket.create(turn, &key, version).await,
            // Nothing to write, so nothing that fails if somebody else has written since: it is looked at again.
            Read::Found(before) if before.bytes == version => {
                let now = self.bucket.find(&key).await?;
                Ok(now.map(|now| now.tag).filter(|tag| *tag == before.tag))
            }
            Read::Found(before) => self.bucket.replace(turn, &key, &before.tag, version).await,
            Read::TooLong(_) => match self.bucket.find(&key).await? {
                Some(found) => self.bucket.replace(turn, &key, &found.tag, version).await,
                None => Ok(None),
            },
        }
    }

    async fn refuse_blocked(&self, product: &ProductName, version: &Version) -> Result<(), StoreError> {
        let blocked = self.blocked(product).await?;
        let Some(why) = blocked.refusal(version) else { return Ok(()) };
        let advice = match blocked {
            Blocked::List(_) => "; unblock it first",
            // Nothing can be unblocked while the list cannot be read.
            Blocked::Unreadable(_) => "",
        };
        Err(StoreError::Refused(format!("{why}; it cannot be promoted{advice}")))
    }

    async fn copied(&self, product: &ProductName, version: &Version) -> Result<Copied, StoreError> {
        let Some((place, spelled)) = self.find_release(product, version).await? else {
            return Err(StoreError::NotFound(format!(
                "{product} has no release {version}; publish it first, or see `updraft releases -p {product}`"
            )));
        };
        let Read::Found(firmware) = self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? else {
            return Err(StoreError::damaged(format!(
                "{} is missing or larger than 16 MiB, so it cannot be promoted; publish the image of {spelled} again, \
                 which puts it back",
                place.firmware()
            )));
        };
        let digest = crate::sha256(&firmware.bytes);
        if let Some(published) = self.owner(&place).await?.filter(|published| *published != digest) {
            return Err(StoreError::damaged(format!(
                "{} is not the image that {spelled} was published with (sha256 {published}), so it cannot be promoted; \
                 publish that image as {spelled} again, which puts it back",
                place.firmware()
            )));
        }
        let metadata = match self.bucket.read(&place.metadata(), JSON_MAX_BYTES).await? {
            Read::Found(found) => {
                let metadata = Metadata::parse(&found.bytes);
                if metadata.sha256().is_some_and(|said| said != digest) {
                    return Err(StoreError::damaged(format!(
                        "{} is not the image whose sha256 {} gives, so it cannot be promoted; restore the one that is \
                         wrong, or publish the image of {spelled} again",
                        place.firmware(),
                        place.metadata()
                    )));
                }
                found.bytes
            }
            // The channel must not keep what was said of its last image.
            Read::Missing | Read::TooLong(_) => {
                let described = self.describe(&place, &spelled).await?;
                let chip = described.and_then(|described| described.chip);
                Metadata::bare(product, &spelled, chip.as_deref(), &firmware.bytes).to_bytes().into()
            }
        };
        Ok(Copied { firmware: firmware.bytes, metadata, version: format!("{spelled}\n").into() })
    }
}
