//! Updates that wait: kept for a device that is not there, or put off by it.

use std::collections::{BTreeMap, HashMap};

use cause::{Cause, update as ends};
use contract::{DEFERRED_MAX_S, DeviceId};
use fleet::{
    Artifact, Change, ChannelView, Decision, Delivery, Event, Reach, StoreView, UpdateState, Why, decide,
};

use super::check::How;
use super::service::{BATCH, Updates, advance, write as record};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::device::{self, DeviceRow};
use crate::db::silent;
use crate::db::update::{self, UpdateRow};
use crate::error::Error;

/// Devices that asked to be left alone, and have been, are sent the trigger again: when they come, up to the end of the seven days.
pub(super) async fn ask_again(updates: &Updates, now: i64) -> anyhow::Result<()> {
    loop {
        let due = silent::deferred_until(&updates.0.db, now, BATCH as u64).await?;
        if due.is_empty() {
            return Ok(());
        }
        let write = updates.0.db.write(&Actor::SERVER).await?;
        let mut due = write.lock_updates(due.iter()).await?;
        for (_, update) in &mut due {
            let is_due = update.deferred_until.is_some_and(|until| until <= now);
            // Whether it may be offered it now is its rollout's to say.
            if is_due && update.rollout.is_some() {
                let change =
                    Change { state: UpdateState::Cancelled, why: Some(Why::Cause(ends::PUT_OFF.cause())) };
                record(update, "asked_again", change, now);
            } else if is_due && advance(update, &[], Delivery::Fetched, None, &Event::AskAgain, None, now) {
                let timeout_ms = i64::from(updates.0.update_timeout_s) * 1000;
                let last = update.deferred_since.unwrap_or(now) + i64::from(DEFERRED_MAX_S) * 1000;
                let expires_at = last.max(now + timeout_ms);
                (update.expires_at, update.heard_at) = (Some(expires_at), expires_at - timeout_ms);
                (update.triggered_at, update.deferred_until) = (None, None);
            }
        }
        write.save(due.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
        write.commit().await?;
        updates.push(due.iter().map(|(device, _)| &**device));
        for (device, _) in &due {
            updates.0.events.device(&device.id);
        }
    }
}

impl Updates {
    /// Devices that put an update off are sent its trigger now, and told that it is not to be put off.
    pub(super) async fn force_deferred(&self, by: &Actor, ids: &[DeviceId]) -> Result<(), Error> {
        let newest: Vec<i64> =
            device::by_ids(&self.0.db, ids).await?.iter().filter_map(|device| device.update_id).collect();
        let mut deferred = update::by_ids(&self.0.db, &newest).await?;
        deferred.retain(|update| *update.state == UpdateState::Deferred);
        if deferred.is_empty() {
            return Ok(());
        }
        let write = self.0.db.write(by).await?;
        let mut locked = write.lock_updates(deferred.iter()).await?;
        for (_, update) in &mut locked {
            if advance(update, &[], Delivery::Fetched, None, &Event::AskAgain, None, now_ms()) {
                (update.forced, update.triggered_at, update.deferred_until) = (true, None, None);
            }
        }
        write.save(locked.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
        write.commit().await?;
        self.push(locked.iter().map(|(device, _)| &**device));
        Ok(())
    }

    /// Of updates that waited for longer: why each must not be sent any more, as far as that is known without the store: the device may
    /// run something else by now, or be pinned.
    pub(super) async fn outdated(
        &self,
        updates: impl Iterator<Item = &UpdateRow>,
        devices: &[DeviceRow],
        view: &ChannelView,
    ) -> Result<BTreeMap<i64, Cause>, Error> {
        let has_waited = |update: &&UpdateRow| update.expires_at.is_some() || update.deferred_since.is_some();
        let waited: HashMap<_, _> =
            updates.filter(has_waited).map(|update| (update.device.0.clone(), update)).collect();
        if waited.is_empty() {
            return Ok(BTreeMap::new());
        }
        let waiting = devices.iter().filter(|device| waited.contains_key(&device.id.0));
        let (subjects, _) = self.subjects(&self.0.db, waiting, How::default()).await?;
        let mut outdated = BTreeMap::new();
        for (id, subject) in subjects {
            let (Some(update), Some(mut asks)) = (waited.get(&id), subject.asks) else { continue };
            (asks.in_progress, asks.reach) = (None, Reach::Online);
            let artifact = Artifact {
                version: update.to_version.0.clone(),
                key: update.object_key.clone(),
                size: update.bytes.unsigned_abs(),
                sha256: update.sha256.map(|sha256| sha256.0),
                chip: None,
                chip_revisions: None,
                requires: None,
            };
            let view = ChannelView { target: Some(artifact), ..view.clone() };
            let is_its = subject.product.as_ref() == Some(&update.product.0);
            let decision = decide(&asks, &StoreView::Channel(view));
            if !is_its || !matches!(decision, Decision::Offered(_)) {
                let why = decision.cause().sentence();
                outdated.insert(
                    update.id,
                    ends::NO_LONGER_OFFERED.naming("version", &update.to_version.0).with("why", why),
                );
            }
        }
        Ok(outdated)
    }
}
