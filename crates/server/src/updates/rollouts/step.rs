//! What the planner says, done. Each of it can be done again; what a person changed meanwhile stays.

use cause::{Cause, rollout as causes};
use contract::{ChannelName, DeviceId, Version};
use fleet::{Change, UpdateState, Why};
use serde_json::json;
use store::Blocked;

use super::evidence;
use super::members::Cursor;
use super::service::{Rollouts, end, of};
use super::terms;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::Action;
use crate::db::moved::WAITING;
use crate::db::rollout::RolloutRow;
use crate::db::rollout_device::{self, Joins};
use crate::db::update;
use crate::error::Error;
use crate::updates::service::{BATCH, write as record};

/// Maximum number of failures that a halt looks at.
const FAILURES_MAX: u64 = 200;
/// Of a reason for blocking a version, in bytes.
const REASON_MAX_BYTES: usize = 500;

impl Rollouts {
    /// Its devices are looked for from now on among those that can be reached, a part at a time.
    pub(super) async fn open_step(&self, row: &RolloutRow, step: usize) -> Result<(), Error> {
        let number = i64::try_from(step).unwrap_or(i64::MAX);
        let mut above = (number, String::new());
        loop {
            let at = (above.0, above.1.as_str());
            let mut page = rollout_device::in_state(&self.0.db, row.id, WAITING, at, BATCH as u64).await?;
            page.retain(|member| member.step == number);
            let Some(last) = page.last() else { break };
            above = (number, last.device.to_string());
            let ids: Vec<DeviceId> = page.into_iter().map(|member| member.device.0).collect();
            self.look_for(row, &ids, None).await?;
        }
        if step + 1 == terms::shape(&row.request).steps.len() {
            self.join(row).await?;
        }
        self.advance(row, |row| row.opened = row.opened.max(number + 1)).await
    }

    /// Looks for these devices; with a step, they join it.
    async fn look_for(&self, row: &RolloutRow, ids: &[DeviceId], joins: Option<usize>) -> Result<u64, Error> {
        let write = self.0.db.write(&Actor::SERVER).await?;
        let mut devices = write.lock_devices(ids).await?;
        if let Some(step) = joins {
            let joins = devices.iter().map(|device| Joins { device: device.id.0.clone(), step });
            write.insert_members(row.id, &joins.collect::<Vec<_>>()).await?;
        }
        for device in &mut devices {
            device.rollout = Some(row.id);
        }
        write.save(devices.iter_mut().map(|device| (device, None))).await?;
        write.commit().await?;
        Ok(devices.len() as u64)
    }

    /// Who matches by now and did not at the start is in the last step.
    async fn join(&self, row: &RolloutRow) -> Result<u64, Error> {
        let (mut joined, mut cursor) = (0, Some(Cursor::default()));
        let last = terms::shape(&row.request).steps.len() - 1;
        while let Some(at) = cursor {
            let devices;
            (devices, cursor) = self.joined_since(&terms::target(row), &row.request, at).await?;
            if !devices.is_empty() {
                joined += self.look_for(row, &devices, Some(last)).await?;
            }
        }
        Ok(joined)
    }

    /// Changes it, unless it does not run any more or somebody else has changed its step.
    pub(super) async fn advance(
        &self,
        row: &RolloutRow,
        change: impl FnOnce(&mut RolloutRow),
    ) -> Result<(), Error> {
        let write = self.0.db.write(&Actor::SERVER).await?;
        let Some(mut now) = write.lock_rollout(row.id).await? else { return Ok(()) };
        if now.state == row.state && now.step == row.step {
            change(&mut now);
            write.save_rollout(&now).await?;
        }
        write.commit().await?;
        self.0.events.rollout(row.id);
        Ok(())
    }

    /// Ends it before its time.
    pub(super) async fn stop(
        &self,
        row: &RolloutRow,
        state: &'static str,
        cause: Cause,
    ) -> Result<(), Error> {
        let failures = rollout_device::failures(&self.0.db, row.id, FAILURES_MAX).await?;
        let cause = if state == "halted" { cause.with("evidence", evidence::of(failures)) } else { cause };
        let mut write = self.0.db.write(&Actor::SERVER).await?;
        let Some(mut now) = write.lock_rollout(row.id).await? else { return Ok(()) };
        if !matches!(now.state.as_str(), "running" | "paused") {
            return Ok(());
        }
        let before = now.state.clone();
        end(&mut now, state, Some(cause.clone()));
        write.save_rollout(&now).await?;
        let mut after = of(&now.product, state);
        after["cause"] = json!(cause.code);
        write.audit(Action::ROLLOUT_HALT, &row.id, json!({ "state": before }), after);
        write.commit().await?;
        let (product, version) = (&row.product.0, &row.version.0);
        tracing::info!(rollout = row.id, %product, %version, "the rollout was {state}: {cause}");
        self.0.events.rollout(row.id);
        Ok(())
    }

    /// Who waits is not offered it any more.
    pub(super) async fn cancel_waiting(&self, row: &RolloutRow, cause: &Cause) -> Result<(), Error> {
        let write = self.0.db.write(&Actor::SERVER).await?;
        write.cancel_waiting(row.id, cause).await?;
        write.commit().await?;
        // Those who put it off wait too.
        self.withdraw(row).await?;
        self.0.events.rollout(row.id);
        Ok(())
    }

    /// Every step has ended well: promotes it, unless somebody has joined meanwhile.
    pub(super) async fn finish(&self, row: &RolloutRow) -> Result<(), Error> {
        if self.join(row).await? > 0 {
            return Ok(());
        }
        let mut cause = None;
        if row.request.promote.unwrap_or(true) {
            // Killed after this, it is promoted once more, which changes nothing.
            let (product, channel) = (&row.product.0, ChannelName::production());
            let promoted = match self.higher_in_production(row).await? {
                Some(higher) => Err(Error::Refused(causes::HIGHER_IN_PRODUCTION.naming("version", higher))),
                None => self.0.releases.promote(&Actor::SERVER, product, &row.version.0, &channel).await,
            };
            match promoted {
                Ok(_) => {}
                Err(Error::Refused(why) | Error::Invalid(why) | Error::NotFound(why)) => {
                    cause = Some(causes::NOT_PROMOTED.naming("why", why));
                }
                Err(error) => return Err(error),
            }
        }
        let mut write = self.0.db.write(&Actor::SERVER).await?;
        let Some(mut now) = write.lock_rollout(row.id).await? else { return Ok(()) };
        if now.state == "running" {
            end(&mut now, "done", cause);
            write.save_rollout(&now).await?;
            write.audit(
                Action::ROLLOUT_DONE,
                &row.id,
                json!({ "state": "running" }),
                of(&now.product, "done"),
            );
            write.commit().await?;
            self.0.events.rollout(row.id);
        }
        Ok(())
    }

    /// What somebody has promoted meanwhile that is higher and is not blocked: it stays.
    async fn higher_in_production(&self, row: &RolloutRow) -> Result<Option<Version>, Error> {
        let store = self.0.releases.store();
        let Some(production) = store.channel(&row.product, &ChannelName::production()).await? else {
            return Ok(None);
        };
        let Blocked::List(blocked) = store.blocked(&row.product).await? else { return Ok(Some(production)) };
        Ok(Some(production).filter(|there| row.version.is_below(there) && !blocked.contains_key(there)))
    }

    /// There is nothing more to do for it.
    pub(super) async fn close(&self, row: &RolloutRow) -> Result<(), Error> {
        self.advance(row, |row| row.is_open = false).await
    }

    /// Of one that was halted or aborted: withdraws what was not sent, and blocks the version of one that was halted.
    pub(super) async fn wind_up(&self, row: &RolloutRow) -> Result<(), Error> {
        self.withdraw(row).await?;
        let cause = row.cause.as_ref().map(|cause| cause.0.clone());
        let is_blocked = cause.as_ref().is_some_and(|cause| cause.is(causes::BLOCKED));
        if row.state == "halted" && !is_blocked && row.request.block_on_halt.unwrap_or(true) {
            let why = cause.map(|cause| cause.sentence()).unwrap_or_default();
            let mut reason = format!("Rollout {} was halted: {why}", row.id);
            reason.truncate(reason.floor_char_boundary(REASON_MAX_BYTES));
            // Killed after this, it is blocked once more, for the same reason.
            self.0.releases.block(&Actor::SERVER, &row.product, &row.version, &reason).await?;
            self.advance(row, |row| row.is_blocked = true).await?;
        }
        self.close(row).await
    }

    async fn withdraw(&self, row: &RolloutRow) -> Result<(), Error> {
        loop {
            let ids = rollout_device::unsent(&self.0.db, row.id, BATCH as u64).await?;
            let unsent = update::by_ids(&self.0.db, &ids).await?;
            let write = self.0.db.write(&Actor::SERVER).await?;
            let mut locked = write.lock_updates(unsent.iter()).await?;
            locked.retain(|(_, update)| match *update.state {
                UpdateState::Offered => update.triggered_at.is_none(),
                state => state == UpdateState::Deferred,
            });
            if locked.is_empty() {
                return Ok(());
            }
            for (_, update) in &mut locked {
                let why =
                    cause::update::ROLLOUT_ENDED.naming("rollout", row.id).with("state", row.state.as_str());
                let change = Change { state: UpdateState::Cancelled, why: Some(Why::Cause(why)) };
                record(update, "cancel", change, now_ms());
            }
            write.save(locked.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
            write.commit().await?;
            for (_, update) in &locked {
                self.0.events.device(&update.device);
            }
        }
    }
}
