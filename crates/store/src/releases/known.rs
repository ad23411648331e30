//! What is known of a product before an image is judged: one listing of its releases and a few small reads, however
//! many releases there are.

use bytes::Bytes;
use contract::{ChannelName, ProductName, Sha256, Version};

use crate::error::StoreError;
use crate::objects::object::Found;
use crate::objects::sums::sha256;
use crate::releases::gate::facts::{Facts, Production, Slot, Taken};
use crate::releases::layout::{JSON_MAX_BYTES, Place};
use crate::releases::listing;
use crate::releases::metadata::Metadata;
use crate::releases::release::Complete;
use crate::store::Store;
use crate::tasks::off_the_async_threads;

/// At most this many releases of the same size are compared with the image, the highest first: what is published twice by
/// a slip was built last.
const TWINS_MAX: usize = 8;
/// At most this many releases are asked for their chip where nothing else says it.
const CHIPS_MAX: usize = 16;

/// What production points to, and the object it lies in, if there is one.
struct Deployed {
    version: Version,
    firmware: Option<Found>,
    /// It is no release: another program put it there.
    by_hand: bool,
}

/// The image that is to be published, and what it is compared with.
struct Question<'a> {
    product: &'a ProductName,
    version: Option<&'a Version>,
    size: u64,
    sha256: Sha256,
    /// The releases, highest version first.
    sizes: &'a [(Version, u64)],
    by_hand: Option<&'a Deployed>,
}

impl Store {
    /// Reads what is known of the product before an image is judged. `reported` is the smallest slot of its devices,
    /// where a server knows them; else what a server recorded counts.
    pub(crate) async fn facts(
        &self,
        product: &ProductName,
        version: Option<&Version>,
        image: &Bytes,
        reported: Option<Slot>,
    ) -> Result<Facts, StoreError> {
        let file = self.product_json(product).await?;
        let sizes = listing::sizes(&self.bucket, product).await?;
        let deployed = self.deployed(product, &sizes).await?;
        let production = self.production(deployed.as_ref()).await?;
        let chip = match file.chip {
            Some(chip) => Some(chip),
            None => self.chip_of(product, production.as_ref(), &sizes).await?,
        };
        let written = file.slot_bytes.map(|bytes| Slot { bytes, device: None });
        let reported = match reported {
            Some(slot) => Some(slot),
            None => self.recorded_slot(product).await?,
        };
        let slot = [written, reported].into_iter().flatten().min_by_key(|slot| slot.bytes);
        let by_hand = deployed.filter(|deployed| deployed.by_hand);
        let (size, bytes) = (image.len() as u64, image.clone());
        let sha256 = off_the_async_threads(move || sha256(&bytes)).await?;
        let asked = Question { product, version, size, sha256, sizes: &sizes, by_hand: by_hand.as_ref() };
        Ok(Facts {
            chip,
            slot,
            trusted_keys: file.trusted_keys,
            signatures_required: file.signatures_required,
            secure_version: file.secure_version,
            settings: file.gate,
            production,
            twins: self.twins(&asked).await?,
            blocked: self.blocked_bytes(product, image).await?,
            taken: self.taken(&asked).await?,
            sizes,
        })
    }

    /// What production points to, and its image: the release's, which cannot change, where there is one.
    async fn deployed(
        &self,
        product: &ProductName,
        sizes: &[(Version, u64)],
    ) -> Result<Option<Deployed>, StoreError> {
        let place = Place::channel(product, &ChannelName::production());
        // What cannot be read is nothing to compare with, and nothing that a publish could make worse.
        let Ok(Some(version)) = self.version_file(&place).await? else { return Ok(None) };
        let release = sizes.iter().find(|(release, _)| *release == version);
        let place = release.map_or(place, |(release, _)| Place::named(product, release));
        let firmware = self.bucket.find(&place.firmware()).await?;
        Ok(Some(Deployed { version, firmware, by_hand: release.is_none() }))
    }

    async fn production(&self, deployed: Option<&Deployed>) -> Result<Option<Production>, StoreError> {
        let Some(Deployed { version, firmware, .. }) = deployed else { return Ok(None) };
        let prefix = match firmware {
            Some(firmware) => self.prefix(firmware).await?,
            None => None,
        };
        let header = prefix.as_ref().map(|prefix| prefix.header);
        let descriptor = prefix.and_then(|prefix| prefix.descriptor);
        Ok(Some(Production { version: version.clone(), header, descriptor }))
    }

    pub(crate) async fn prefix(&self, firmware: &Found) -> Result<Option<image::Prefix>, StoreError> {
        let beginning = self.bucket.beginning(firmware, image::PREFIX_BYTES as u64).await?;
        Ok(image::Prefix::parse(&beginning).ok())
    }

    /// The chip of production's image, else of the lowest release that says one.
    async fn chip_of(
        &self,
        product: &ProductName,
        production: Option<&Production>,
        sizes: &[(Version, u64)],
    ) -> Result<Option<String>, StoreError> {
        let header = production.and_then(|production| production.header);
        if let Some(chip) = header.and_then(|header| header.chip()) {
            return Ok(Some(chip.name().to_owned()));
        }
        for (version, _) in sizes.iter().rev().take(CHIPS_MAX) {
            let key = Place::named(product, version).firmware();
            let Some(firmware) = self.bucket.find(&key).await? else { continue };
            let prefix = self.prefix(&firmware).await?;
            if let Some(chip) = prefix.and_then(|prefix| prefix.header.chip()) {
                return Ok(Some(chip.name().to_owned()));
            }
        }
        Ok(None)
    }

    async fn taken(&self, asked: &Question<'_>) -> Result<Taken, StoreError> {
        let (product, Some(version)) = (asked.product, asked.version) else { return Ok(Taken::Free) };
        let is_listed = asked.sizes.iter().any(|(release, _)| release == version);
        let key = Place::release(product, version).version();
        // A release that has lost its image is not among them.
        if is_listed || self.bucket.find(&key).await?.is_some() {
            // Looked up as a publish does it, which also sees what contradicts itself.
            let Some(existing) = self.find_complete(product, version).await? else { return Ok(Taken::Free) };
            let Complete { place, version: spelled, mark } = existing;
            // A release that is this image's and was corrupted is repaired by publishing it again.
            let is_ours = match self.bucket.find(&place.firmware()).await? {
                Some(firmware) => mark == Some(asked.sha256) || self.is_image(&firmware, asked).await?,
                None => {
                    let said = self.bucket.read_small(&place.metadata(), JSON_MAX_BYTES).await?;
                    match mark.or_else(|| Metadata::of_read(&said).ok()?.sha256_of(&spelled)) {
                        Some(lost) => lost == asked.sha256,
                        // Nobody knows, which the publish itself says.
                        None => return Ok(Taken::Free),
                    }
                }
            };
            return Ok(if is_ours { Taken::SameBytes(spelled) } else { Taken::OtherBytes(spelled) });
        }
        match asked.by_hand {
            Some(Deployed { version: deployed, firmware: Some(firmware), .. })
                if deployed == version && !self.is_image(firmware, asked).await? =>
            {
                Ok(Taken::ByProduction(deployed.clone()))
            }
            _ => Ok(Taken::Free),
        }
    }

    /// Whether an object is this image, by its own bytes: they are read if the sizes are the same.
    async fn is_image(&self, firmware: &Found, asked: &Question<'_>) -> Result<bool, StoreError> {
        Ok(firmware.size == asked.size && self.bucket.digest(firmware).await? == asked.sha256)
    }

    /// A release, if its image is this one: by what its metadata says, else by its bytes.
    async fn twin(&self, asked: &Question<'_>, version: Version) -> Result<Option<Version>, StoreError> {
        let place = Place::named(asked.product, &version);
        let said = Metadata::of_read(&self.bucket.read_small(&place.metadata(), JSON_MAX_BYTES).await?);
        let about = said.ok().filter(|said| said.contradiction(&version, asked.size).is_none());
        let found = match about.and_then(|said| said.sha256()) {
            Some(digest) => Some(digest),
            None => match self.bucket.find(&place.firmware()).await? {
                Some(firmware) => Some(self.bucket.digest(&firmware).await?),
                None => None,
            },
        };
        Ok((found == Some(asked.sha256)).then_some(version))
    }

    /// Other versions with these bytes. Only what has the same size can be one.
    async fn twins(&self, asked: &Question<'_>) -> Result<Vec<Version>, StoreError> {
        let same_size = asked.sizes.iter().filter(|(_, size)| *size == asked.size);
        let others = same_size.map(|(release, _)| release).filter(|release| Some(*release) != asked.version);
        let mut twins = Vec::new();
        for release in others.take(TWINS_MAX) {
            twins.extend(self.twin(asked, release.clone()).await?);
        }
        if let Some(Deployed { version: deployed, firmware: Some(firmware), .. }) = asked.by_hand
            && Some(deployed) != asked.version
            && self.is_image(firmware, asked).await?
        {
            twins.push(deployed.clone());
        }
        Ok(twins)
    }
}
