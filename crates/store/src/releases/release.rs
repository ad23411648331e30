//! One release: its image, what is known of it, and what its `version.txt` says.

use cause::{Cause, store as causes};
use chrono::{DateTime, Utc};
use contract::{ProductName, Sha256, Version};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::objects::listing;
use crate::objects::object::{Found, Read};
use crate::releases::layout::{
    self, FIRMWARE, FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, METADATA, Place, VERSION_MAX_BYTES,
};
use crate::releases::metadata::Metadata;
use crate::store::Store;
use crate::text::{beginning, text};

/// An immutable image with a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its version, with the build metadata that `version.txt` gives.
    pub version: Version,
    /// Where its image lies.
    pub key: String,
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
    /// Which content of its object all this is about, as the storage names it.
    #[serde(default)]
    pub content: String,
    /// Why it is offered to nobody, where what lies beside its image cannot be read or speaks of another one.
    #[serde(default)]
    pub fault: Option<Cause>,
}

/// What a `version.txt` says, if it is there, or why it cannot be read.
pub(crate) type VersionFile = Result<Option<Version>, Cause>;

/// An image with what is known of it.
pub(crate) struct Described {
    pub(crate) firmware: Found,
    pub(crate) metadata: Metadata,
    pub(crate) chip: Option<String>,
    /// Which image its `version.txt` was created for, if it says so.
    pub(crate) mark: Option<Sha256>,
    /// Why nothing is to be done with it: its metadata cannot be read or speaks of another image, or it is stored encoded.
    pub(crate) fault: Option<Cause>,
}

/// A release that has its `version.txt`.
pub(crate) struct Complete {
    pub(crate) place: Place,
    pub(crate) version: Version,
    /// Which image it was created for, if that was said.
    pub(crate) mark: Option<Sha256>,
}

impl Described {
    /// The digest of the image: what its release was marked for, which other programs do not write by a slip, else what its
    /// metadata says.
    pub(crate) fn sha256(&self) -> Option<Sha256> {
        self.mark.or_else(|| self.metadata.sha256())
    }

    /// Why nothing is to be done with it: also if its mark and its metadata speak of two images, or it requires no version.
    fn fault(&self, version: &Version) -> Option<Cause> {
        if self.fault.is_some() {
            return self.fault.clone();
        }
        if let Some((published, said)) = self.mark.zip(self.metadata.sha256())
            && published != said
        {
            let cause = causes::METADATA_CONTRADICTS.with("key", self.firmware.key.as_str());
            return Some(
                cause.naming("version", version).naming("published", published).naming("said", said),
            );
        }
        let requires = self.metadata.requires().err()?;
        Some(causes::REQUIRES_NO_VERSION.with("key", self.firmware.key.as_str()).with("requires", requires))
    }

    /// The same, if there is nothing against it.
    pub(crate) fn agreed(self, version: &Version) -> Result<Self, StoreError> {
        match self.fault(version) {
            Some(fault) => Err(StoreError::corrupt(fault)),
            None => Ok(self),
        }
    }

    pub(crate) fn release(self, version: Version) -> Release {
        let fault = self.fault(&version);
        let text = |text: Option<&str>| text.map(str::to_owned);
        Release {
            version,
            key: self.firmware.key.clone(),
            content: self.firmware.content(),
            fault,
            size: self.firmware.size,
            sha256: self.sha256(),
            chip: self.chip,
            notes: text(self.metadata.notes()),
            commit: text(self.metadata.short("commit")),
            tag: text(self.metadata.short("tag")),
            dirty: self.metadata.dirty(),
            built_at: self.metadata.time("built_at"),
            published_at: self.metadata.time("published_at"),
            requires: self.metadata.requires().ok().flatten(),
        }
    }
}

impl Store {
    /// The release of that precedence, if it is complete. Only where it is not in its folder a listing is asked for: older
    /// ones lie in folders with build metadata in their names. Of several the one that is spelled alike, else the first.
    pub(crate) async fn find_complete(
        &self,
        product: &ProductName,
        version: &Version,
    ) -> Result<Option<Complete>, StoreError> {
        let exact = self.complete(Place::release(product, version), version).await?;
        if exact.is_some() {
            return Ok(exact);
        }
        let folders = listing::folders(&self.bucket, &layout::releases(product)).await?;
        let named = folders.iter().filter_map(|name| layout::release_folder(name));
        let mut older: Vec<Version> =
            named.filter(|other| other == version && other.as_str().contains('+')).collect();
        older.sort_by(|left, right| left.as_str().cmp(right.as_str()));
        older.sort_by_key(|other| other.as_str() != version.as_str());
        for other in older {
            let found = self.complete(Place::named(product, &other), &other).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A release, if it has its version.txt. One that says something else is an error: nobody can tell what it is.
    /// Without a condition: no tag covers its mark, and it is as short as the answer that it has not changed.
    pub(crate) async fn complete(
        &self,
        place: Place,
        version: &Version,
    ) -> Result<Option<Complete>, StoreError> {
        let key = place.version();
        let read = self.bucket.read(&key, VERSION_MAX_BYTES).await?;
        let mark = marked(&read);
        let version = agreed_version(&key, read, version)?;
        Ok(version.map(|version| Complete { place, version, mark }))
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
        let (key, beside) = (place.firmware(), place.metadata());
        let read = (self.bucket.find(&key), self.bucket.read_small(&beside, JSON_MAX_BYTES));
        let (firmware, metadata) = tokio::join!(read.0, read.1);
        let Some(firmware) = firmware? else { return Ok(None) };
        if firmware.size > FIRMWARE_MAX_BYTES {
            let cause = causes::IMAGE_TOO_LONG.with("key", firmware.key);
            return Err(StoreError::corrupt(cause.with("size", firmware.size)));
        }
        self.described(firmware, metadata?, version).await.map(Some)
    }

    pub(crate) async fn described(
        &self,
        firmware: Found,
        metadata: Read,
        version: &Version,
    ) -> Result<Described, StoreError> {
        let beside = || format!("{}{METADATA}", firmware.key.trim_end_matches(FIRMWARE));
        let unreadable = |why: String| causes::METADATA_UNREADABLE.with("key", beside()).with("why", why);
        let metadata = Metadata::of_read(&metadata).map_err(unreadable).and_then(|metadata| {
            let Some([says, is]) = metadata.contradiction(version, firmware.size) else {
                return Ok(metadata);
            };
            let cause = causes::METADATA_OF_ANOTHER.with("key", beside()).with("says", says);
            Err(cause.with("image", firmware.key.as_str()).with("is", is))
        });
        let encoded = firmware.encoding.as_ref().map(|encoding| {
            causes::IMAGE_ENCODED.with("key", firmware.key.as_str()).with("encoding", encoding.as_str())
        });
        let (metadata, fault) = match metadata {
            Ok(metadata) => (metadata, encoded),
            Err(fault) => (Metadata::default(), Some(encoded.unwrap_or(fault))),
        };
        let chip = if let Some(chip) = metadata.chip() {
            Some(chip.to_owned())
        } else {
            let beginning = self.bucket.beginning(&firmware, image::PREFIX_BYTES as u64).await?;
            let prefix = image::Prefix::parse(&beginning).ok();
            prefix.and_then(|prefix| prefix.header.chip()).map(|chip| chip.name().to_owned())
        };
        Ok(Described { firmware, metadata, chip, mark: None, fault })
    }
}

pub(crate) fn no_image(place: &Place) -> StoreError {
    StoreError::corrupt(causes::NO_IMAGE.with("key", place.version()))
}

/// Which image a `version.txt` was created for, if it says so.
pub(crate) fn marked(read: &Read) -> Option<Sha256> {
    if let Read::Found(fetched) = read { fetched.mark } else { None }
}

/// What a release's `version.txt` says, if it is there. It must be the version of its folder.
pub(crate) fn agreed_version(key: &str, read: Read, folder: &Version) -> Result<Option<Version>, StoreError> {
    match parse_version(key, read).map_err(StoreError::corrupt)? {
        Some(says) if says != *folder => {
            let cause = causes::VERSION_TXT_SAYS_ANOTHER.with("key", key);
            Err(StoreError::corrupt(cause.naming("says", says)))
        }
        says => Ok(says),
    }
}

pub(crate) fn parse_version(key: &str, read: Read) -> VersionFile {
    let fetched = match read {
        Read::Missing => return Ok(None),
        Read::TooLong(found) => {
            return Err(causes::VERSION_TXT_TOO_LONG.with("key", key).with("size", found.size));
        }
        Read::Found(fetched) => fetched,
    };
    let why = match text(&fetched.bytes).map(|text| text.parse()) {
        Ok(Ok(version)) => return Ok(Some(version)),
        Ok(Err(_)) => None,
        Err(why) => Some(why.to_string()),
    };
    let holds = format!("{:?}", beginning(&fetched.bytes));
    Err(causes::VERSION_TXT_UNREADABLE.with("key", key).naming("holds", holds).with("why", why))
}
