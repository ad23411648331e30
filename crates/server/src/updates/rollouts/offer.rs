//! The version is offered to some of a rollout's devices: what is decided of each is written where it ends there.

use cause::{Cause, decision, rollout as causes};
use contract::DeviceId;
use fleet::{Decision, UpdateState};

use super::service::Rollouts;
use super::terms;
use crate::actor::Actor;
use crate::db::rollout::RolloutRow;
use crate::error::Error;
use crate::updates::check::Wish;

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub(super) offered: u64,
    /// It is blocked.
    pub(super) blocked: Option<Cause>,
    /// Nothing can be offered now.
    pub(super) unavailable: Option<Cause>,
}

/// What becomes of a device that was not offered it.
enum End {
    /// It goes on waiting.
    Waits,
    /// It is not offered it any more, or needs no offer.
    Here(UpdateState, Cause),
}

fn end(decision: &Decision, into: &mut Offered) -> End {
    match decision {
        Decision::UpToDate { version } => {
            End::Here(UpdateState::Succeeded, causes::ALREADY_RUNS.naming("version", version))
        }
        Decision::Blocked { cause, .. } if is_of_version(cause) => {
            into.blocked = Some(cause.clone());
            End::Waits
        }
        // A list that cannot be read says nothing of this version, and is mended.
        Decision::Blocked { cause, .. } | Decision::StoreUnavailable(cause) => {
            into.unavailable = Some(cause.clone());
            End::Waits
        }
        Decision::NoRelease(cause) if !is_of_device(cause) => {
            into.unavailable = Some(cause.clone());
            End::Waits
        }
        Decision::InProgress { .. } | Decision::Offline { .. } | Decision::Offered(_) => End::Waits,
        other => End::Here(UpdateState::Cancelled, other.cause()),
    }
}

fn is_of_version(cause: &Cause) -> bool {
    cause.is(decision::BLOCKED) || cause.is(decision::BLOCKED_BYTES)
}

fn is_of_device(cause: &Cause) -> bool {
    [decision::NO_STEP_BETWEEN, decision::NO_PRODUCT, causes::OTHER_PRODUCT]
        .iter()
        .any(|entry| cause.is(*entry))
}

impl Rollouts {
    pub(super) async fn offer(&self, row: &RolloutRow, devices: &[DeviceId]) -> Result<Offered, Error> {
        let wish = Wish { how: false.into(), target: Some(terms::target(row)) };
        let (decided, made) = self.0.updates.offer_many(&Actor::SERVER, devices, &wish).await?;
        let mut offered = Offered { offered: made.len() as u64, ..Offered::default() };
        let mut ends = Vec::new();
        for (device, decided) in decided {
            if let End::Here(state, cause) = end(&decided.decision, &mut offered) {
                ends.push((device, state, cause));
            }
        }
        if ends.is_empty() {
            return Ok(offered);
        }
        let ids: Vec<DeviceId> = ends.iter().map(|(device, ..)| device.clone()).collect();
        let write = self.0.db.write(&Actor::SERVER).await?;
        let mut locked = write.lock_devices(&ids).await?;
        for device in &mut locked {
            device.rollout = device.rollout.filter(|rollout| *rollout != row.id);
        }
        write.save(locked.iter_mut().map(|device| (device, None))).await?;
        for (device, state, cause) in &ends {
            write.conclude_member(row.id, device, *state, cause).await?;
        }
        write.commit().await?;
        Ok(offered)
    }
}
