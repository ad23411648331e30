//! Publishing: a gate, then `firmware.bin`, `metadata.json`, a look at both, and `version.txt`, which is the commit.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use contract::{ProductName, Sha256, Version};
use image::Summary;

use crate::catalog::Release;
use crate::commit::gone;
use crate::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place};
use crate::metadata::Metadata;
use crate::settle::{ROUNDS_MAX, pause};
use crate::{Store, StoreError, signers};

/// What is to be published, besides the image itself.
#[derive(Debug, Clone)]
pub struct Publication {
    /// For which product.
    pub product: ProductName,
    /// As which version; `None` takes the image's own, if it has one.
    pub version: Option<Version>,
    /// What is new.
    pub notes: Option<String>,
    /// Git commit.
    pub commit: Option<String>,
    /// When the image was built; `None` is now.
    pub built_at: Option<DateTime<Utc>>,
    /// The lowest version that may update to this one directly.
    pub requires: Option<Version>,
}

impl Publication {
    /// An image of a product, of which nothing else is said.
    pub fn new(product: ProductName) -> Self {
        Self { product, version: None, notes: None, commit: None, built_at: None, requires: None }
    }
}

/// What came of publishing.
#[derive(Debug, Clone)]
pub struct Published {
    /// The release, as it is in the store.
    pub release: Release,
    /// Whether these very bytes had been published before, and nothing was changed.
    pub already_there: bool,
}

impl Store {
    /// Publishes an image, or says in a sentence why not. Can be killed at any point and run again.
    ///
    /// `progress` is told how many bytes of the image are in the store.
    pub async fn publish(
        &self,
        publication: &Publication,
        image: Bytes,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Published, StoreError> {
        let summary = image::verify(&image).map_err(|error| StoreError::Invalid(error.to_string()))?;
        let version = version_of(publication, &summary)?;
        let signers = signers::of(&image, &summary)?;
        self.gate(publication, &summary, &signers).await?;
        let metadata = Metadata::of(publication, &version, &summary, &signers, Utc::now());
        let metadata: Bytes = metadata.to_bytes().into();
        if metadata.len() as u64 > JSON_MAX_BYTES {
            return Err(StoreError::Invalid(
                "the notes are too long: metadata.json would exceed 1 MiB".to_owned(),
            ));
        }
        let place = Place::release(&publication.product, &version);
        for _ in 0..ROUNDS_MAX {
            let turn = self.bucket.turn().await?;
            if let Some(release) =
                self.published(&turn, &publication.product, &version, &image, &metadata).await?
            {
                progress(image.len() as u64);
                return Ok(Published { release, already_there: true });
            }
            if !self.is_left_over(&place, &image).await? {
                continue;
            }
            let (key, limit) = (place.firmware(), FIRMWARE_MAX_BYTES);
            let firmware = self.bucket.settle_telling(&turn, key, image.clone(), limit, progress).await?;
            progress(image.len() as u64);
            let said = self.bucket.settle(&turn, place.metadata(), metadata.clone(), JSON_MAX_BYTES).await?;
            if self.commit(&turn, &place, &version, firmware, said).await? {
                let described = self.describe(&place, &version).await?;
                let described = described.ok_or_else(|| gone(&place))?;
                return Ok(Published { release: described.release(version), already_there: false });
            }
            drop(turn);
            pause().await;
        }
        Err(StoreError::damaged(format!(
            "somebody else is publishing {version} of {} at the same time; run this again",
            publication.product
        )))
    }

    /// What an image must be for its product.
    async fn gate(
        &self,
        publication: &Publication,
        image: &Summary,
        signers: &[Sha256],
    ) -> Result<(), StoreError> {
        let product = &publication.product;
        let chip = image.chip().ok_or_else(|| {
            StoreError::Invalid(format!(
                "the image is for a chip that this Updraft does not know (id 0x{:04x}); a newer one may",
                image.header.chip_id
            ))
        })?;
        let file = self.product_file(product).await?;
        if let Some(expected) = file.chip.filter(|expected| expected != chip.name()) {
            return Err(StoreError::Refused(format!(
                "the image is for {}, but the devices of {product} are {expected}; build it for {expected}, or publish it \
                 for another product",
                chip.name()
            )));
        }
        match file.slot_bytes {
            Some(slot) if image.total_bytes > slot => Err(StoreError::Refused(format!(
                "the image has {} bytes, but the smallest slot of {product} has {slot}; make it smaller",
                image.total_bytes
            ))),
            _ => signers::require(product, &file.trusted_keys, signers),
        }
    }
}

/// The version that was given, else the image's own.
fn version_of(publication: &Publication, image: &Summary) -> Result<Version, StoreError> {
    if let Some(version) = &publication.version {
        return Ok(version.clone());
    }
    let Some(descriptor) = image.descriptor.filter(image::AppDescriptor::is_apps_own) else {
        return Err(StoreError::Invalid(
            "the image does not carry a version of its own (Arduino and PlatformIO builds do not); say which one it is \
             with --version"
                .to_owned(),
        ));
    };
    descriptor.version().parse().map_err(|error| {
        StoreError::Invalid(format!(
            "the image calls its version \"{}\", but {error}; say which one it is with --version",
            descriptor.version().escape_debug()
        ))
    })
}
