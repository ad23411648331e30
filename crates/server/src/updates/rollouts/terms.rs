//! What a rollout was asked to be, as the planner and the sender take it.

use api::NewRollout;
use cause::{Cause, rollout as causes};
use fleet::rollout::{Percent, Shape, Step, VersionRange};

use crate::db::rollout::RolloutRow;
use crate::updates::target::Target;

const MAX_IN_FLIGHT: u32 = 500;
/// The shortest and the longest silence.
const TIMEOUT_S: std::ops::RangeInclusive<u32> = 10..=86_400;
/// Maximum number of each kind that a selector names.
const IDS_MAX: usize = 100_000;
const NAMES_MAX: usize = 100;

pub(super) fn shape(asked: &NewRollout) -> Shape {
    let all = || vec![Step { percent: Percent::ALL, soak_s: 0 }];
    Shape {
        steps: asked.steps.clone().unwrap_or_else(all),
        max_in_flight: asked.max_in_flight.unwrap_or(MAX_IN_FLIGHT),
        halt_at: asked.halt_at.unwrap_or_default(),
        window: asked.window,
        expires_at: asked.expires_at.map(|at| at.timestamp_millis()),
    }
}

pub(super) fn target(row: &RolloutRow) -> Target {
    let timeout_s = row.request.update_timeout_s.unwrap_or(0);
    Target { rollout: row.id, product: row.product.0.clone(), version: row.version.0.clone(), timeout_s }
}

/// The versions that are selected; all, if it says none.
pub(super) fn versions(asked: &NewRollout) -> Result<Option<VersionRange>, Cause> {
    let text = asked.selector.versions.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let read =
        |text| VersionRange::parse(text).ok_or_else(|| causes::VERSIONS.with("text", format!("{text:?}")));
    text.map(read).transpose()
}

/// Why it cannot be, if so.
pub(super) fn refusal(asked: &NewRollout, now: i64) -> Option<Cause> {
    let selector = &asked.selector;
    if let Some(cause) = shape(asked).refusal(now) {
        return Some(cause);
    }
    if asked.update_timeout_s.is_some_and(|timeout_s| !TIMEOUT_S.contains(&timeout_s)) {
        let cause = causes::UPDATE_TIMEOUT.with("least", *TIMEOUT_S.start());
        return Some(cause.with("most", *TIMEOUT_S.end()));
    }
    let too_many = |most: usize, what| causes::SELECTOR.with("most", most).with("what", what);
    if selector.ids.len() > IDS_MAX {
        return Some(too_many(IDS_MAX, "ids"));
    }
    for (names, what) in [(&selector.tags, "tags"), (&selector.groups, "groups")] {
        if names.len() > NAMES_MAX {
            return Some(too_many(NAMES_MAX, what));
        }
    }
    versions(asked).err()
}
