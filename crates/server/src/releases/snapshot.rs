//! What the store has of one product, as it was last read.

use contract::{ChannelName, ProductName, Version};
use store::{Blocked, Release, Store, StoreError};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    /// Highest version first.
    pub(crate) releases: Vec<Release>,
    pub(crate) channels: Vec<(ChannelName, Option<Version>)>,
    pub(crate) blocked: Blocked,
}

impl Snapshot {
    pub(super) async fn read(store: &Store, product: &ProductName) -> Result<Option<Self>, StoreError> {
        if !store.product_exists(product).await? {
            return Ok(None);
        }
        let mut releases = store.releases(product).await?;
        releases.sort_by(|a, b| b.version.cmp(&a.version));
        let channels = store.channels(product).await?;
        let blocked = store.blocked(product).await?;
        Ok(Some(Self { releases, channels, blocked }))
    }

    pub(crate) fn production(&self) -> Option<&Version> {
        let production = ChannelName::production();
        self.channels.iter().find(|(name, _)| *name == production).and_then(|(_, version)| version.as_ref())
    }

    /// The release of a version: of several spellings (`1.0.0+a`, `1.0.0+b`) the one that was asked for, if it is there.
    pub(crate) fn release(&self, version: &Version) -> Option<&Release> {
        let same = || self.releases.iter().filter(|release| release.version == *version);
        same().find(|release| release.version.as_str() == version.as_str()).or_else(|| same().next())
    }
}

/// A release of a product that has these channels and this blocked list, as the API has it.
pub fn shown(
    channels: &[(ChannelName, Option<Version>)],
    blocked: &Blocked,
    release: &Release,
) -> api::Release {
    let reason = match blocked {
        Blocked::List(versions) => versions.get(&release.version).cloned(),
        Blocked::Unreadable(cause) => Some(Some(cause.sentence())),
    };
    let channels = channels
        .iter()
        .filter(|(_, version)| version.as_ref() == Some(&release.version))
        .map(|(name, _)| name.clone());
    api::Release {
        version: release.version.clone(),
        size: release.size,
        sha256: release.sha256,
        chip: release.chip.clone(),
        blocked: reason.is_some(),
        reason: reason.flatten(),
        channels: channels.collect(),
        notes: release.notes.clone(),
        built_at: release.built_at,
        published_at: release.published_at,
        commit: release.commit.clone(),
        tag: release.tag.clone(),
        dirty: release.dirty,
    }
}
