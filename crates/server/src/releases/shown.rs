//! A release as it is shown.

use api::Release;
use contract::{ChannelName, Version};
use store::Blocked;

/// A release of a product that has these channels and this blocked list.
pub fn shown(
    channels: &[(ChannelName, Option<Version>)],
    blocked: &Blocked,
    release: &store::Release,
) -> Release {
    let reason = match blocked {
        Blocked::List(versions) => versions.get(&release.version).cloned(),
        Blocked::Unreadable(cause) => Some(Some(cause.sentence())),
    };
    let channels = channels
        .iter()
        .filter(|(_, version)| version.as_ref() == Some(&release.version))
        .map(|(name, _)| name.clone());
    Release {
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
