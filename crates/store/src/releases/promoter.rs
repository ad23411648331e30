//! Promoting: a release is copied into a channel, `version.txt` last, which is the commit.

use bytes::Bytes;
use cause::store as causes;
use contract::{ChannelName, ProductName, Version};

use crate::error::StoreError;
use crate::objects::object::Read;
use crate::objects::sums::sha256;
use crate::objects::write::{Condition, Write};
use crate::objects::write_lock::WriteLock;
use crate::releases::gate::check::Check;
use crate::releases::gate::inspection::Inspection;
use crate::releases::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place, VERSION_MAX_BYTES};
use crate::releases::metadata::Metadata;
use crate::releases::publication::Publication;
use crate::releases::publisher::Published;
use crate::releases::release::{Complete, parse_version};
use crate::store::Store;
use crate::tasks::{ROUNDS_MAX, off_the_async_threads};

struct Copied {
    firmware: Bytes,
    /// Byte for byte what stands in the release, so that nothing that others wrote there is lost.
    metadata: Bytes,
    version: Bytes,
}

/// What came of one attempt.
enum Outcome {
    /// It pointed to this before, where that could be read.
    Done(Option<Version>),
    /// Somebody else wrote to the channel meanwhile; it is to be tried again.
    Again,
    /// The channel points to this higher version, and holds what belongs to it.
    Higher(Version),
}

#[derive(Clone, Copy)]
struct Promotion<'a> {
    product: &'a ProductName,
    version: &'a Version,
    channel: &'a ChannelName,
    over: Over,
}

/// What the channel may point to before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Anything,
    NothingHigher,
    /// The version itself: it is copied once more.
    Itself,
}

impl Store {
    /// Points a channel at a release. Doing it again changes nothing. Refused for a blocked version; `NotFound` for one
    /// that is not published. Can be killed at any point and run again. Answers what the channel pointed to before.
    #[crate::boxed]
    pub async fn promote(
        &self,
        product: &ProductName,
        version: &Version,
        channel: &ChannelName,
    ) -> Result<Option<Version>, StoreError> {
        self.run(Promotion { product, version, channel, over: Over::Anything }).await
    }

    /// Copies once more what a channel points to. Whatever else it points to by then stays as it is.
    pub(crate) async fn promote_again(
        &self,
        product: &ProductName,
        version: &Version,
        channel: &ChannelName,
    ) -> Result<(), StoreError> {
        self.run(Promotion { product, version, channel, over: Over::Itself }).await.map(|_| ())
    }

    /// Promotes what was published, now or before, but not over a higher version unless `lower-version` is allowed: of two
    /// jobs at once the higher version stays, and an old job that is run again must not roll a fleet back. What the
    /// channel points to is looked at by the write that changes it.
    #[crate::boxed]
    pub async fn promote_published(
        &self,
        publication: &Publication,
        published: &Published,
        channel: &ChannelName,
    ) -> Result<Option<Version>, StoreError> {
        let (product, version) = (&publication.product, &published.release.version);
        let may_lower = publication.allow.contains(&Check::LowerVersion);
        let over = if may_lower { Over::Anything } else { Over::NothingHigher };
        self.run(Promotion { product, version, channel, over }).await
    }

    async fn run(&self, promotion: Promotion<'_>) -> Result<Option<Version>, StoreError> {
        let Promotion { product, version, channel, .. } = promotion;
        let key = Place::channel(product, channel).version();
        let attempt = async |lock| match Box::pin(self.promote_once(&lock, promotion)).await? {
            Outcome::Done(before) => Ok(Some(before)),
            Outcome::Higher(higher) => {
                let cause = causes::CHANNEL_IS_HIGHER.naming("version", version).naming("product", product);
                Err(StoreError::Refused(cause.naming("channel", channel).naming("higher", higher)))
            }
            Outcome::Again => Ok(None),
        };
        if let Some(before) = self.bucket.in_rounds(&key, ROUNDS_MAX, attempt).await? {
            return Ok(before);
        }
        let cause = causes::PROMOTED_BY_ANOTHER.naming("channel", channel).naming("product", product);
        Err(StoreError::corrupt(cause))
    }

    /// One attempt, by whoever has the lock. The commit is for exactly what the channel pointed to at first; who loses looks
    /// again. Where a higher version stays, what belongs to it is put back: a lower one's job may have lost, or been killed.
    async fn promote_once(&self, lock: &WriteLock, promotion: Promotion<'_>) -> Result<Outcome, StoreError> {
        let Promotion { product, version, channel, over } = promotion;
        let (bucket, place) = (&self.bucket, Place::channel(product, channel));
        let before = bucket.read(&place.version(), VERSION_MAX_BYTES).await?;
        let known = parse_version(&place.version(), before.clone()).ok().flatten();
        if over == Over::Itself && known.as_ref() != Some(version) {
            return Ok(Outcome::Done(known));
        }
        let higher = match &known {
            Some(now) if version.is_below(now) && over == Over::NothingHigher => {
                let is_allowed = self.product_json(product).await?.gate.allow.contains(&Check::LowerVersion);
                (!is_allowed).then(|| now.clone())
            }
            _ => None,
        };
        if higher.is_none() {
            self.refuse_blocked(product, version).await?;
        }
        let mut release = match (&higher, self.copied(product, higher.as_ref().unwrap_or(version)).await) {
            // Another program's, of which the channel has the only copy; or there is nothing to mend it with.
            (Some(now), Err(error)) if matches!(error, StoreError::NotFound(_)) || error.is_corrupt() => {
                tracing::info!("{} is left as it is: {error}", place.version());
                return Ok(Outcome::Higher(now.clone()));
            }
            (_, release) => release?,
        };
        if higher.is_none() {
            self.refuse_unfit(product, version, &release.firmware).await?;
        }
        if let (true, Read::Found(before)) = (higher.is_some() || over == Over::Itself, &before) {
            release.version = before.bytes.clone();
        }
        let mut firmware =
            bucket.ensure(lock, place.firmware(), release.firmware, FIRMWARE_MAX_BYTES).await?;
        let mut metadata = bucket.ensure(lock, place.metadata(), release.metadata, JSON_MAX_BYTES).await?;
        if !(bucket.reads_back(&mut firmware).await? && bucket.reads_back(&mut metadata).await?) {
            return Ok(Outcome::Again);
        }
        if higher.is_none() {
            // It may have been blocked while the image was copied.
            self.refuse_blocked(product, version).await?;
        }
        let (key, condition) = (place.version(), Condition::unchanged(&before));
        let is_pointed = match before {
            Read::Found(before) if before.bytes == release.version => bucket.holds(&key, &condition).await?,
            _ => bucket.put(lock, Write::new(&key, release.version, condition)).await?.is_some(),
        };
        let is_done = is_pointed
            && bucket.holds(&firmware.key, &Condition::Same(firmware.tag)).await?
            && bucket.holds(&metadata.key, &Condition::Same(metadata.tag)).await?;
        Ok(if is_done { higher.map_or(Outcome::Done(known), Outcome::Higher) } else { Outcome::Again })
    }

    async fn refuse_blocked(&self, product: &ProductName, version: &Version) -> Result<(), StoreError> {
        match self.blocked(product).await?.cause(version) {
            Some(cause) => Err(StoreError::Refused(cause.with("promotion", "refused"))),
            None => Ok(()),
        }
    }

    /// Refuses what is offered to nobody: by its bytes, or since these are blocked under another name.
    async fn refuse_unfit(
        &self,
        product: &ProductName,
        version: &Version,
        image: &Bytes,
    ) -> Result<(), StoreError> {
        let (guard, bytes) = (self.guard(product).await?, image.clone());
        let inspection = off_the_async_threads(move || Inspection::of(&bytes, String::new())).await?;
        let unfit = inspection.refusal(product, version, &guard);
        let unfit = unfit.map(|why| causes::PROMOTION_UNFIT.naming("version", version).naming("why", why));
        let blocked = match unfit {
            None => self.blocked_bytes(product, image).await?,
            unfit => unfit,
        };
        blocked.map_or(Ok(()), |cause| Err(StoreError::Refused(cause)))
    }

    async fn copied(&self, product: &ProductName, version: &Version) -> Result<Copied, StoreError> {
        let found = self.find_complete(product, version).await?;
        let Some(Complete { place, version: spelled, mark }) = found else {
            let cause = causes::NO_RELEASE.naming("product", product).naming("version", version);
            return Err(StoreError::NotFound(cause));
        };
        let without_image = || {
            let cause = causes::PROMOTION_WITHOUT_IMAGE.with("key", place.firmware());
            StoreError::corrupt(cause.naming("version", &spelled))
        };
        let found = self.bucket.find(&place.firmware()).await?;
        let found = found.filter(|found| found.size <= FIRMWARE_MAX_BYTES).ok_or_else(without_image)?;
        let Read::Found(firmware) = self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? else {
            return Err(without_image());
        };
        let image = firmware.bytes.clone();
        let digest = off_the_async_threads(move || sha256(&image)).await?;
        if let Some(published) = mark.filter(|published| *published != digest) {
            let cause = causes::PROMOTION_OF_ANOTHER_IMAGE.with("key", place.firmware());
            return Err(StoreError::corrupt(cause.naming("version", spelled).naming("published", published)));
        }
        let read = self.bucket.read(&place.metadata(), JSON_MAX_BYTES).await?;
        let said = match &read {
            Read::Found(found) => Some(found.bytes.clone()),
            Read::Missing | Read::TooLong(_) => None,
        };
        let described = self.described(found, read, &spelled).await?;
        if described.metadata.sha256().is_some_and(|said| said != digest) {
            let cause = causes::PROMOTION_AGAINST_METADATA.with("key", place.firmware());
            let cause = cause.with("metadata", place.metadata());
            return Err(StoreError::corrupt(cause.naming("version", spelled)));
        }
        let described = described.agreed(&spelled)?;
        // The channel must not keep what was said of its last image.
        let metadata = said.unwrap_or_else(|| {
            let (chip, size) = (described.chip.as_deref(), firmware.bytes.len());
            Metadata::bare(product, &spelled, chip, size, digest).to_bytes().into()
        });
        Ok(Copied { firmware: firmware.bytes, metadata, version: format!("{spelled}\n").into() })
    }
}
