//! What a decision asks the store, afresh, and in as few round trips as it takes: the channel and the blocked list at once,
//! then the target, then the digest of its bytes, which is remembered. Only where a target is too far are the releases
//! before it listed, and only the highest that may be offered is looked at whole.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cause::{Cause, decision as causes};
use contract::{ChannelName, ProductName, Sha256, Version};
use fleet::{Blocked, ChannelView, Decision, DeviceView, StoreView};
use store::{Artifact, Release, Store, StoreError};
use tokio::time::Instant;

/// How long reading an image for its digest may take.
const DIGEST_TIMEOUT: Duration = Duration::from_secs(3);
/// What is left of the store's time when reading an image is given up.
const MARGIN: Duration = Duration::from_millis(200);
/// Maximum number of releases on the way to a target that are read whole, the highest first: one, unless some are corrupt.
const STEPS_MAX: usize = 4;

pub(super) struct Questions<'a> {
    pub(super) store: &'a Store,
    pub(super) product: &'a ProductName,
    pub(super) channel: ChannelName,
    pub(super) device: &'a DeviceView,
    pub(super) corrupt: &'a CorruptImages,
    pub(super) deadline: Instant,
}

/// What was looked at whole, and of which of it the bytes were read.
#[derive(Default)]
struct Looked {
    artifacts: Vec<Artifact>,
    steps: usize,
    digested: Vec<Version>,
}

impl Questions<'_> {
    /// The decision, with all of the store that it needs.
    pub(super) async fn decide(&self) -> Decision {
        let (mut view, target) = match self.channel_view().await {
            Ok(found) => found,
            Err(decision) => return decision,
        };
        if let Some(why) = target.as_ref().and_then(|target| self.corrupt.of(target)) {
            return Decision::StoreUnavailable(why);
        }
        let mut looked = Looked { artifacts: target.into_iter().collect(), ..Looked::default() };
        loop {
            let store = StoreView::Channel(view);
            let decision = fleet::decide(self.device, &store);
            let StoreView::Channel(again) = store else { return decision };
            view = again;
            let chosen = match &decision {
                Decision::Offered(artifact) => &artifact.version,
                Decision::Quarantined { version } | Decision::Offline { version } => version,
                _ => return decision,
            };
            let Some(artifact) = looked.artifacts.iter().find(|known| known.version == *chosen) else {
                match self.look(&mut view, chosen, &mut looked).await {
                    Ok(()) => continue,
                    Err(decision) => return decision,
                }
            };
            let is_offered = matches!(decision, Decision::Offered(_));
            if looked.digested.contains(chosen) || !(is_offered || artifact.sha256.is_none()) {
                return decision;
            }
            let left = self.deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
            let real = self.store.digest_within(artifact, left.min(DIGEST_TIMEOUT)).await;
            match (artifact.sha256, real) {
                // The device judges the bytes by itself.
                (_, None) => return decision,
                (Some(said), Some(real)) if said == real => return decision,
                (Some(said), Some(real)) => {
                    let why = other_bytes(artifact, said, real);
                    self.corrupt.note(artifact, &why);
                    if view.target.as_ref().is_some_and(|target| target.version == *chosen) {
                        return Decision::StoreUnavailable(why);
                    }
                    pass_over(&mut view, chosen, &why);
                }
                // Without a digest, an image that failed twice cannot be told from another.
                (None, Some(real)) => {
                    looked.digested.push(chosen.clone());
                    let target = view.target.iter_mut();
                    for known in target.chain(&mut view.releases).filter(|known| known.version == *chosen) {
                        known.sha256 = Some(real);
                    }
                }
            }
        }
    }

    /// The channel and, if the device cannot go to its target at once, the releases on the way as they are listed.
    async fn channel_view(&self) -> Result<(ChannelView, Option<Artifact>), Decision> {
        let (version, blocked) =
            tokio::join!(self.store.channel(self.product, &self.channel), self.store.blocked(self.product));
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
            releases: Vec::new(),
        };
        let Some(version) = version else { return Ok((view, None)) };
        view.blocked = match blocked.map_err(|error| unavailable(&error))? {
            store::Blocked::List(versions) => Blocked::Versions(versions),
            store::Blocked::Unreadable(cause) => Blocked::Unreadable(cause),
        };
        let target = self.store.artifact(self.product, &self.channel, &version).await;
        let target = target.map_err(|error| unavailable(&error))?.ok_or_else(|| {
            let cause = causes::NO_IMAGE.naming("product", self.product).naming("channel", &self.channel);
            Decision::NoRelease(cause.naming("version", &version))
        })?;
        let running = self.device.version.as_ref();
        if let Some(running) = running
            && target.requires.as_ref().is_some_and(|lowest| lowest > running)
        {
            let between = self.store.releases_between(self.product, running, &target.version).await;
            let between = between.map_err(|error| unavailable(&error))?;
            view.releases = between.into_iter().map(listed).collect();
        }
        view.target = Some(offerable(&target));
        Ok((view, Some(target)))
    }

    /// Looks at the release that the decision came to. One that is corrupt is passed over, and it is decided again.
    async fn look(
        &self,
        view: &mut ChannelView,
        version: &Version,
        looked: &mut Looked,
    ) -> Result<(), Decision> {
        looked.steps += 1;
        if looked.steps > STEPS_MAX {
            let cause = causes::STEPS_CORRUPT.with("count", STEPS_MAX).naming("version", version);
            return Err(Decision::StoreUnavailable(cause));
        }
        match self.store.artifact(self.product, &self.channel, version).await {
            Ok(Some(artifact)) => {
                if let Some(why) = self.corrupt.of(&artifact) {
                    pass_over(view, version, &why);
                    return Ok(());
                }
                for known in view.releases.iter_mut().filter(|known| known.version == *version) {
                    *known = offerable(&artifact);
                }
                looked.artifacts.push(artifact);
            }
            Ok(None) => pass_over(view, version, &"it has gone"),
            Err(error) if error.is_corrupt() => pass_over(view, version, &error),
            Err(error) => return Err(unavailable(&error)),
        }
        Ok(())
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

fn unavailable(error: &StoreError) -> Decision {
    Decision::StoreUnavailable(error.cause().clone())
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
