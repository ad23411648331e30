//! A release as it is shown.

use store::Blocked;

use super::snapshot::Snapshot;
use api::Release;

/// A release of a product of which this is known.
pub(super) fn shown(snapshot: &Snapshot, release: &store::Release) -> Release {
    let reason = match &snapshot.blocked {
        Blocked::List(versions) => versions.get(&release.version).cloned(),
        Blocked::Unreadable(cause) => Some(Some(cause.sentence())),
    };
    let channels = snapshot
        .channels
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
