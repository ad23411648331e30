//! Devices: what is known of them, and how they are registered, changed and listed.

use cause::Cause;
use chrono::{DateTime, Utc};
use contract::{DeviceId, ProductName, Sha256, Version};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Identity, Update, Word};

/// A device as it is known to the fleet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// `[A-Za-z0-9][A-Za-z0-9._:-]{0,63}`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: DeviceId,
    /// The product it belongs to; null until one is known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub product: Option<ProductName>,
    /// What it last reported that it runs, in its own words; null if it never did.
    pub version: Option<String>,
    /// The running image's digest as last reported.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub sha256: Option<Sha256>,
    /// What its bytes are, by that digest: `release` (the one it names), `mislabelled` (another than it names), `foreign` (none),
    /// or `unknown` (it reports no digest).
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub identity: Word<Identity>,
    /// The release that its bytes are, if they are one.
    #[serde(default)]
    pub image: Option<RunningImage>,
    /// Whether it can be reached now.
    pub online: bool,
    /// When it was last heard.
    pub last_seen: Option<DateTime<Utc>>,
    /// Words to select by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The group that it is in.
    #[serde(default)]
    pub group: Option<String>,
    /// The only version that it is offered, or `hold`: nothing at all; null where it is free.
    #[serde(default)]
    pub pin: Option<String>,
    /// Who pinned it.
    #[serde(default)]
    pub pin_by: Option<String>,
    /// Why, if that was said.
    #[serde(default)]
    pub pin_reason: Option<String>,
    /// Two devices seem to use this id: what is reported goes to and fro. Nothing is concluded of it meanwhile.
    #[serde(default)]
    pub twins: bool,
    /// Its newest update.
    pub update: Option<Update>,
    /// Whether it was registered (has an MQTT password), or became known by its report.
    #[serde(default)]
    pub registered: bool,
    /// When it was first known.
    #[serde(default)]
    pub created_at: DateTime<Utc>,
    /// What else its JSON report said; null for a device that reports a bare version.
    pub report: Option<DeviceReport>,
    /// The protections that it says it does without: `signatures` (takes unsigned images), `record`, `crash_loops`,
    /// `updates`; more may follow.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Messages from it that could not be read.
    pub unreadable: Option<Unreadable>,
}

/// A release, by the bytes that a device runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunningImage {
    /// Its product.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub product: ProductName,
    /// Its version.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: Version,
}

/// The rest of a JSON report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceReport {
    /// Chip name.
    pub chip: Option<String>,
    /// The chip's revision: 301 is v3.1.
    #[serde(default)]
    pub chip_revision: Option<u16>,
    /// Running slot.
    pub slot: Option<String>,
    /// ESP-IDF image state.
    pub state: Option<String>,
    /// Smallest slot, bytes.
    pub slot_bytes: Option<u32>,
    /// Whether the bootloader can roll back.
    pub rollback: Option<bool>,
    /// It may be silent for so long, seconds.
    #[serde(default)]
    pub sleeps_s: Option<u32>,
    /// Reason of the last reset.
    pub reset: Option<String>,
    /// What else it takes.
    #[serde(default)]
    pub accepts: Vec<String>,
    /// The protections that it does without.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Why it came back from connection settings that it was asked to move to; null: it did not, or has restarted since.
    pub returned: Option<String>,
}

/// Messages from a device that could not be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unreadable {
    /// How many since the device became known.
    pub count: u64,
    /// What was wrong with the last one.
    pub last: String,
    /// When it came.
    pub last_at: DateTime<Utc>,
}

/// An id that was heard of and is not admitted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NotAdmitted {
    /// What stands where a device's id should; of a connection that named none, its client id or its address.
    pub id: String,
    /// What is wrong, and what to do.
    pub reason: String,
    /// The same, for programs.
    pub cause: Cause,
    /// How often it was heard of since `first_at`.
    pub count: u64,
    /// When first.
    pub first_at: DateTime<Utc>,
    /// When last.
    pub last_at: DateTime<Utc>,
    /// From where it came, on the embedded broker.
    pub address: Option<String>,
    /// How the message begins that could not be read.
    pub said: Option<String>,
}

/// A device's MQTT credentials, shown once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisteredDevice {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: DeviceId,
    /// Its product.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub product: Option<ProductName>,
    /// Equal to the id.
    pub mqtt_username: String,
    /// Never stored in the clear.
    pub mqtt_password: String,
}

/// What a list of devices is narrowed to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceQuery {
    /// Of this product.
    pub product: Option<ProductName>,
    /// With this tag.
    pub tag: Option<String>,
    /// Running this version, in whatever spelling.
    pub version: Option<String>,
    /// `online`, `offline`, or an update state (of the newest update).
    pub state: Option<String>,
    /// What the bytes are that it runs: `release`, `mislabelled`, `foreign` or `unknown`.
    pub identity: Option<String>,
    /// In this group.
    pub group: Option<String>,
    /// Pinned to this version, or `hold`; `any`: pinned at all.
    pub pin: Option<String>,
    /// Id contains this text.
    pub q: Option<String>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Items a page, 1 to 500; 100 if not said.
    pub limit: Option<u32>,
}

/// Tells null from what is left out.
#[expect(clippy::option_option, reason = "what is left out stays, and null is none")]
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A device to register.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Also its MQTT user name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: DeviceId,
    /// Left out: the default product, or the only one there is.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub product: Option<ProductName>,
}

/// The pin of a device that is to be offered nothing.
pub const HOLD: &str = "hold";

/// What to change; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceChange {
    /// Another product.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductName>,
    /// All its tags from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Another group; null: none.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub group: Option<Option<String>>,
    /// The only version that it is to be offered, or `hold`: nothing at all; null: whatever there is.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub pin: Option<Option<String>>,
    /// Why it is pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_reason: Option<String>,
}
