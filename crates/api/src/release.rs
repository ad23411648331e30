//! Products, their releases, channels and blocked versions.

use chrono::{DateTime, Utc};
use contract::{ChannelName, ProductName, Sha256, Version};
use serde::{Deserialize, Serialize};

use crate::{Finding, SizeOf};

/// An immutable image with a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Release {
    /// Its version.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: Version,
    /// Bytes.
    pub size: u64,
    /// Digest of firmware.bin.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub sha256: Option<Sha256>,
    /// Chip name; null if the image does not say one we know.
    pub chip: Option<String>,
    /// Never to be offered.
    pub blocked: bool,
    /// Why it is blocked.
    pub reason: Option<String>,
    /// The channels that point to it.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[serde(default)]
    pub channels: Vec<ChannelName>,
    /// Release notes.
    pub notes: Option<String>,
    /// When it was built, if known.
    pub built_at: Option<DateTime<Utc>>,
    /// When it was published, if known.
    pub published_at: Option<DateTime<Utc>>,
    /// Git commit, if known.
    pub commit: Option<String>,
    /// Git tag at that commit, if known.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit, if known.
    pub dirty: Option<bool>,
}

/// A release that was published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Published {
    /// The release.
    #[serde(flatten)]
    pub release: Release,
    /// What came of it.
    pub decision: PublishDecision,
    /// Its product.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub product: ProductName,
    /// Its page on the dashboard.
    pub url: String,
    /// The channel that points to it now, if that was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub promoted: Option<ChannelName>,
    /// What the gate found, none of which refuses it.
    pub findings: Vec<Finding>,
    /// The smallest slot of the product's devices, in bytes; null where it is not known.
    pub slot_bytes: Option<u32>,
    /// The sizes of up to five releases below it, oldest first, and its own.
    pub trend: Vec<SizeOf>,
}

/// A named pointer to a release.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Channel {
    /// `production`, `beta`, …
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: ChannelName,
    /// What it points to; null if its version.txt is missing or unreadable.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub version: Option<Version>,
}

/// The blocked list of a product.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockedList {
    /// Blocked versions.
    pub items: Vec<BlockedVersion>,
    /// Why the list cannot be read; then everything is blocked.
    pub unreadable: Option<String>,
    /// Always null: the list is one page.
    pub next: Option<String>,
}

/// A version never to be offered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockedVersion {
    /// The version.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: Version,
    /// Why; null if nobody said.
    pub reason: Option<String>,
}

/// A family of devices that run the same images.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Product {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: ProductName,
    /// How many devices it has.
    pub devices: u64,
    /// What production points to.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub production: Option<Version>,
    /// Why what is shown of it is of an earlier time; null if it could be read last.
    #[serde(default)]
    pub stale: Option<String>,
}

/// What came of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PublishDecision {
    /// It is a release from now on.
    Published,
    /// These very bytes had been published before.
    Unchanged,
}

/// How to publish: the query of the request whose body is the image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publication {
    /// As which version; left out: the image's own.
    pub version: Option<Version>,
    /// Also point this channel to it.
    pub promote: Option<ChannelName>,
    /// Release notes.
    pub notes: Option<String>,
    /// Git commit it was built from.
    pub commit: Option<String>,
    /// Git tag at that commit.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit.
    pub dirty: Option<bool>,
    /// The lowest version that may update to this one directly.
    pub requires: Option<Version>,
    /// Checks of the gate to overrule, with commas between.
    pub allow: Option<String>,
    /// The image's file, as sentences are to call it.
    pub file: Option<String>,
}

/// Where a channel shall point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// A published version.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: Version,
}

/// Why a version is blocked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Blocking {
    /// Shown wherever the version is refused.
    pub reason: String,
    /// It has a hole: the next release is published only with a higher secure version, which shuts this one out of devices.
    pub security: bool,
}
