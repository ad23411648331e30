//! What is known of a product before an image is judged: one listing of its releases and a few small reads, however
//! many releases there are.

use bytes::Bytes;
use contract::{ChannelName, ProductName, Sha256, Version};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use image::{AppDescriptor, Header};

use crate::bucket::{Found, Read};
use crate::catalog::VersionFile;
use crate::layout::{JSON_MAX_BYTES, Place};
use crate::listing;
use crate::metadata::Metadata;
use crate::product::GateSettings;
use crate::{Store, StoreError};

/// So many releases of the same size are compared with the image, the highest first: what is published twice by a slip
/// was built last.
const TWINS_MAX: usize = 8;
/// So many releases are asked for their chip where nothing else says it.
const CHIPS_MAX: usize = 16;

/// The smallest slot that an image of the product must fit into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its size.
    pub bytes: u32,
    /// The device that reports it; `None` if `product.json` says it.
    pub device: Option<String>,
}

/// What production runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Production {
    /// Its version.
    pub version: Version,
    /// The header of its image, if it can be read.
    pub header: Option<Header>,
    /// The descriptor of its image, if it has one.
    pub descriptor: Option<AppDescriptor>,
}

/// Whether the version is there already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Taken {
    /// It is not.
    #[default]
    Free,
    /// These very bytes are published as it, spelled like this.
    SameBytes(Version),
    /// Other bytes are published as it.
    OtherBytes(Version),
    /// Another program put other bytes into production as it.
    ByProduction(Version),
}

/// What is known of the product. The default knows nothing: what is then found lies in the image itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The chip of its images; `None` until there is one.
    pub chip: Option<String>,
    /// Its smallest slot, where somebody said so.
    pub slot: Option<Slot>,
    /// The keys whose signatures count; none takes any image.
    pub trusted_keys: Vec<Sha256>,
    /// How the gate is set.
    pub settings: GateSettings,
    /// What production runs, if anything.
    pub production: Option<Production>,
    /// The releases and their bytes, highest version first.
    pub sizes: Vec<(Version, u64)>,
    /// Other versions under which these very bytes are published.
    pub twins: Vec<Version>,
    /// Whether the version is there already.
    pub taken: Taken,
}

/// A complete release, as the listing tells of it.
struct Listed {
    version: Version,
    firmware: Found,
}

impl Store {
    /// Reads what is known of the product before an image is judged. `reported` is the smallest slot of its devices,
    /// where a server knows them.
    pub(crate) async fn facts(
        &self,
        product: &ProductName,
        version: Option<&Version>,
        image: &Bytes,
        reported: Option<Slot>,
    ) -> Result<Facts, StoreError> {
        let file = self.product_json(product).await?;
        let releases = self.complete(product).await?;
        let deployed = self.deployed(product, &releases).await?;
        let production = match &deployed {
            Some((version, Some(firmware))) => Some(self.production_of(version, firmware).await?),
            Some((version, None)) => {
                Some(Production { version: version.clone(), header: None, descriptor: None })
            }
            None => None,
        };
        let chip = match file.chip {
            Some(chip) => Some(chip),
            None => self.chip_of(production.as_ref(), &releases).await?,
        };
        let written = file.slot_bytes.map(|bytes| Slot { bytes, device: None });
        let slot = [written, reported].into_iter().flatten().min_by_key(|slot| slot.bytes);
        let by_hand =
            deployed.filter(|(version, _)| !releases.iter().any(|release| release.version == *version));
        let sha256 = crate::sha256(image);
        Ok(Facts {
            chip,
            slot,
            trusted_keys: file.trusted_keys,
            settings: file.gate,
            production,
            twins: self.twins(product, version, &releases, by_hand.as_ref(), image, sha256).await?,
            taken: self.taken(product, version, &releases, by_hand.as_ref(), image, sha256).await?,
            sizes: releases.into_iter().map(|release| (release.version, release.firmware.size)).collect(),
        })
    }

    /// The complete releases, highest version first.
    async fn complete(&self, product: &ProductName) -> Result<Vec<Listed>, StoreError> {
        let listed = listing::releases(&self.bucket, product).await?;
        let mut releases: Vec<Listed> = listed
            .into_values()
            .filter(|(_, files)| files.version.is_some())
            .filter_map(|(version, files)| Some(Listed { version, firmware: files.firmware? }))
            .collect();
        releases.sort_by(|left, right| {
            right.version.cmp(&left.version).then_with(|| right.version.as_str().cmp(left.version.as_str()))
        });
        Ok(releases)
    }

    /// What production points to, and its image: the release's, which cannot change, where there is one.
    async fn deployed(
        &self,
        product: &ProductName,
        releases: &[Listed],
    ) -> Result<Option<(Version, Option<Found>)>, StoreError> {
        let place = Place::channel(product, &ChannelName::production());
        // What cannot be read is nothing to compare with, and nothing that a publish could make worse.
        let VersionFile::Says(version) = self.version_file(&place).await? else { return Ok(None) };
        let firmware = match releases.iter().find(|release| release.version == version) {
            Some(release) => Some(release.firmware.clone()),
            None => self.bucket.find(&place.firmware()).await?,
        };
        Ok(Some((version, firmware)))
    }

    async fn production_of(&self, version: &Version, firmware: &Found) -> Result<Production, StoreError> {
        let prefix = self.prefix(firmware).await?;
        Ok(Production {
            version: version.clone(),
            header: prefix.as_ref().map(|prefix| prefix.header),
            descriptor: prefix.and_then(|prefix| prefix.descriptor),
        })
    }

    async fn prefix(&self, firmware: &Found) -> Result<Option<image::Prefix>, StoreError> {
        let beginning = self.bucket.beginning(firmware, image::PREFIX_BYTES as u64).await?;
        Ok(image::Prefix::parse(&beginning).ok())
    }

    /// The chip of production's image, else of the lowest release that says one.
    async fn chip_of(
        &self,
        production: Option<&Production>,
        releases: &[Listed],
    ) -> Result<Option<String>, StoreError> {
        let header = production.and_then(|production| production.header);
        if let Some(chip) = header.and_then(|header| header.chip()) {
            return Ok(Some(chip.name().to_owned()));
        }
        for release in releases.iter().rev().take(CHIPS_MAX) {
            let prefix = self.prefix(&release.firmware).await?;
            if let Some(chip) = prefix.and_then(|prefix| prefix.header.chip()) {
                return Ok(Some(chip.name().to_owned()));
            }
        }
        Ok(None)
    }

    /// The chip that a product's images are for, as its images say.
    pub(crate) async fn first_chip(&self, product: &ProductName) -> Result<Option<String>, StoreError> {
        let releases = self.complete(product).await?;
        let production = match self.deployed(product, &releases).await? {
            Some((version, Some(firmware))) => Some(self.production_of(&version, &firmware).await?),
            _ => None,
        };
        self.chip_of(production.as_ref(), &releases).await
    }

    async fn taken(
        &self,
        product: &ProductName,
        version: Option<&Version>,
        releases: &[Listed],
        by_hand: Option<&(Version, Option<Found>)>,
        image: &Bytes,
        sha256: Sha256,
    ) -> Result<Taken, StoreError> {
        let Some(version) = version else { return Ok(Taken::Free) };
        if releases.iter().any(|release| release.version == *version) {
            // Looked up as a publish does it, which also sees what contradicts itself.
            let Some((place, spelled)) = self.find_release(product, version).await? else {
                return Ok(Taken::Free);
            };
            let same = match self.bucket.find(&place.firmware()).await? {
                Some(firmware) => self.is_image(&firmware, image, sha256).await?,
                None => false,
            };
            return Ok(if same { Taken::SameBytes(spelled) } else { Taken::OtherBytes(spelled) });
        }
        match by_hand {
            Some((deployed, Some(firmware)))
                if deployed == version && !self.is_image(firmware, image, sha256).await? =>
            {
                Ok(Taken::ByProduction(deployed.clone()))
            }
            _ => Ok(Taken::Free),
        }
    }

    /// Whether an object is this image, by its own bytes: they are read if the sizes are the same.
    async fn is_image(&self, firmware: &Found, image: &Bytes, sha256: Sha256) -> Result<bool, StoreError> {
        Ok(firmware.size == image.len() as u64 && self.bucket.digest(firmware).await? == sha256)
    }

    /// The digest of a release's image: what its metadata says, else out of its bytes.
    async fn digest_of(&self, product: &ProductName, release: &Listed) -> Result<Sha256, StoreError> {
        let place = Place::release(product, &release.version);
        let said = match self.bucket.read_small(&place.metadata(), JSON_MAX_BYTES).await? {
            Read::Found(found) => Metadata::parse(&found.bytes),
            Read::Missing | Read::TooLong(_) => Metadata::default(),
        };
        let about = said.is_about(&release.version, release.firmware.size);
        match said.sha256().filter(|_| about) {
            Some(digest) => Ok(digest),
            None => self.bucket.digest(&release.firmware).await,
        }
    }

    /// Other versions with these bytes. Only what has the same size can be one.
    async fn twins(
        &self,
        product: &ProductName,
        version: Option<&Version>,
        releases: &[Listed],
        by_hand: Option<&(Version, Option<Found>)>,
        image: &Bytes,
        sha256: Sha256,
    ) -> Result<Vec<Version>, StoreError> {
        let size = image.len() as u64;
        let same_size = releases.iter().filter(|release| release.firmware.size == size);
        let others = same_size.filter(|release| Some(&release.version) != version).take(TWINS_MAX);
        let digests: Vec<Sha256> = stream::iter(others.clone())
            .map(|release| self.digest_of(product, release))
            .buffered(TWINS_MAX)
            .try_collect()
            .await?;
        let mut twins: Vec<Version> = others
            .zip(digests)
            .filter(|(_, digest)| *digest == sha256)
            .map(|(release, _)| release.version.clone())
            .collect();
        if let Some((deployed, Some(firmware))) = by_hand
            && Some(deployed) != version
            && self.is_image(firmware, image, sha256).await?
        {
            twins.push(deployed.clone());
        }
        Ok(twins)
    }
}
