//! The service's state, and what people do with a rollout that runs.

use std::sync::Arc;

use cause::{Cause, rollout as causes};
use contract::ProductName;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::rollout::RolloutRow;
use crate::db::{Action, Db, Locked};
use crate::devices::Devices;
use crate::error::Error;
use crate::events::Events;
use crate::releases::Releases;
use crate::updates::service::Updates;

/// Rollouts. Clones are the same service.
#[derive(Clone)]
pub struct Rollouts(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) events: Events,
    pub(super) devices: Devices,
    pub(super) releases: Releases,
    pub(super) updates: Updates,
    /// Somebody did something with one.
    pub(super) wake: Notify,
    /// How long those who are there have to say so after a start.
    pub(super) presence_grace_ms: i64,
}

impl Rollouts {
    pub(crate) fn new(
        offline_after_s: u32,
        db: Db,
        events: Events,
        devices: Devices,
        releases: Releases,
        updates: Updates,
    ) -> Self {
        let (wake, presence_grace_ms) = (Notify::new(), i64::from(offline_after_s.min(30)) * 1000);
        Self(Arc::new(Inner { db, events, devices, releases, updates, wake, presence_grace_ms }))
    }

    /// Stops it for a while: nobody more is offered it.
    #[crate::boxed]
    pub async fn pause(&self, by: &Actor, id: i64) -> Result<api::Rollout, Error> {
        let changes = [("running", "paused")];
        self.change(by, id, Action::ROLLOUT_PAUSE, "paused", &changes, None).await
    }

    /// Goes on with one that is paused.
    #[crate::boxed]
    pub async fn resume(&self, by: &Actor, id: i64) -> Result<api::Rollout, Error> {
        let changes = [("paused", "running")];
        self.change(by, id, Action::ROLLOUT_RESUME, "resumed", &changes, None).await
    }

    /// Ends it: nothing more is sent. Who is at work on it may finish.
    #[crate::boxed]
    pub async fn abort(&self, by: &Actor, id: i64, why: Option<&str>) -> Result<api::Rollout, Error> {
        let why = why.map(str::trim).filter(|why| !why.is_empty());
        if why.is_some_and(|why| why.len() > WHY_MAX_BYTES) {
            return Err(Error::Invalid(causes::WHY.with("most", WHY_MAX_BYTES)));
        }
        let cause = causes::ABORTED_BY.with("who", &*by.name).with("why", why);
        let changes = [("running", "aborted"), ("paused", "aborted")];
        self.change(by, id, Action::ROLLOUT_ABORT, "aborted", &changes, Some(cause)).await
    }

    /// Asked again, it changes nothing.
    async fn change(
        &self,
        by: &Actor,
        id: i64,
        action: Action,
        wanted: &'static str,
        changes: &[(&str, &'static str)],
        cause: Option<Cause>,
    ) -> Result<api::Rollout, Error> {
        let mut write = self.0.db.write(by).await?;
        let mut rollout = write.lock_rollout(id).await?.ok_or_else(|| unknown(id))?;
        let before = rollout.state.clone();
        match (changes.iter().find(|(from, _)| *from == before), &cause) {
            (Some((_, to)), cause) => {
                if let Some(cause) = cause {
                    end(&mut rollout, to, Some(cause.clone()));
                }
                (*to).clone_into(&mut rollout.state);
            }
            // Who was offline and waits is given up.
            (None, Some(cause)) if before == "done" && rollout.is_open => {
                write.cancel_waiting(id, cause).await?;
                rollout.is_open = false;
            }
            (None, _) if changes.iter().any(|(_, to)| *to == before) => return self.show(id).await,
            (None, _) => {
                let cause = causes::HAS_ENDED.naming("rollout", id).with("state", before);
                return Err(Error::Refused(cause.with("wanted", wanted)));
            }
        }
        write.save_rollout(&rollout).await?;
        write.audit(action, &id, json!({ "state": before }), of(&rollout.product, &rollout.state));
        write.commit().await?;
        self.0.events.rollout(id);
        self.0.wake.notify_one();
        self.show(id).await
    }
}

/// The longest reason for ending one, in bytes.
const WHY_MAX_BYTES: usize = 500;

/// It has come to this end. What was offered and not sent is still to be withdrawn.
pub(super) fn end(rollout: &mut Locked<RolloutRow>, state: &str, cause: Option<Cause>) {
    state.clone_into(&mut rollout.state);
    rollout.cause = cause.map(Into::into);
    rollout.finished_at = Some(now_ms());
    rollout.is_open = true;
}

pub(super) fn of(product: &ProductName, state: &str) -> Value {
    json!({ "product": product, "state": state })
}

pub(super) fn unknown(id: i64) -> Error {
    Error::NotFound(causes::NO_ROLLOUT.naming("rollout", id))
}
