//! The shapes that the HTTP API answers with and the dashboard shows. Fields may be added, never changed.

use chrono::{DateTime, Utc};
use contract::{ChannelName, DeviceId, ProductName, Sha256, Version};
pub use fleet::UpdateState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A device as it is known to the fleet.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Device {
    /// `[A-Za-z0-9][A-Za-z0-9._:-]{0,63}`.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// The product it belongs to; null until one is known.
    #[schema(value_type = Option<String>)]
    pub product: Option<ProductName>,
    /// The version it last reported; null if it never did.
    #[schema(value_type = Option<String>)]
    pub version: Option<Version>,
    /// The running image's digest as last reported.
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Sha256>,
    /// Whether it can be reached now.
    pub online: bool,
    /// When it was last heard.
    pub last_seen: Option<DateTime<Utc>>,
    /// Words to select by.
    pub tags: Vec<String>,
    /// Its newest update.
    pub update: Option<Update>,
    /// Whether it was registered (has an MQTT password), or became known by its report.
    pub registered: bool,
    /// When it was first known.
    pub created_at: DateTime<Utc>,
    /// What else its JSON report said; null for a device that reports a bare version.
    pub report: Option<DeviceReport>,
    /// The protections that it says it does without: `signatures` (takes unsigned images), `record`, `crash_loops`,
    /// `updates`; more may follow.
    pub lacks: Vec<String>,
    /// Messages from it that could not be read.
    pub unreadable: Option<Unreadable>,
}

/// The rest of a JSON report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceReport {
    /// Chip name.
    pub chip: Option<String>,
    /// Running slot.
    pub slot: Option<String>,
    /// ESP-IDF image state.
    pub state: Option<String>,
    /// Smallest slot, bytes.
    pub slot_bytes: Option<u32>,
    /// Whether the bootloader can roll back.
    pub rollback: Option<bool>,
    /// Reason of the last reset.
    pub reset: Option<String>,
    /// What else it takes.
    #[serde(default)]
    pub accepts: Vec<String>,
    /// The protections that it does without.
    #[serde(default)]
    pub lacks: Vec<String>,
}

/// Messages from a device that could not be read.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Unreadable {
    /// How many since the device became known.
    pub count: u64,
    /// What was wrong with the last one.
    pub last: String,
    /// When it came.
    pub last_at: DateTime<Utc>,
}

/// One device's attempt.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Update {
    /// Its number.
    pub id: i64,
    /// Whose.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// What ran before.
    #[schema(value_type = Option<String>)]
    pub from: Option<Version>,
    /// What was offered.
    #[schema(value_type = String)]
    pub to: Version,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: UpdateState,
    /// Why, in words, without the code; null while nothing is to be explained.
    pub reason: Option<String>,
    /// Why, for programs: one of the contract's codes (`wrong_chip`, `crash_loop`, …); null if the device gave none.
    #[schema(value_type = Option<String>)]
    pub code: Option<&'static str>,
    /// The artifact's size, in bytes.
    pub bytes: u64,
    /// What the device does now (`download`, `verify`, `restart`), if it says.
    pub phase: Option<String>,
    /// Bytes done of this phase.
    pub done: u64,
    /// When the decision was made.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A device's MQTT credentials, shown once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RegisteredDevice {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// Its product.
    #[schema(value_type = Option<String>)]
    pub product: Option<ProductName>,
    /// Equal to the id.
    pub mqtt_username: String,
    /// Never stored in the clear.
    pub mqtt_password: String,
}

/// The answer to a check update.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CheckAnswer {
    /// One of the decision's words (`offered`, `up_to_date`, …).
    pub decision: String,
    /// The version it is about, if any.
    #[schema(value_type = Option<String>)]
    pub version: Option<Version>,
    /// One sentence for a person.
    pub reason: String,
    /// The update that was made, or the one in progress.
    pub update: Option<Update>,
}

/// An immutable image with a version.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Release {
    /// Its version.
    #[schema(value_type = String)]
    pub version: Version,
    /// Bytes.
    pub size: u64,
    /// Digest of firmware.bin.
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Sha256>,
    /// Chip name; null if the image does not say one we know.
    pub chip: Option<String>,
    /// Never to be offered.
    pub blocked: bool,
    /// Why it is blocked.
    pub reason: Option<String>,
    /// The channels that point to it.
    #[schema(value_type = Vec<String>)]
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

/// What the gate found in an image that is to be published (docs/gate.md lists the checks).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// The check's name, which never changes.
    pub check: &'static str,
    /// `refuse` or `warn`.
    pub level: &'static str,
    /// Whether it was overruled: a refusal that does not refuse, a warning that need not be shown.
    pub allowed: bool,
    /// Whether it can be overruled.
    pub overrulable: bool,
    /// What was found, why it matters and what to do.
    pub sentence: String,
}

/// A release's size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SizeOf {
    /// Which version; null for an image that has none.
    #[schema(value_type = Option<String>)]
    pub version: Option<Version>,
    /// Bytes.
    pub size: u64,
}

/// What the gate says of an image that is not published, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Judgement {
    /// `pass` or `refused`.
    pub decision: &'static str,
    /// Why it is refused, in one sentence that names every refusal; null if it is not.
    pub refusal: Option<String>,
    /// The product it is for.
    #[schema(value_type = String)]
    pub product: ProductName,
    /// The version that was asked for, or the image's own.
    #[schema(value_type = Option<String>)]
    pub version: Option<Version>,
    /// Bytes.
    pub size: u64,
    /// Digest of the image; null if it is not sound.
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Sha256>,
    /// Chip name; null if the image does not say one we know.
    pub chip: Option<&'static str>,
    /// All that was found.
    pub findings: Vec<Finding>,
    /// The smallest slot of the product's devices, in bytes; null where it is not known.
    pub slot_bytes: Option<u32>,
    /// The sizes of up to five releases below it, oldest first, and its own.
    pub trend: Vec<SizeOf>,
}

/// A release that was published.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Published {
    /// The release.
    #[serde(flatten)]
    pub release: Release,
    /// `published`, or `unchanged` where these very bytes had been published before.
    pub decision: &'static str,
    /// Its product.
    #[schema(value_type = String)]
    pub product: ProductName,
    /// Its page on the dashboard.
    pub url: String,
    /// The channel that points to it now, if that was asked for.
    #[schema(value_type = Option<String>)]
    pub promoted: Option<ChannelName>,
    /// What the gate found, none of which refuses it.
    pub findings: Vec<Finding>,
    /// The smallest slot of the product's devices, in bytes; null where it is not known.
    pub slot_bytes: Option<u32>,
    /// The sizes of up to five releases below it, oldest first, and its own.
    pub trend: Vec<SizeOf>,
}

/// A named pointer to a release.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Channel {
    /// `production`, `beta`, …
    #[schema(value_type = String)]
    pub name: ChannelName,
    /// What it points to; null if its version.txt is missing or unreadable.
    #[schema(value_type = Option<String>)]
    pub version: Option<Version>,
}

/// The blocked list of a product.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockedList {
    /// Blocked versions.
    pub items: Vec<BlockedVersion>,
    /// Why the list cannot be read; then everything is blocked.
    pub unreadable: Option<String>,
    /// Always null: the list is one page.
    pub next: Option<String>,
}

/// A version never to be offered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockedVersion {
    /// The version.
    #[schema(value_type = String)]
    pub version: Version,
    /// Why; null if nobody said.
    pub reason: Option<String>,
}

/// A family of devices that run the same images.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Product {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ProductName,
    /// How many devices it has.
    pub devices: u64,
    /// What production points to.
    #[schema(value_type = Option<String>)]
    pub production: Option<Version>,
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next: Option<String>,
}

/// What a list of devices is narrowed to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceQuery {
    /// Of this product.
    pub product: Option<ProductName>,
    /// With this tag.
    pub tag: Option<String>,
    /// `online`, `offline`, or an update state (of the newest update).
    pub state: Option<String>,
    /// Id contains this text.
    pub q: Option<String>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Items a page, 1 to 500; 100 if not said.
    pub limit: Option<u32>,
}

/// What happened, for those who watch. Carries ids only: watchers ask again for what they show.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A device or its newest update changed, or it was removed.
    Device {
        /// Which.
        #[schema(value_type = String)]
        device: DeviceId,
    },
    /// Releases, channels or the blocked list of a product changed.
    Product {
        /// Which.
        #[schema(value_type = String)]
        product: ProductName,
    },
    /// The store became unreachable or reachable again, or the broker did.
    Health,
}

/// Figures of the fleet.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Devices known.
    pub devices: u64,
    /// Of these, online.
    pub online: u64,
    /// Devices by the state of their newest update.
    pub newest: std::collections::HashMap<UpdateState, u64>,
    /// Messages taken from devices since the server started.
    pub messages: u64,
}
