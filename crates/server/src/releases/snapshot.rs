//! What the store has of one product: read, and as the API has it.

use contract::{ChannelName, ProductName, Version};
use store::{Blocked, Release, Store, StoreError};

use crate::db::mirror::Snapshot;

pub(super) async fn read(store: &Store, product: &ProductName) -> Result<Option<Snapshot>, StoreError> {
    if !store.product_exists(product).await? {
        return Ok(None);
    }
    let releases = store.releases(product).await?;
    let channels = store.channels(product).await?;
    let blocked = store.blocked(product).await?;
    let mut snapshot = Snapshot::new(releases, channels, blocked);
    for (channel, version) in &snapshot.channels {
        if let Some(version) = version.as_ref().filter(|version| snapshot.release(version).is_none()) {
            snapshot.deployed.extend(store.channel_image(product, channel, version).await?);
        }
    }
    Ok(Some(snapshot))
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
