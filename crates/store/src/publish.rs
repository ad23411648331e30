//! Publishing: a gate, then `firmware.bin`, `metadata.json`, a look at both, and `version.txt`, which is the commit.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use contract::{ProductName, Version};
use image::{ImageError, Summary};

use crate::bucket::{Read, Turn};
use crate::catalog::Release;
use crate::gate::{Check, Facts, Slot, Verdict, judge, taken_sentence};
use crate::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place};
use crate::metadata::Metadata;
use crate::settle::{ROUNDS_MAX, Settled, pause};
use crate::{Store, StoreError};

/// What is to be published, besides the image itself.
#[derive(Debug, Clone)]
pub struct Publication {
    /// For which product.
    pub product: ProductName,
    /// As which version; `None` takes the image's own, if it has one.
    pub version: Option<Version>,
    /// Checks of the gate that a person overrules.
    pub allow: Vec<Check>,
    /// What the person calls the file, for a command that works on it.
    pub file: Option<String>,
    /// What is new.
    pub notes: Option<String>,
    /// Git commit.
    pub commit: Option<String>,
    /// Git tag at that commit.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit.
    pub dirty: Option<bool>,
    /// When the image was built; `None` is what its own descriptor says, if it does.
    pub built_at: Option<DateTime<Utc>>,
    /// The lowest version that may update to this one directly.
    pub requires: Option<Version>,
    /// The smallest slot of the product's devices, where a server knows them.
    pub slot: Option<Slot>,
}

impl Publication {
    /// An image of a product, of which nothing else is said.
    pub fn new(product: ProductName) -> Self {
        Self {
            product,
            version: None,
            allow: Vec::new(),
            file: None,
            notes: None,
            commit: None,
            tag: None,
            dirty: None,
            built_at: None,
            requires: None,
            slot: None,
        }
    }
}

/// What came of publishing.
#[derive(Debug, Clone)]
pub struct Published {
    /// The release, as it is in the store.
    pub release: Release,
    /// Whether these very bytes had been published before, and nothing was changed.
    pub already_there: bool,
    /// What the gate found, none of which refuses it.
    pub verdict: Verdict,
}

/// What came of trying to publish.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// It is published.
    Published(Box<Published>),
    /// The gate refuses it; nothing was written.
    Refused(Box<Verdict>),
}

impl Store {
    /// What the gate says of an image. Reads, and writes nothing.
    pub async fn judge(&self, publication: &Publication, image: &Bytes) -> Result<Verdict, StoreError> {
        self.verdict(publication, image, &image::verify(image)).await
    }

    async fn verdict(
        &self,
        publication: &Publication,
        image: &Bytes,
        parsed: &Result<Summary, ImageError>,
    ) -> Result<Verdict, StoreError> {
        // Of what is known without the store only the version is needed: it says which release to look for.
        let alone = judge(image, parsed, publication, &Facts::default());
        let slot = publication.slot.clone();
        match self.facts(&publication.product, alone.version.as_ref(), image, slot).await {
            Ok(facts) => Ok(judge(image, parsed, publication, &facts)),
            // What is wrong with the image is wrong whatever the store holds.
            Err(_) if alone.is_refused() => Ok(alone),
            Err(error) => Err(error),
        }
    }

    /// Publishes an image, or says in a sentence why not. Can be killed at any point and run again.
    ///
    /// `progress` is told how many bytes of the image are in the store.
    pub async fn publish(
        &self,
        publication: &Publication,
        image: Bytes,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Published, StoreError> {
        match self.attempt(publication, image, progress).await? {
            Attempt::Published(published) => Ok(*published),
            Attempt::Refused(verdict) => Err(verdict.error().unwrap_or_else(no_version)),
        }
    }

    /// [`Self::publish`] for who wants all that the gate found.
    pub async fn attempt(
        &self,
        publication: &Publication,
        image: Bytes,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Attempt, StoreError> {
        let parsed = image::verify(&image);
        let verdict = self.verdict(publication, &image, &parsed).await?;
        let (false, Ok(summary), Some(version)) = (verdict.is_refused(), parsed, verdict.version.clone())
        else {
            return Ok(Attempt::Refused(Box::new(verdict)));
        };
        let product = &publication.product;
        let metadata = Metadata::of(publication, &version, &summary, &verdict.signers, Utc::now());
        let metadata: Bytes = metadata.to_bytes().into();
        if metadata.len() as u64 > JSON_MAX_BYTES {
            return Err(StoreError::Invalid(
                "the notes are too long: metadata.json would exceed 1 MiB".to_owned(),
            ));
        }
        let place = Place::release(product, &version);
        for _ in 0..ROUNDS_MAX {
            let turn = self.bucket.turn().await?;
            if let Some(release) = self.published(product, &version, &image).await? {
                progress(image.len() as u64);
                return Ok(Attempt::done(release, true, verdict));
            }
            let limit = FIRMWARE_MAX_BYTES;
            let firmware = self.bucket.settle(&turn, place.firmware(), image.clone(), limit).await?;
            progress(image.len() as u64);
            let said = self.bucket.settle(&turn, place.metadata(), metadata.clone(), JSON_MAX_BYTES).await?;
            if self.commit(&turn, &place, &version, firmware, said).await? {
                let described = self.describe(&place, &version).await?;
                let described = described.ok_or_else(|| gone(&place))?;
                return Ok(Attempt::done(described.release(version), false, verdict));
            }
            drop(turn);
            pause().await;
        }
        Err(StoreError::damaged(format!(
            "somebody else is publishing {version} of {product} at the same time; run this again"
        )))
    }

    /// Writes `version.txt` if the other two are what they should be. False: somebody else came in between.
    async fn commit(
        &self,
        turn: &Turn,
        place: &Place,
        version: &Version,
        firmware: Settled,
        metadata: Settled,
    ) -> Result<bool, StoreError> {
        let bucket = &self.bucket;
        if !(bucket.reads_back(&firmware).await? && bucket.reads_back(&metadata).await?) {
            return Ok(false);
        }
        if bucket.create(turn, &place.version(), format!("{version}\n").into()).await?.is_some() {
            // From here on the release exists, and nobody else begins to write it. Who had begun may still.
            bucket.defend(turn, &firmware).await?;
            bucket.defend(turn, &metadata).await?;
            return Ok(true);
        }
        bucket.give_back(turn, firmware).await?;
        bucket.give_back(turn, metadata).await?;
        Ok(false)
    }

    /// The release of that precedence, if it has these bytes; refused if it has others; `None` if there is none.
    async fn published(
        &self,
        product: &ProductName,
        version: &Version,
        image: &Bytes,
    ) -> Result<Option<Release>, StoreError> {
        let Some((place, spelled)) = self.find_release(product, version).await? else { return Ok(None) };
        match self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? {
            Read::Found(found) if found.bytes == *image => {
                let described = self.describe(&place, &spelled).await?;
                Ok(Some(described.ok_or_else(|| gone(&place))?.release(spelled)))
            }
            Read::Missing => Err(gone(&place)),
            Read::Found(_) | Read::TooLong(_) => Err(StoreError::Refused(taken_sentence(product, &spelled))),
        }
    }
}

impl Attempt {
    fn done(release: Release, already_there: bool, verdict: Verdict) -> Self {
        Self::Published(Box::new(Published { release, already_there, verdict }))
    }
}

/// The gate finds that there is no version before anybody else asks for it.
fn no_version() -> StoreError {
    StoreError::Invalid("say which version it is with --version".to_owned())
}

fn gone(place: &Place) -> StoreError {
    StoreError::damaged(format!("{} has gone; look who removed it, and restore it", place.firmware()))
}
