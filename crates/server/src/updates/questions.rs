//! What decisions ask the store, afresh, once for all devices of a product, and in as few round trips as it takes: the channel and
//! the blocked list at once, then the target, then the digest of its bytes, which is remembered. Only where a target is too far
//! are the releases before it listed, and only what is chosen is looked at whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cause::{Cause, decision as causes, service};
use contract::{ChannelName, ProductName, Sha256, Version};
use fleet::{Action, Blocked, BlockedImages, ChannelView, Decision, Snapshot, StoreView, plan};
use store::{Artifact, Release, Store, StoreError};
use tokio::time::Instant;

/// How long reading an image for its digest may take.
const DIGEST_TIMEOUT: Duration = Duration::from_secs(3);
/// What is left of the store's time when reading an image is given up.
const MARGIN: Duration = Duration::from_millis(200);
/// Maximum number of releases on the way to a target that are passed over since they are corrupt, the highest first.
const CORRUPT_MAX: usize = 4;

pub(super) struct Questions<'a> {
    pub(super) store: &'a Store,
    pub(super) product: &'a ProductName,
    pub(super) channel: ChannelName,
    /// Instead of what the channel points to.
    pub(super) wanted: Option<Version>,
    pub(super) corrupt: &'a CorruptImages,
    pub(super) blocked_images: &'a BlockedImages,
    pub(super) deadline: Instant,
}

/// What was looked at whole, of which of it the bytes were judged, and what cannot be offered now.
#[derive(Default)]
struct Looked {
    artifacts: Vec<Artifact>,
    digested: BTreeSet<Version>,
    corrupt: usize,
    failed: BTreeMap<Version, Cause>,
}

impl Questions<'_> {
    /// What is to be done for devices of this product, with all of the store that it takes.
    pub(super) async fn plan(&self, snapshot: &mut Snapshot) -> Vec<Action> {
        let running = |view: &fleet::DeviceView| view.image.version().or(view.version.as_ref()).cloned();
        let asking = snapshot.devices.values().filter_map(|subject| subject.asks.as_ref());
        // Of those that can be compared: for the others there is nothing on the way.
        let lowest = asking.filter_map(running).filter(|version| !version.is_opaque()).min();
        let (mut view, target) = match self.channel_view(lowest.as_ref()).await {
            Ok(found) => found,
            Err(store) => return plan_with(snapshot, self.product, store),
        };
        if let Some(why) = target.as_ref().and_then(|target| self.corrupt.of(target)) {
            return plan_with(snapshot, self.product, StoreView::Unavailable(why));
        }
        let mut looked = Looked { artifacts: target.into_iter().collect(), ..Looked::default() };
        loop {
            let actions = plan_with(snapshot, self.product, StoreView::Channel(view.clone()));
            let mut is_changed = false;
            for (version, is_offered) in chosen(&actions) {
                is_changed |= self.judge(&mut view, &version, is_offered, &mut looked).await;
            }
            if !is_changed {
                return actions.into_iter().map(|action| unless_failed(action, &looked.failed)).collect();
            }
        }
    }

    /// The channel and, if the device with the lowest version cannot go to its target at once, the releases on the way as
    /// they are listed.
    async fn channel_view(
        &self,
        lowest: Option<&Version>,
    ) -> Result<(ChannelView, Option<Artifact>), StoreView> {
        let version = async {
            match &self.wanted {
                Some(wanted) => Ok(Some(wanted.clone())),
                None => self.store.channel(self.product, &self.channel).await,
            }
        };
        let (version, blocked) = tokio::join!(version, self.store.blocked(self.product));
        let version = match version {
            Ok(version) => version,
            // A product that is registered and has no image yet.
            Err(StoreError::NotFound(_)) => None,
            Err(error) => return Err(unavailable(&error)),
        };
        let mut view = ChannelView {
            channel: self.channel.clone(),
            target: None,
            blocked: Blocked::Versions(BTreeMap::new()),
            blocked_images: self.blocked_images.clone(),
            releases: Vec::new(),
        };
        let Some(version) = version else { return Ok((view, None)) };
        view.blocked = blocked_list(blocked.map_err(|error| unavailable(&error))?);
        let target = self.store.artifact(self.product, &self.channel, &version).await;
        let target = target.map_err(|error| unavailable(&error))?.ok_or_else(|| {
            let cause = match &self.wanted {
                Some(_) => service::NO_RELEASE.naming("product", self.product),
                None => causes::NO_IMAGE.naming("product", self.product).naming("channel", &self.channel),
            };
            StoreView::NoImage(cause.naming("version", &version))
        })?;
        if let Some(lowest) = lowest
            && target.requires.as_ref().is_some_and(|required| required > lowest)
        {
            let between = self.store.releases_between(self.product, lowest, &target.version).await;
            let between = between.map_err(|error| unavailable(&error))?;
            view.releases = between.into_iter().map(listed).collect();
        }
        view.target = Some(offerable(&target));
        Ok((view, Some(target)))
    }

    /// Looks at the release that decisions came to. Answers whether what is known changed, so that it is decided again.
    async fn judge(
        &self,
        view: &mut ChannelView,
        version: &Version,
        is_offered: bool,
        looked: &mut Looked,
    ) -> bool {
        if looked.failed.contains_key(version) {
            return false;
        }
        let Some(artifact) = looked.artifacts.iter().find(|known| known.version == *version).cloned() else {
            match self.look(view, version, looked).await {
                Ok(()) => return true,
                Err(why) => return looked.failed.insert(version.clone(), why).is_some(),
            }
        };
        if !(is_offered || artifact.sha256.is_none()) || !looked.digested.insert(version.clone()) {
            return false;
        }
        let left = self.deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let real = self.store.digest_within(&artifact, left.min(DIGEST_TIMEOUT)).await;
        match (artifact.sha256, real) {
            // The device judges the bytes by itself.
            (_, None) => false,
            (Some(said), Some(real)) if said == real => false,
            (Some(said), Some(real)) => {
                let why = other_bytes(&artifact, said, real);
                self.corrupt.note(&artifact, &why);
                if view.target.as_ref().is_some_and(|target| target.version == *version) {
                    return looked.failed.insert(version.clone(), why).is_some();
                }
                pass_over(view, version, &why);
                looked.corrupt += 1;
                true
            }
            // Without a digest, an image that failed twice cannot be told from another.
            (None, Some(real)) => {
                let target = view.target.iter_mut();
                for known in target.chain(&mut view.releases).filter(|known| known.version == *version) {
                    known.sha256 = Some(real);
                }
                true
            }
        }
    }

    /// Looks at a release whole. One that is corrupt is passed over.
    async fn look(
        &self,
        view: &mut ChannelView,
        version: &Version,
        looked: &mut Looked,
    ) -> Result<(), Cause> {
        if looked.corrupt >= CORRUPT_MAX {
            return Err(causes::STEPS_CORRUPT.with("count", CORRUPT_MAX).naming("version", version));
        }
        let corrupt: Box<dyn Display + Send> =
            match self.store.artifact(self.product, &self.channel, version).await {
                Ok(Some(artifact)) => match self.corrupt.of(&artifact) {
                    Some(why) => Box::new(why),
                    None => {
                        for known in view.releases.iter_mut().filter(|known| known.version == *version) {
                            *known = offerable(&artifact);
                        }
                        looked.artifacts.push(artifact);
                        return Ok(());
                    }
                },
                Ok(None) => Box::new("it has gone"),
                Err(error) if error.is_corrupt() => Box::new(error),
                Err(error) => return Err(error.cause().clone()),
            };
        pass_over(view, version, &corrupt);
        looked.corrupt += 1;
        Ok(())
    }
}

/// Plans with this view of a product's store.
pub(super) fn plan_with(snapshot: &mut Snapshot, product: &ProductName, store: StoreView) -> Vec<Action> {
    snapshot.stores.insert(product.clone(), store);
    plan(snapshot, 0)
}

/// The versions that decisions came to, and whether one offers it.
fn chosen(actions: &[Action]) -> BTreeMap<Version, bool> {
    let mut chosen = BTreeMap::new();
    for action in actions {
        match action {
            Action::Offer { artifact, .. } => {
                chosen.insert(artifact.version.clone(), true);
            }
            Action::Answer {
                decision: Decision::Quarantined { version } | Decision::Offline { version },
                ..
            } => {
                chosen.entry(version.clone()).or_insert(false);
            }
            _ => {}
        }
    }
    chosen
}

/// The action, unless it came to a version that cannot be offered now.
fn unless_failed(action: Action, failed: &BTreeMap<Version, Cause>) -> Action {
    let (device, version) = match &action {
        Action::Offer { device, artifact } => (device, &artifact.version),
        Action::Answer {
            device,
            decision: Decision::Quarantined { version } | Decision::Offline { version },
        } => (device, version),
        _ => return action,
    };
    let Some(why) = failed.get(version) else { return action };
    Action::Answer { device: device.clone(), decision: Decision::StoreUnavailable(why.clone()) }
}

pub(super) fn blocked_list(blocked: store::Blocked) -> Blocked {
    match blocked {
        store::Blocked::List(versions) => Blocked::Versions(versions),
        store::Blocked::Unreadable(cause) => Blocked::Unreadable(cause),
    }
}

fn pass_over(view: &mut ChannelView, version: &Version, why: &dyn Display) {
    tracing::warn!(release = %version, "a release on the way is passed over: {why}");
    view.releases.retain(|known| known.version != *version);
}

fn other_bytes(artifact: &Artifact, said: Sha256, real: Sha256) -> Cause {
    let cause = causes::OTHER_BYTES.naming("key", &artifact.key).naming("version", &artifact.version);
    cause.naming("sha256", real).naming("expected", said)
}

fn unavailable(error: &StoreError) -> StoreView {
    StoreView::Unavailable(error.cause().clone())
}

fn offerable(artifact: &Artifact) -> fleet::Artifact {
    fleet::Artifact {
        version: artifact.version.clone(),
        key: artifact.key.clone(),
        size: artifact.size,
        sha256: artifact.sha256,
        chip: artifact.chip.clone(),
        requires: artifact.requires.clone(),
    }
}

/// A release of which it is not known yet which object is sent for it.
fn listed(release: Release) -> fleet::Artifact {
    fleet::Artifact {
        version: release.version,
        key: String::new(),
        size: release.size,
        sha256: release.sha256,
        chip: release.chip,
        requires: release.requires,
    }
}

/// Maximum number of images that are remembered. Others are found again when they are read.
const IMAGES_MAX: usize = 256;

/// By key: as which object it was found, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct CorruptImages(Mutex<HashMap<String, (Artifact, Cause)>>);

impl CorruptImages {
    /// What is wrong with an image, if that is known. One that was replaced or described again since is another one.
    pub(super) fn of(&self, artifact: &Artifact) -> Option<Cause> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(&artifact.key).filter(|(then, _)| then == artifact).map(|(_, why)| why.clone())
    }

    pub(super) fn note(&self, artifact: &Artifact, why: &Cause) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= IMAGES_MAX {
            found.clear();
        }
        found.insert(artifact.key.clone(), (artifact.clone(), why.clone()));
    }
}
