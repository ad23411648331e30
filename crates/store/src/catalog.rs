//! Reading: which products, channels and releases there are, and which object a version is fetched from.

use chrono::{DateTime, Utc};
use contract::{ChannelName, ProductName, Sha256, Version};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::bucket::{Backing, Found, Read};
use crate::layout::{self, FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place, VERSION_MAX_BYTES};
use crate::listing::{self, Files};
use crate::metadata::Metadata;
use crate::product::ProductFile;
use crate::{Store, StoreError};

/// How many small objects are read at a time.
const READS_AT_ONCE: usize = 16;

/// The object that a device fetches for a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The version it was asked for, as the store spells it.
    pub version: Version,
    /// Its key, to be signed.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the whole object; `None` if nobody said.
    pub sha256: Option<Sha256>,
    /// Chip name; `None` if the image does not say one we know.
    pub chip: Option<String>,
    /// The lowest version that may update to it directly.
    pub requires: Option<Version>,
}

/// An immutable image with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// Bytes.
    pub size: u64,
    /// Digest of firmware.bin; `None` if nobody said.
    pub sha256: Option<Sha256>,
    /// Chip name; `None` if the image does not say one we know.
    pub chip: Option<String>,
    /// What is new.
    pub notes: Option<String>,
    /// Git commit.
    pub commit: Option<String>,
    /// The Git tag at that commit.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit.
    pub dirty: Option<bool>,
    /// When it was built, if anybody knows.
    pub built_at: Option<DateTime<Utc>>,
    /// When it was published, if that was said.
    pub published_at: Option<DateTime<Utc>>,
    /// The lowest version that may update to it directly; `None` also where what stands there is no version.
    pub requires: Option<Version>,
}

/// What a `version.txt` says.
pub(crate) enum VersionFile {
    Missing,
    Unreadable(String),
    Says(Version),
}

/// An image with what is known of it.
pub(crate) struct Described {
    pub(crate) firmware: Found,
    pub(crate) metadata: Metadata,
    pub(crate) chip: Option<String>,
}

impl Store {
    /// The products that lie in the store, in order; folders that cannot be products are passed over.
    pub async fn products(&self) -> Result<Vec<ProductName>, StoreError> {
        let folders = listing::folders(&self.bucket, "").await?;
        let mut products: Vec<ProductName> = folders.iter().filter_map(|name| name.parse().ok()).collect();
        products.sort();
        Ok(products)
    }

    /// Whether anything of the product lies in the store.
    pub async fn product_exists(&self, product: &ProductName) -> Result<bool, StoreError> {
        Ok(!listing::folders(&self.bucket, product).await?.is_empty())
    }

    /// What `product.json` says, with the chip taken from production's image or the first release where it does not.
    pub async fn product_file(&self, product: &ProductName) -> Result<ProductFile, StoreError> {
        let mut file = self.product_json(product).await?;
        if file.chip.is_none() {
            file.chip = self.first_chip(product).await?;
        }
        Ok(file)
    }

    /// Where a release's image lies, for people: `s3://bucket/key` or `file:/folder/key`. No secret, and no link.
    pub fn address(&self, product: &ProductName, version: &Version) -> String {
        let key = Place::release(product, version).firmware();
        match &self.bucket.backing {
            Backing::Folder(folder) => format!("file:{}", folder.join(key).display()),
            Backing::S3 { location, .. } => format!("s3://{}/{key}", location.bucket),
        }
    }

    /// The channels and what they point to; `None` where `version.txt` cannot be read.
    pub async fn channels(
        &self,
        product: &ProductName,
    ) -> Result<Vec<(ChannelName, Option<Version>)>, StoreError> {
        let folders = listing::folders(&self.bucket, product).await?;
        let mut channels = Vec::new();
        for name in folders.iter().filter_map(|name| name.parse::<ChannelName>().ok()) {
            match self.version_file(&Place::channel(product, &name)).await? {
                VersionFile::Missing => {}
                VersionFile::Unreadable(_) => channels.push((name, None)),
                VersionFile::Says(version) => channels.push((name, Some(version))),
            }
        }
        channels.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(channels)
    }

    /// What a channel points to, read afresh; `None` if it does not exist yet.
    pub async fn channel(
        &self,
        product: &ProductName,
        channel: &ChannelName,
    ) -> Result<Option<Version>, StoreError> {
        match self.version_file(&Place::channel(product, channel)).await? {
            VersionFile::Missing => Ok(None),
            VersionFile::Says(version) => Ok(Some(version)),
            VersionFile::Unreadable(why) => Err(StoreError::damaged(why)),
        }
    }

    /// Which object a device is sent for a version, and what is known of it. The release's, which never changes, where
    /// there is one; else the channel's, if that is the version the channel points to. `None` if there is neither.
    ///
    /// # Errors
    /// `Unavailable` also if both are there and differ, or if `version.txt` names an image that is not there.
    pub async fn artifact(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        version: &Version,
    ) -> Result<Option<Artifact>, StoreError> {
        let place = Place::channel(product, channel);
        let release = match self.find_release(product, version).await? {
            Some((place, spelled)) => {
                let described = self.describe(&place, &spelled).await?;
                let described = described.ok_or_else(|| no_image(&place))?;
                Some((described, spelled))
            }
            None => None,
        };
        let deployed = match self.version_file(&place).await? {
            VersionFile::Says(deployed) if deployed == *version => {
                self.describe(&place, &deployed).await?.map(|described| (described, deployed))
            }
            _ => None,
        };
        match (release, deployed) {
            (Some((release, _)), Some((deployed, _))) if differ(&release, &deployed) => {
                // Perhaps somebody promotes at this moment, and the channel's image is already the next one.
                match self.version_file(&place).await? {
                    VersionFile::Says(now) if now == *version => Err(StoreError::damaged(format!(
                        "{} and {} both claim to be {version} and differ; nothing is offered until {channel} is promoted again",
                        release.firmware.key, deployed.firmware.key
                    ))),
                    _ => release.artifact(version).map(Some),
                }
            }
            (Some((release, spelled)), _) => release.artifact(&spelled).map(Some),
            (None, Some((deployed, spelled))) => deployed.artifact(&spelled).map(Some),
            (None, None) => match self.version_file(&place).await? {
                VersionFile::Says(now) if now == *version => Err(no_image(&place)),
                _ => Ok(None),
            },
        }
    }

    /// The digest of the image at `key`, read out of it; remembered for as long as it is that object. For where nobody
    /// said it: a whole image is read the first time.
    pub async fn digest(&self, key: &str) -> Result<Sha256, StoreError> {
        let gone = || StoreError::NotFound(format!("there is no {key}"));
        let found = self.bucket.find(key).await?.ok_or_else(gone)?;
        self.bucket.digest(&found).await
    }

    /// The complete releases, highest version first. One whose image is missing or whose files contradict each other
    /// is passed over.
    pub async fn releases(&self, product: &ProductName) -> Result<Vec<Release>, StoreError> {
        let listed = listing::releases(&self.bucket, product).await?;
        let mut releases: Vec<Release> = stream::iter(listed.into_values())
            .map(|(version, files)| self.listed_release(version, files))
            .buffer_unordered(READS_AT_ONCE)
            .try_filter_map(|release| async { Ok(release) })
            .try_collect()
            .await?;
        releases.sort_by(|left, right| {
            right.version.cmp(&left.version).then_with(|| right.version.as_str().cmp(left.version.as_str()))
        });
        Ok(releases)
    }

    async fn listed_release(&self, version: Version, files: Files) -> Result<Option<Release>, StoreError> {
        let (Some(firmware), Some(version_txt)) = (files.firmware, files.version) else { return Ok(None) };
        let read = self.bucket.read_listed(&version_txt, VERSION_MAX_BYTES).await?;
        match parse_version(&version_txt.key, read) {
            VersionFile::Says(says) if says == version => {}
            _ => {
                tracing::warn!(
                    store.key = version_txt.key,
                    "passed over: it does not say what its folder says"
                );
                return Ok(None);
            }
        }
        let metadata = match files.metadata {
            Some(found) => self.bucket.read_listed(&found, JSON_MAX_BYTES).await?,
            None => Read::Missing,
        };
        Ok(Some(self.described(firmware, metadata, &version).await?.release(version)))
    }

    /// One complete release; build metadata does not matter.
    pub async fn release(
        &self,
        product: &ProductName,
        version: &Version,
    ) -> Result<Option<Release>, StoreError> {
        let Some((place, spelled)) = self.find_release(product, version).await? else { return Ok(None) };
        let described = self.describe(&place, &spelled).await?.ok_or_else(|| no_image(&place))?;
        Ok(Some(described.release(spelled)))
    }

    /// The release of that precedence, if it is complete: its place and the version as it is spelled there.
    pub(crate) async fn find_release(
        &self,
        product: &ProductName,
        version: &Version,
    ) -> Result<Option<(Place, Version)>, StoreError> {
        let place = Place::release(product, version);
        if self.is_published(&place, version).await? {
            return Ok(Some((place, version.clone())));
        }
        for name in listing::folders(&self.bucket, &layout::releases(product)).await? {
            if let Some(other) = layout::release_folder(&name)
                && other == *version
                && other.as_str() != version.as_str()
            {
                let place = Place::release(product, &other);
                if self.is_published(&place, &other).await? {
                    return Ok(Some((place, other)));
                }
            }
        }
        Ok(None)
    }

    /// Whether a release has its version.txt. One that says something else is an error: nobody can tell what it is.
    async fn is_published(&self, place: &Place, version: &Version) -> Result<bool, StoreError> {
        match self.version_file(place).await? {
            VersionFile::Missing => Ok(false),
            VersionFile::Says(says) if says == *version => Ok(true),
            VersionFile::Says(says) => {
                Err(StoreError::damaged(format!("{} says {says}; repair that file", place.version())))
            }
            VersionFile::Unreadable(why) => Err(StoreError::damaged(why)),
        }
    }

    pub(crate) async fn version_file(&self, place: &Place) -> Result<VersionFile, StoreError> {
        let key = place.version();
        let read = self.bucket.read_small(&key, VERSION_MAX_BYTES).await?;
        Ok(parse_version(&key, read))
    }

    /// The image in a place; `None` if there is none.
    pub(crate) async fn describe(
        &self,
        place: &Place,
        version: &Version,
    ) -> Result<Option<Described>, StoreError> {
        let Some(firmware) = self.bucket.find(&place.firmware()).await? else { return Ok(None) };
        if firmware.size > FIRMWARE_MAX_BYTES {
            return Err(StoreError::damaged(format!(
                "{} has {} bytes; no ESP32 takes more than 16 MiB",
                firmware.key, firmware.size
            )));
        }
        let metadata = self.bucket.read_small(&place.metadata(), JSON_MAX_BYTES).await?;
        self.described(firmware, metadata, version).await.map(Some)
    }

    async fn described(
        &self,
        firmware: Found,
        metadata: Read,
        version: &Version,
    ) -> Result<Described, StoreError> {
        let metadata = match metadata {
            Read::Found(fetched) => Metadata::parse(&fetched.bytes),
            Read::Missing | Read::TooLong(_) => Metadata::default(),
        };
        let metadata = if metadata.is_about(version, firmware.size) { metadata } else { Metadata::default() };
        let chip = if let Some(chip) = metadata.chip() {
            Some(chip.to_owned())
        } else {
            let beginning = self.bucket.beginning(&firmware, image::PREFIX_BYTES as u64).await?;
            let prefix = image::Prefix::parse(&beginning).ok();
            prefix.and_then(|prefix| prefix.header.chip()).map(|chip| chip.name().to_owned())
        };
        Ok(Described { firmware, metadata, chip })
    }
}

impl Described {
    fn artifact(self, version: &Version) -> Result<Artifact, StoreError> {
        let requires = self.metadata.requires().map_err(|what| {
            StoreError::damaged(format!(
                "the metadata beside {} requires \"{what}\", which is no version; repair it",
                self.firmware.key
            ))
        })?;
        Ok(Artifact {
            version: version.clone(),
            size: self.firmware.size,
            key: self.firmware.key,
            sha256: self.metadata.sha256(),
            chip: self.chip,
            requires,
        })
    }

    pub(crate) fn release(self, version: Version) -> Release {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Release {
            version,
            size: self.firmware.size,
            sha256: self.metadata.sha256(),
            chip: self.chip,
            notes: text(self.metadata.notes()),
            commit: text(self.metadata.commit()),
            tag: text(self.metadata.tag()),
            dirty: self.metadata.dirty(),
            built_at: self.metadata.built_at(),
            published_at: self.metadata.published_at(),
            requires: self.metadata.requires().ok().flatten(),
        }
    }
}

/// Whether two images are not the same, by size and, where both are known, by digest.
fn differ(left: &Described, right: &Described) -> bool {
    let hashes = left.metadata.sha256().zip(right.metadata.sha256());
    left.firmware.size != right.firmware.size || hashes.is_some_and(|(left, right)| left != right)
}

fn no_image(place: &Place) -> StoreError {
    StoreError::damaged(format!(
        "{} names a version, but there is no {} beside it; publish or promote it again",
        place.version(),
        layout::FIRMWARE
    ))
}

fn parse_version(key: &str, read: Read) -> VersionFile {
    let fetched = match read {
        Read::Missing => return VersionFile::Missing,
        Read::TooLong(size) => {
            return VersionFile::Unreadable(format!("{key} has {size} bytes, but should hold one version"));
        }
        Read::Found(fetched) => fetched,
    };
    if let Ok(Ok(version)) = std::str::from_utf8(&fetched.bytes).map(str::parse) {
        return VersionFile::Says(version);
    }
    let start = String::from_utf8_lossy(&fetched.bytes[..fetched.bytes.len().min(40)]).into_owned();
    VersionFile::Unreadable(format!("{key} should hold one version such as 1.2.0, but holds {start:?}"))
}
