//! What decisions ask the store, afresh, once for all devices of a product, and in as few round trips as it takes: the channel and
//! the blocked list at once, then the target, then the digest of its bytes, which is remembered. Only where a target is too far
//! are the releases before it listed, and only what is chosen is looked at whole. Nothing is offered that was not read and found
//! to be an image for the product.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use cause::{Cause, decision as causes, service};
use contract::{ChannelName, ProductName, Version};
use fleet::{Action, Blocked, BlockedImages, ChannelView, Decision, Snapshot, StoreView, plan};
use store::{Artifact, Facts, Inspection, Release, StoreError};
use tokio::time::Instant;

use crate::error::Error;
use crate::releases::{Releases, admit};

/// At most this long a check waits for an image to be read; the reading goes on.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// What is left of the store's time when reading an image is given up.
const MARGIN: Duration = Duration::from_millis(200);
/// Maximum number of releases on the way to a target that are passed over since they are corrupt, the highest first.
const CORRUPT_MAX: usize = 4;

pub(super) struct Questions<'a> {
    pub(super) releases: &'a Releases,
    pub(super) product: &'a ProductName,
    pub(super) channel: ChannelName,
    /// Instead of what the channel points to.
    pub(super) wanted: Option<Version>,
    pub(super) blocked_images: &'a BlockedImages,
    pub(super) deadline: Instant,
}

/// What was looked at whole, of which of it the bytes were judged, and what cannot be offered now.
#[derive(Default)]
struct Looked {
    /// What the product says of its images.
    guard: Facts,
    artifacts: Vec<Artifact>,
    judged: BTreeSet<Version>,
    corrupt: usize,
    failed: BTreeMap<Version, Cause>,
}

impl Questions<'_> {
    /// What is to be done for devices of this product, with all of the store that it takes.
    pub(super) async fn plan(&self, snapshot: &mut Snapshot) -> Result<Vec<Action>, Error> {
        let running = |view: &fleet::DeviceView| view.image.version().or(view.version.as_ref()).cloned();
        let asking = snapshot.devices.values().filter_map(|subject| subject.asks.as_ref());
        // Of those that can be compared: for the others there is nothing on the way.
        let lowest = asking.filter_map(running).filter(|version| !version.is_opaque()).min();
        let (mut view, mut looked) = match self.channel_view(lowest.as_ref()).await {
            Ok(found) => found,
            Err(store) => return Ok(plan_with(snapshot, self.product, store)),
        };
        // Found out earlier, it is said to each device; not yet, only to those that it would be offered to.
        if let Some(target) = looked.artifacts.first().cloned()
            && let Some(read) = self.releases.inspected(&target).await?
            && let Err(why) = self.admit(&mut view, &target, &read, &mut looked)
        {
            return Ok(plan_with(snapshot, self.product, StoreView::Unavailable(why)));
        }
        loop {
            let actions = plan_with(snapshot, self.product, StoreView::Channel(view.clone()));
            let mut is_changed = false;
            for (version, is_offered) in chosen(&actions) {
                is_changed |= self.judge(&mut view, &version, is_offered, &mut looked).await?;
            }
            if !is_changed {
                let unless_failed = |action| unless_failed(action, &looked.failed);
                return Ok(actions.into_iter().map(unless_failed).collect());
            }
        }
    }

    /// The channel and, if the device with the lowest version cannot go to its target at once, the releases on the way as
    /// they are listed.
    async fn channel_view(&self, lowest: Option<&Version>) -> Result<(ChannelView, Looked), StoreView> {
        let store = self.releases.store();
        let version = async {
            match &self.wanted {
                Some(wanted) => Ok(Some(wanted.clone())),
                None => store.channel(self.product, &self.channel).await,
            }
        };
        let (version, blocked, guard) =
            tokio::join!(version, store.blocked(self.product), store.guard(self.product));
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
        let mut looked = Looked::default();
        let Some(version) = version else { return Ok((view, looked)) };
        looked.guard = guard.map_err(|error| unavailable(&error))?;
        view.blocked = blocked_list(blocked.map_err(|error| unavailable(&error))?);
        let target = store.artifact(self.product, &self.channel, &version).await;
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
            let between = store.releases_between(self.product, lowest, &target.version).await;
            let between = between.map_err(|error| unavailable(&error))?;
            view.releases = between.into_iter().map(listed).collect();
        }
        view.target = Some(offerable(&target));
        looked.artifacts.push(target);
        Ok((view, looked))
    }

    /// Looks at the release that decisions came to. Answers whether what is known changed, so that it is decided again.
    async fn judge(
        &self,
        view: &mut ChannelView,
        version: &Version,
        is_offered: bool,
        looked: &mut Looked,
    ) -> Result<bool, Error> {
        if looked.failed.contains_key(version) {
            return Ok(false);
        }
        let Some(artifact) = looked.artifacts.iter().find(|known| known.version == *version).cloned() else {
            return Ok(match self.look(view, version, looked).await {
                Ok(()) => true,
                Err(why) => looked.failed.insert(version.clone(), why).is_some(),
            });
        };
        if !(is_offered || artifact.sha256.is_none()) || looked.judged.contains(version) {
            return Ok(false);
        }
        let left = self.deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let read = match self.releases.inspect(self.product, &artifact, left.min(READ_TIMEOUT)).await? {
            Ok(read) => read,
            Err(why) => return Ok(looked.failed.insert(version.clone(), why).is_some()),
        };
        let Err(why) = self.admit(view, &artifact, &read, looked) else { return Ok(true) };
        if view.target.as_ref().is_some_and(|target| target.version == *version) {
            return Ok(looked.failed.insert(version.clone(), why).is_some());
        }
        pass_over(view, version, &why);
        looked.corrupt += 1;
        Ok(true)
    }

    /// Takes what was read of an artifact's bytes for what was said of it; or says why it is offered to nobody.
    fn admit(
        &self,
        view: &mut ChannelView,
        artifact: &Artifact,
        read: &Inspection,
        looked: &mut Looked,
    ) -> Result<(), Cause> {
        looked.judged.insert(artifact.version.clone());
        admit(self.product, artifact, read, &looked.guard)?;
        let header = read.prefix().map(|prefix| prefix.header);
        let chip = header.and_then(|header| header.chip()).map(|chip| chip.name().to_owned());
        let revisions = header.map(|header| {
            let (min, max) = (header.min_chip_revision, header.max_chip_revision);
            [min.0, if max.is_bound() { max.0 } else { u16::MAX }]
        });
        let known = view.target.iter_mut().chain(&mut view.releases);
        for known in known.filter(|known| known.version == artifact.version) {
            (known.sha256, known.chip) = (Some(read.sha256), chip.clone().or(known.chip.take()));
            known.chip_revisions = revisions;
        }
        Ok(())
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
            match self.releases.store().artifact(self.product, &self.channel, version).await {
                Ok(Some(artifact)) => {
                    for known in view.releases.iter_mut().filter(|known| known.version == *version) {
                        *known = offerable(&artifact);
                    }
                    looked.artifacts.push(artifact);
                    return Ok(());
                }
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
        chip_revisions: None,
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
        chip_revisions: None,
        requires: release.requires,
    }
}
