//! Check update: exactly one of thirteen answers for one device, first match wins.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use cause::{Cause, decision as causes};
use contract::{ChannelName, Code, ProductName, Sha256, Version};

use crate::identity::{Identity, Image};

/// What is known of the device that asks.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceView {
    /// What it last reported; `None` if it never did.
    pub version: Option<Version>,
    /// What the bytes are that it runs, whatever version it reports.
    pub image: Image,
    /// Its chip as it reported it, if it did.
    pub chip: Option<String>,
    /// Its chip's revision, if it said.
    pub chip_revision: Option<u16>,
    /// Its smallest slot in bytes, if it said.
    pub slot_bytes: Option<u64>,
    /// Where its update in flight leads, if there is one.
    pub in_progress: Option<Version>,
    /// Whether a trigger would reach it.
    pub reach: Reach,
    /// Digests of the images that failed twice on it, after boot or in verification.
    pub quarantined: Vec<Sha256>,
    /// Digests of the images that it refused three times for the same reason, which lasts, and the reason.
    pub refused: Vec<(Sha256, Code)>,
    /// Why it is to be offered nothing, or only one version.
    pub kept: Option<Kept>,
}

/// Why a device is offered nothing, or only one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Somebody wants it so.
    Pinned {
        /// What it may be offered all the same.
        to: Option<Version>,
        /// Who.
        by: String,
        /// Why, if that was said.
        why: Option<String>,
    },
    /// Two devices use its id: what one of them does would be taken for the other's.
    Twins,
    /// It installed this image, which calls itself otherwise.
    OtherName(Sha256),
}

impl Kept {
    fn cause(&self, running: &Version, target: &Artifact) -> Option<Cause> {
        match self {
            Self::Pinned { to: Some(to), .. } if *to == target.version => None,
            Self::Pinned { to, by, why } => {
                let cause = if to.is_some() { causes::PINNED } else { causes::ON_HOLD };
                let cause = cause.naming("version", &target.version).with("by", by.as_str());
                Some(cause.with("to", to.as_ref().map(Version::as_str)).with("why", why.as_deref()))
            }
            Self::Twins => Some(causes::TWINS.cause()),
            Self::OtherName(image) => (target.sha256 == Some(*image))
                .then(|| causes::OTHER_NAME.naming("version", &target.version).naming("running", running)),
        }
    }
}

/// Whether a trigger reaches a device now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Connected, present, or heard lately.
    Online,
    /// Neither; a trigger is not sent.
    Silent,
    /// Silent, and the person who asks wants the update made all the same: sent at once, or when it comes.
    Forced,
}

/// An image that can be signed and downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its version.
    pub version: Version,
    /// The object that is signed.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Digest of those bytes, where known.
    pub sha256: Option<Sha256>,
    /// The chip it is built for, where known.
    pub chip: Option<String>,
    /// The lowest and the highest revision of that chip that it runs on, where known.
    pub chip_revisions: Option<[u16; 2]>,
    /// The lowest version that may update to it directly.
    pub requires: Option<Version>,
}

/// The blocked list of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Versions and why; precedence decides, build metadata does not.
    Versions(BTreeMap<Version, Option<String>>),
    /// The file was read but is not a blocked list: everything is blocked.
    Unreadable(Cause),
}

impl Blocked {
    /// Why the version is not offered, if it is not.
    fn cause(&self, version: &Version) -> Option<Cause> {
        match self {
            Self::Versions(versions) => {
                let why = versions.get(version)?;
                Some(causes::BLOCKED.naming("version", version).with("why", why.clone()))
            }
            Self::Unreadable(why) => Some(why.clone()),
        }
    }
}

/// A blocked release whose bytes are known: they are blocked under every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedImage {
    /// Of which product it is a release.
    pub product: ProductName,
    /// The version that is blocked.
    pub version: Version,
    /// Why, if that was said.
    pub why: Option<String>,
}

/// The blocked releases of all products, by the bytes of their images.
pub type BlockedImages = BTreeMap<Sha256, BlockedImage>;

/// What the store says of one channel, read afresh.
#[derive(Debug, Clone)]
pub struct ChannelView {
    /// Which channel.
    pub channel: ChannelName,
    /// What it points to; `None` if it points to nothing.
    pub target: Option<Artifact>,
    /// The product's blocked list.
    pub blocked: Blocked,
    /// What is blocked by its bytes.
    pub blocked_images: BlockedImages,
    /// The product's releases; needed only where the target `requires` more than the device runs.
    pub releases: Vec<Artifact>,
}

impl ChannelView {
    /// Why an image is not to be sent or run, by its version or by its bytes, if so.
    pub(crate) fn blocked_cause(&self, version: &Version, sha256: Option<Sha256>) -> Option<Cause> {
        self.blocked.cause(version).or_else(|| {
            let blocked = self.blocked_images.get(&sha256?)?;
            let cause = causes::BLOCKED_BYTES.naming("version", version).naming("same", &blocked.version);
            Some(cause.naming("product", &blocked.product).with("why", blocked.why.clone()))
        })
    }
}

/// The store's answer.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for one decision; a box would cost more than it saves"
)]
#[derive(Debug, Clone)]
pub enum StoreView {
    /// It answered.
    Channel(ChannelView),
    /// It did not, or what it holds contradicts itself.
    Unavailable(Cause),
    /// The channel points to a version whose image is not there.
    NoImage(Cause),
}

/// The answer to a check update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The device never said what it runs.
    UnknownVersion,
    /// An update is on its way.
    InProgress {
        /// Where it leads.
        to: Version,
    },
    /// The store did not answer, or contradicts itself.
    StoreUnavailable(Cause),
    /// The channel points to nothing that this device may have.
    NoRelease(Cause),
    /// The version, or every version, is blocked.
    Blocked {
        /// The version that would have been offered.
        version: Version,
        /// Whether it is this version, or the list cannot be read.
        cause: Cause,
    },
    /// The device runs what the channel points to.
    UpToDate {
        /// That version.
        version: Version,
    },
    /// The device runs something newer than the channel points to.
    NewerThanChannel {
        /// What it runs.
        running: Version,
        /// What the channel points to.
        version: Version,
    },
    /// Somebody wants it so, or the device has refused this very image again and again.
    KeptBack {
        /// Which version would have been offered.
        version: Version,
        /// Who and why.
        cause: Cause,
    },
    /// The image is for another chip.
    WrongChip {
        /// Which version.
        version: Version,
        /// The image's chip.
        image: String,
        /// The device's.
        device: String,
    },
    /// The image is for other revisions of the chip.
    WrongRevision {
        /// Which version.
        version: Version,
        /// The lowest and the highest revision that it runs on.
        image: [u16; 2],
        /// The device's.
        device: u16,
    },
    /// The image does not fit into the device's smallest slot.
    TooLarge {
        /// Which version.
        version: Version,
        /// Bytes of the image.
        size: u64,
        /// Bytes of the slot.
        slot_bytes: u64,
    },
    /// This very image failed twice on this device.
    Quarantined {
        /// Which version.
        version: Version,
    },
    /// A trigger would not reach it.
    Offline {
        /// What it would have been offered.
        version: Version,
    },
    /// An update is to be made and the trigger sent.
    Offered(Artifact),
}

impl Decision {
    /// The word in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::UnknownVersion => "unknown_version",
            Self::InProgress { .. } => "in_progress",
            Self::StoreUnavailable(_) => "store_unavailable",
            Self::NoRelease(_) => "no_release",
            Self::Blocked { .. } => "blocked",
            Self::UpToDate { .. } => "up_to_date",
            Self::NewerThanChannel { .. } => "newer_than_channel",
            Self::KeptBack { .. } => "held",
            Self::WrongChip { .. } | Self::WrongRevision { .. } => "wrong_chip",
            Self::TooLarge { .. } => "too_large",
            Self::Quarantined { .. } => "quarantined",
            Self::Offline { .. } => "offline",
            Self::Offered(_) => "offered",
        }
    }

    /// The version it is about, if any.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::UnknownVersion | Self::StoreUnavailable(_) | Self::NoRelease(_) => None,
            Self::InProgress { to: version }
            | Self::Blocked { version, .. }
            | Self::UpToDate { version }
            | Self::NewerThanChannel { version, .. }
            | Self::KeptBack { version, .. }
            | Self::WrongChip { version, .. }
            | Self::WrongRevision { version, .. }
            | Self::TooLarge { version, .. }
            | Self::Quarantined { version }
            | Self::Offline { version } => Some(version),
            Self::Offered(artifact) => Some(&artifact.version),
        }
    }

    /// Why it is so, with what it speaks of.
    pub fn cause(&self) -> Cause {
        match self {
            Self::UnknownVersion => causes::UNKNOWN_VERSION.cause(),
            Self::InProgress { to } => causes::IN_PROGRESS.naming("to", to),
            Self::StoreUnavailable(cause)
            | Self::NoRelease(cause)
            | Self::Blocked { cause, .. }
            | Self::KeptBack { cause, .. } => cause.clone(),
            Self::UpToDate { version } => causes::UP_TO_DATE.naming("version", version),
            Self::NewerThanChannel { running, version } => {
                causes::NEWER_THAN_CHANNEL.naming("running", running).naming("version", version)
            }
            Self::WrongChip { version, image, device } => {
                let cause = causes::WRONG_CHIP.naming("version", version);
                cause.with("image", image.as_str()).with("device", device.as_str())
            }
            Self::WrongRevision { version, image: [lowest, highest], device } => {
                let cause = causes::WRONG_REVISION.naming("version", version);
                let cause = cause.with("lowest", revision(*lowest)).with("device", revision(*device));
                let highest = (*highest < u16::MAX).then(|| revision(*highest));
                cause.with("open", highest.is_none().then_some("yes")).with("highest", highest)
            }
            Self::TooLarge { version, size, slot_bytes } => causes::TOO_LARGE
                .naming("version", version)
                .with("size", *size)
                .with("slot_bytes", *slot_bytes),
            Self::Quarantined { version } => causes::QUARANTINED.naming("version", version),
            Self::Offline { version } => causes::OFFLINE.naming("version", version),
            Self::Offered(artifact) => causes::OFFERED.naming("version", &artifact.version),
        }
    }
}

/// Decides what one device is offered now.
pub fn decide(device: &DeviceView, store: &StoreView) -> Decision {
    let Some(running) = &device.version else {
        return Decision::UnknownVersion;
    };
    if let Some(to) = &device.in_progress {
        return Decision::InProgress { to: to.clone() };
    }
    let view = match store {
        StoreView::Channel(view) => view,
        StoreView::Unavailable(why) => return Decision::StoreUnavailable(why.clone()),
        StoreView::NoImage(why) => return Decision::NoRelease(why.clone()),
    };
    let Some(target) = &view.target else {
        return Decision::NoRelease(causes::NOT_PROMOTED.naming("channel", &view.channel));
    };
    if let Blocked::Unreadable(why) = &view.blocked {
        return Decision::Blocked { version: target.version.clone(), cause: why.clone() };
    }
    if is_running(device, running, target) {
        return Decision::UpToDate { version: target.version.clone() };
    }
    let image = &device.image;
    // Whoever runs a blocked version is to leave it, downwards too; and of what says another name than it has, the name counts for
    // nothing.
    if target.version.is_below(running)
        && matches!(image.identity, Identity::Release | Identity::Unknown)
        && view.blocked_cause(running, image.sha256).is_none()
    {
        return Decision::NewerThanChannel { running: running.clone(), version: target.version.clone() };
    }
    if let Some(cause) = device.kept.as_ref().and_then(|kept| kept.cause(running, target)) {
        return Decision::KeptBack { version: target.version.clone(), cause };
    }
    if let Some(decision) = kept_back(device, target) {
        return decision;
    }
    if let Some(cause) = view.blocked_cause(&target.version, target.sha256) {
        return Decision::Blocked { version: target.version.clone(), cause };
    }
    let running = image.version().unwrap_or(running);
    match direct_or_intermediate(device, running, target, view) {
        Ok(artifact) => offer(device, artifact),
        Err(why) => Decision::NoRelease(why),
    }
}

/// Whether the device runs the target: its bytes decide, where both are known.
fn is_running(device: &DeviceView, running: &Version, target: &Artifact) -> bool {
    let is_same = device.image.sha256.is_some() && device.image.sha256 == target.sha256;
    let by_name = match device.image.identity {
        Identity::Unknown => true,
        // What the target's bytes are is not known.
        Identity::Release => target.sha256.is_none(),
        Identity::Mislabelled | Identity::Foreign => false,
    };
    is_same || (by_name && target.version == *running)
}

/// The target, or the highest allowed release on the way to it where it `requires` more than what runs.
fn direct_or_intermediate<'a>(
    device: &DeviceView,
    running: &Version,
    target: &'a Artifact,
    view: &'a ChannelView,
) -> Result<&'a Artifact, Cause> {
    let reachable = |artifact: &Artifact| {
        artifact.requires.as_ref().is_none_or(|lowest| {
            // One that cannot be compared may be too low.
            lowest.compare(running).is_some_and(Ordering::is_le)
        })
    };
    if reachable(target) {
        return Ok(target);
    }
    view.releases
        .iter()
        .filter(|step| running.is_below(&step.version) && step.version.is_below(&target.version))
        .filter(|step| !step.version.is_prerelease() || target.version.is_prerelease())
        .filter(|step| reachable(step) && view.blocked_cause(&step.version, step.sha256).is_none())
        .filter(|step| misfit(device, step).is_none())
        .max_by(|a, b| a.version.cmp(&b.version))
        .ok_or_else(|| {
            let cause = causes::NO_STEP_BETWEEN.naming("version", &target.version).naming("running", running);
            cause.with("requires", target.requires.as_ref().map(Version::as_str))
        })
}

fn kept_back(device: &DeviceView, artifact: &Artifact) -> Option<Decision> {
    let (_, code) = device.refused.iter().find(|(sha256, _)| artifact.sha256 == Some(*sha256))?;
    let cause = causes::KEPT_BACK.naming("version", &artifact.version).with("code", code.as_str());
    Some(Decision::KeptBack { version: artifact.version.clone(), cause })
}

fn offer(device: &DeviceView, artifact: &Artifact) -> Decision {
    if let Some(decision) = kept_back(device, artifact) {
        return decision;
    }
    if let Some(misfit) = misfit(device, artifact) {
        return misfit;
    }
    let version = artifact.version.clone();
    if artifact.sha256.is_some_and(|sha256| device.quarantined.contains(&sha256)) {
        return Decision::Quarantined { version };
    }
    if device.reach == Reach::Silent {
        return Decision::Offline { version };
    }
    Decision::Offered(artifact.clone())
}

/// As Espressif writes it: `v3.1` is 301.
fn revision(number: u16) -> String {
    format!("v{}.{}", number / 100, number % 100)
}

/// Why an image cannot run on this device, if it cannot. What is not known does not refuse: the device checks again.
fn misfit(device: &DeviceView, artifact: &Artifact) -> Option<Decision> {
    if let (Some(image), Some(chip)) = (&artifact.chip, &device.chip)
        && image != chip
    {
        return Some(Decision::WrongChip {
            version: artifact.version.clone(),
            image: image.clone(),
            device: chip.clone(),
        });
    }
    if let (Some(image), Some(revision)) = (artifact.chip_revisions, device.chip_revision)
        && !(image[0]..=image[1]).contains(&revision)
    {
        let version = artifact.version.clone();
        return Some(Decision::WrongRevision { version, image, device: revision });
    }
    let slot_bytes = device.slot_bytes.filter(|slot| artifact.size > *slot)?;
    Some(Decision::TooLarge { version: artifact.version.clone(), size: artifact.size, slot_bytes })
}

#[cfg(test)]
mod tests;
