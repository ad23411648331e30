//! What the bytes are that a device runs. Where it reports their digest, that decides, whatever version it claims.

use core::fmt;

use contract::{ProductName, Sha256, Version};
use serde::{Deserialize, Serialize};

/// What is known of the bytes that a device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The device reports no digest, or what it could be was not read yet.
    #[default]
    Unknown,
    /// They are the release that the device names.
    Release,
    /// They are a release, and the device names another.
    Mislabelled,
    /// They are no release.
    Foreign,
}

impl Identity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Release, Self::Mislabelled, Self::Foreign, Self::Unknown];

    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Release => "release",
            Self::Mislabelled => "mislabelled",
            Self::Foreign => "foreign",
        }
    }

    /// Whether it is something else than the device names.
    pub fn is_wrong(self) -> bool {
        matches!(self, Self::Mislabelled | Self::Foreign)
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|identity| identity.as_str() == word)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The image that a device runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// What is known of it.
    pub identity: Identity,
    /// The digest of its bytes as published, if it is known.
    pub sha256: Option<Sha256>,
    /// Of which product and version it is the release, if it is one.
    pub release: Option<(ProductName, Version)>,
}

impl Image {
    /// The version that the bytes are, if they are a release.
    pub fn version(&self) -> Option<&Version> {
        self.release.as_ref().map(|(_, version)| version)
    }

    /// What a digest is, among the releases that have it by some name, for a device of this product that names this version.
    /// `is_complete`: no release is left whose digest is not known.
    pub fn of(
        reported: Sha256,
        product: Option<&ProductName>,
        version: &Version,
        releases: &[(ProductName, Version, Sha256)],
        is_complete: bool,
    ) -> Self {
        let is_own = |of: &ProductName| product.is_none_or(|product| product == of);
        let named = releases.iter().find(|(of, is, _)| is_own(of) && is == version);
        // Of several names of the same bytes, one of its own product.
        let found =
            named.or_else(|| releases.iter().find(|(of, ..)| is_own(of))).or_else(|| releases.first());
        let identity = match (named, found) {
            (Some(_), _) => Identity::Release,
            (None, Some(_)) => Identity::Mislabelled,
            (None, None) if is_complete => Identity::Foreign,
            (None, None) => Identity::Unknown,
        };
        Self {
            identity,
            sha256: Some(found.map_or(reported, |(.., sha256)| *sha256)),
            release: found.map(|(of, is, _)| (of.clone(), is.clone())),
        }
    }
}
