//! The one task that sends triggers: up to 500 at a time, with one look at the store for each product, everything on its way to
//! the broker at once, and one commit for what was sent. Killed anywhere, a trigger may be sent twice, which a device must take,
//! and is never lost: that it waits stands in the device's row until the commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context;
use contract::{ChannelName, DeviceId, ProductName, TopicKind};
use fleet::{Action, ChannelView, Snapshot, StoreView, Subject, Trigger, plan};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::questions::blocked_list;
use super::service::{BATCH, Updates, flight_of, write as record};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::device::{self, DeviceRow};
use crate::db::update::{self, UpdateRow};
use crate::db::waiting::{self, Waiting};
use crate::mqtt::LinkState;
use crate::releases::STORE_TIMEOUT;

/// How often it is looked for devices that are there and wait: of those that were missed.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// After something could not be sent it is looked sooner, after twice the time each time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An update to be written, and what was done for it.
type Done<'a> = (&'a UpdateRow, Action);

impl Updates {
    /// Sends what is pushed and what waits, while the broker answers, until `stop` is cancelled.
    pub(crate) async fn send(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.send_forever() => {}
        }
    }

    async fn send_forever(&self) {
        let mut link = self.0.link.clone();
        let (mut pause, mut sweep_at) = (AGAIN_AFTER, Instant::now());
        loop {
            if *link.borrow_and_update() != LinkState::Up {
                if link.changed().await.is_err() {
                    return;
                }
                sweep_at = Instant::now();
                continue;
            }
            let sent = tokio::select! {
                Ok(()) = link.changed() => continue,
                updates = self.0.queue.next(BATCH) => {
                    let sent = self.send_batch(&updates).await;
                    if self.0.queue.finish() {
                        sweep_at = Instant::now();
                    }
                    sent
                }
                () = sleep_until(sweep_at) => {
                    sweep_at = Instant::now() + SWEEP_EVERY;
                    self.sweep().await.map(|()| true)
                }
            };
            if let Err(error) = &sent {
                tracing::warn!("triggers were not sent, and will be sent again: {error:#}");
            }
            if sent.is_ok_and(|all| all) {
                pause = AGAIN_AFTER;
            } else {
                sweep_at = sweep_at.min(Instant::now() + pause);
                pause = (pause * 2).min(SWEEP_EVERY);
            }
        }
    }

    /// Pushes the updates of those who are there and wait.
    pub(crate) async fn sweep(&self) -> anyhow::Result<()> {
        for which in [Waiting::Forced, Waiting::Online(self.0.db.epoch())] {
            let mut above = String::new();
            loop {
                let devices = waiting::page(&self.0.db, which, &above, BATCH as u64).await?;
                self.push(devices.iter());
                match devices.last() {
                    Some(last) if devices.len() == BATCH => last.id.as_str().clone_into(&mut above),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Pushes the updates of those of these devices that wait and can be reached.
    pub(super) fn push<'a>(&self, devices: impl Iterator<Item = &'a DeviceRow>) {
        let presence = self.0.devices.presence();
        let waits = |device: &&DeviceRow| match device.waiting {
            0 => false,
            1 => presence.is_subscribed(device),
            _ => true,
        };
        self.0.queue.push(devices.filter(waits).filter_map(|device| device.update_id));
    }

    /// Pushes the updates of those who have just subscribed.
    pub(crate) async fn wake_subscribed(&self) -> anyhow::Result<()> {
        let devices: Vec<DeviceId> = self.0.devices.presence().take_subscribed().into_iter().collect();
        self.0.queue.push(waiting::updates_of(&self.0.db, &devices).await?);
        Ok(())
    }
}

impl Updates {
    /// Sends those of these that are still to be sent and reach their devices. Answers whether all of them were sent.
    pub(crate) async fn send_batch(&self, ids: &[i64]) -> anyhow::Result<bool> {
        let updates: HashMap<i64, UpdateRow> =
            update::by_ids(&self.0.db, ids).await?.into_iter().map(|update| (update.id, update)).collect();
        let snapshot = self.waiting(updates.values()).await?;
        let mut done = Vec::with_capacity(updates.len());
        let mut to_send = Vec::new();
        let actions = plan(&snapshot, 0);
        let reachable = snapshot.devices.values().filter(|subject| is_reachable(subject)).count();
        let is_complete = actions.len() == reachable;
        for action in actions {
            match action {
                Action::Send { update } => to_send.extend(updates.get(&update)),
                Action::Withhold { update } | Action::End { update, .. } => {
                    done.extend(updates.get(&update).map(|row| (row, action)));
                }
                Action::Offer { .. } | Action::Answer { .. } => {}
            }
        }
        let sent = self.publish(&to_send).await;
        let is_complete = is_complete && sent.len() == to_send.len();
        done.extend(sent.into_iter().map(|row| (row, Action::Send { update: row.id })));
        // Killed here, they are sent twice.
        self.note_done(&done).await?;
        Ok(is_complete)
    }

    /// The updates that wait, with the blocked lists of their products, as far as the store answers.
    async fn waiting(&self, updates: impl Iterator<Item = &UpdateRow>) -> anyhow::Result<Snapshot> {
        let updates: HashMap<&DeviceId, &UpdateRow> =
            updates.filter(|update| update.waiting() > 0).map(|update| (&update.device.0, update)).collect();
        let ids: Vec<DeviceId> = updates.keys().copied().cloned().collect();
        let mut snapshot = Snapshot::default();
        for device in device::by_ids(&self.0.db, &ids).await? {
            let Some(update) = updates.get(&device.id.0) else { continue };
            let is_there = update.forced || self.0.devices.presence().is_subscribed(&device);
            let trigger = if is_there {
                Trigger::Waits { again: update.url_requests > 0 }
            } else {
                Trigger::Unreachable
            };
            let (product, flight) = (Some(update.product.0.clone()), Some(flight_of(update, trigger)));
            let subject = Subject { product, flight, asks: None };
            snapshot.devices.insert(device.id.0, subject);
        }
        let reachable = snapshot.devices.values().filter(|subject| is_reachable(subject));
        let products: BTreeSet<_> = reachable.filter_map(|subject| subject.product.clone()).collect();
        let looks = products.into_iter().map(async |product| self.blocked(&product).await.zip(Some(product)));
        snapshot.stores =
            join_all(looks).await.into_iter().flatten().map(|(view, product)| (product, view)).collect();
        Ok(snapshot)
    }

    /// What is blocked of a product; `None` if the store does not say.
    async fn blocked(&self, product: &ProductName) -> Option<StoreView> {
        let read = async {
            let answer = timeout(STORE_TIMEOUT, self.0.releases.store().blocked(product)).await;
            anyhow::Ok(answer.context("the store did not answer in time")??)
        };
        let blocked = read.await.inspect_err(|error| {
            tracing::warn!(%product, "triggers wait for the blocked list: {error:#}");
        });
        let blocked = blocked_list(blocked.ok()?);
        let (channel, releases) = (ChannelName::production(), Vec::new());
        Some(StoreView::Channel(ChannelView { channel, target: None, blocked, releases }))
    }

    /// Signs the URLs and sends them, all at once. Answers which of them the broker has acknowledged.
    async fn publish<'a>(&self, updates: &[&'a UpdateRow]) -> Vec<&'a UpdateRow> {
        let lifetime = Some(self.0.urls.lifetime());
        let publish = async |update: &'a UpdateRow| -> anyhow::Result<&'a UpdateRow> {
            let url = self.0.urls.of(update).await?;
            let publisher = &self.0.publisher;
            publisher.publish(TopicKind::Trigger, &update.device, url.as_bytes(), lifetime).await?;
            Ok(update)
        };
        let results = join_all(updates.iter().map(|update| publish(update))).await;
        let (mut sent, mut failures) = (Vec::with_capacity(results.len()), Vec::new());
        for result in results {
            match result {
                Ok(update) => sent.push(update),
                Err(error) => failures.push(error),
            }
        }
        if let Some(first) = failures.first() {
            tracing::warn!(
                count = failures.len(),
                "triggers were not sent, and will be sent again: {first:#}"
            );
        }
        sent
    }

    /// Writes what was done, in one transaction. The time-out counts from the sending. An update that ended meanwhile stays as it
    /// is, and so does one whose device asked for a fresh URL since it was read: that one is still to be sent.
    pub(crate) async fn note_done(&self, done: &[Done<'_>]) -> anyhow::Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let before: BTreeMap<i64, &Done<'_>> = done.iter().map(|done| (done.0.id, done)).collect();
        let write = self.0.db.write(&Actor::SERVER).await?;
        let mut locked = write.lock_updates(done.iter().map(|(update, _)| *update)).await?;
        let now = now_ms();
        for (_, update) in &mut locked {
            let Some((then, action)) = before.get(&update.id) else { continue };
            if !update.state.is_in_flight() || update.url_requests != then.url_requests {
                continue;
            }
            match action {
                Action::Send { .. } => {
                    (update.triggered_at, update.heard_at) = (Some(now), now);
                    update.note("sent", now);
                }
                Action::End { change, .. } if update.state == then.state => {
                    record(update, "blocked", change.clone(), now);
                }
                // It goes on by now, so that it is looked at once more.
                Action::End { .. } => {}
                _ => {
                    update.triggered_at = Some(now);
                    update.note("blocked", now);
                }
            }
        }
        write.save(locked.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
        write.commit().await?;
        for (update, action) in done {
            let (version, is_sent) = (&update.to_version.0, matches!(action, Action::Send { .. }));
            let what =
                if is_sent { "the trigger was sent" } else { "no URL was signed: the version is blocked" };
            tracing::info!(device = %*update.device, update = update.id, %version, "{what}");
            self.0.events.device(&update.device);
        }
        Ok(())
    }
}

fn is_reachable(subject: &Subject) -> bool {
    subject.flight.as_ref().is_some_and(|flight| matches!(flight.trigger, Trigger::Waits { .. }))
}
