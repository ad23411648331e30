//! The one task that sends triggers: up to 500 at a time, those of each product on their own, with one look at the store,
//! everything on its way to the broker at once, and one commit for what was sent. Killed anywhere, a trigger may be sent twice,
//! which a device must take, and is never lost: that it waits stands in the device's row until the commit.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use cause::{Cause, update as ends};
use contract::{ChannelName, Control, DEFERRED_MAX_S, DeviceId, ProductName, TopicKind};
use fleet::{Action, Change, ChannelView, Snapshot, StoreView, Subject, UpdateState, Why, plan};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::questions::blocked_list;
use super::retries::Retries;
use super::service::{BATCH, URL_REQUESTS_MAX, Updates, flight_of, write as record};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::device::{self, DeviceRow};
use crate::db::image;
use crate::db::update::{self, UpdateRow};
use crate::db::waiting::{self, Waiting};
use crate::devices::Subscription;
use crate::mqtt::{LinkState, NOT_AUTHORIZED, NotPublished};
use crate::releases::STORE_TIMEOUT;
use crate::tasks::Working;

/// How far a sweep has come.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// First those who are sent it despite silence, then those who are online.
    is_forced: bool,
    above: String,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { is_forced: true, above: String::new() }
    }
}

/// An update, and what was done for it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) update: UpdateRow,
    pub(crate) what: Action,
    pub(crate) sent_to: Subscription,
    /// Why the broker refused the trigger, where it did.
    pub(crate) refused: Option<Cause>,
}

/// What the sender knows from one batch to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    retries: Retries,
    /// What was done and could not be written. Before it is, nothing more is sent: else it would be sent over and over.
    unwritten: Vec<Done>,
}

impl Updates {
    /// Sends what is pushed and what waits, while the broker answers, until `stop` is cancelled.
    pub(crate) async fn send(self, stop: CancellationToken, working: Working) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.send_forever(&working) => {}
        }
    }

    async fn send_forever(&self, working: &Working) {
        let (mut link, mut memory) = (self.0.link.clone(), Memory::default());
        let begin = || (Instant::now(), Some(Cursor::default()));
        let (mut swept, mut cursor) = begin();
        loop {
            if *link.borrow_and_update() != LinkState::Up {
                if link.changed().await.is_err() {
                    return;
                }
                (swept, cursor) = begin();
                continue;
            }
            tokio::select! {
                biased;
                Ok(()) = link.changed() => {}
                updates = self.0.queue.next(BATCH) => {
                    let sent = working.on(self.send_batch(&updates, &mut memory)).await;
                    // What was sent and could not be noted is still open: what its device says is of it.
                    let is_noted = |id: &i64| memory.unwritten.iter().all(|done| done.update.id != *id);
                    self.0.queue.finish(updates.into_iter().filter(is_noted));
                    if self.0.queue.has_missed() {
                        (swept, cursor) = begin();
                    }
                    memory.retries.note(None, &sent.map(|()| true), Instant::now());
                }
                // A page at a time, so that what is pushed finds room and is sent first.
                () = std::future::ready(()), if cursor.is_some() => {
                    let at = cursor.take().unwrap_or_default();
                    match working.on(self.sweep(at)).await {
                        Ok(next) => cursor = next,
                        Err(error) => memory.retries.note(None, &Err(error), Instant::now()),
                    }
                }
                () = sleep_until(memory.retries.sweep_at(swept)) => (swept, cursor) = begin(),
            }
        }
    }

    /// Pushes the updates of the next ones who are there and wait. Answers where it goes on.
    pub(crate) async fn sweep(&self, at: Cursor) -> anyhow::Result<Option<Cursor>> {
        let which = if at.is_forced { Waiting::Forced } else { Waiting::Online(self.0.db.epoch()) };
        let page = waiting::page(&self.0.db, which, &at.above, BATCH as u64).await?;
        let presence = self.0.devices.presence();
        let reached = page.iter().filter(|(device, _)| presence.reach(device, true, at.is_forced).is_some());
        self.0.queue.push(reached.filter_map(|(_, update)| *update));
        Ok(match page.last() {
            Some((last, _)) if page.len() == BATCH => Some(Cursor { above: last.to_string(), ..at }),
            _ if at.is_forced => Some(Cursor { is_forced: false, above: String::new() }),
            _ => None,
        })
    }

    /// Pushes the updates of those of these devices that wait and can be reached.
    pub(super) fn push<'a>(&self, devices: impl Iterator<Item = &'a DeviceRow>) {
        let presence = self.0.devices.presence();
        let waits = |device: &&DeviceRow| {
            let reach = || presence.reach(&device.id, presence.is_online(device), device.waiting == 2);
            device.waiting > 0 && reach().is_some()
        };
        self.0.queue.push(devices.filter(waits).filter_map(|device| device.update_id));
    }

    /// Pushes the updates of those who have just subscribed.
    pub(crate) async fn wake_subscribed(&self) -> anyhow::Result<()> {
        let devices: Vec<DeviceId> = self.0.devices.presence().take_subscribed().into_iter().collect();
        for (n, batch) in devices.chunks(BATCH).enumerate() {
            if let Err(error) = self.wake(batch).await {
                self.0.devices.presence().retake(devices[n * BATCH..].iter().cloned());
                return Err(error);
            }
        }
        Ok(())
    }

    /// A trigger that was sent to an earlier subscription and of which nothing came may have been lost with its connection, and is
    /// sent again, as if the device had asked for it.
    async fn wake(&self, devices: &[DeviceId]) -> anyhow::Result<()> {
        let presence = self.0.devices.presence();
        let is_new = |device: &DeviceId| {
            presence.reach(device, true, false).is_some_and(|subscription| !subscription.is_triggered)
        };
        let untriggered: Vec<DeviceId> = devices.iter().filter(|device| is_new(device)).cloned().collect();
        let offered = update::offered(&self.0.db, &untriggered).await?;
        if !offered.is_empty() {
            let write = self.0.db.write(&Actor::SERVER).await?;
            let mut locked = write.lock_updates(offered.iter()).await?;
            for (device, update) in &mut locked {
                let is_lost = update.state.0 == UpdateState::Offered && update.triggered_at.is_some();
                if is_lost && update.url_requests < URL_REQUESTS_MAX && is_new(&device.id) {
                    update.url_requests += 1;
                    update.triggered_at = None;
                }
            }
            write.save(locked.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
            write.commit().await?;
        }
        self.0.queue.push(waiting::updates_of(&self.0.db, devices).await?);
        Ok(())
    }
}

impl Updates {
    /// Sends those of these that are still to be sent and reach their devices; each product for itself.
    pub(crate) async fn send_batch(&self, ids: &[i64], memory: &mut Memory) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.note_done(&memory.unwritten).await?;
        self.0.queue.finish(memory.unwritten.drain(..).map(|done| done.update.id));
        let mut products = BTreeMap::<ProductName, Vec<UpdateRow>>::new();
        for update in update::by_ids(&self.0.db, ids).await? {
            if update.waiting() > 0 && !memory.retries.is_left_out(&update.product, begun) {
                products.entry(update.product.0.clone()).or_default().push(update);
            }
        }
        let parts = products.into_iter().map(async |(product, updates)| {
            let ids: Vec<i64> = updates.iter().map(|update| update.id).collect();
            let mut done = Vec::new();
            let sent = self.send_product(&product, updates, &mut done).await;
            let is_noted = |id: &i64| done.iter().all(|done: &Done| done.update.id != *id);
            self.0.queue.finish(ids.into_iter().filter(is_noted));
            (product, sent, done)
        });
        for (product, sent, unwritten) in join_all(parts).await {
            if let Err(error) = &sent {
                tracing::warn!(%product, "triggers were not sent, and will be sent again: {error:#}");
            }
            if let Some(sent) = sent.transpose() {
                memory.retries.note(Some(product), &sent, Instant::now());
            }
            memory.unwritten.extend(unwritten);
        }
        Ok(())
    }

    /// Answers whether all were sent that can be; `None` if none can, and the store was not asked. `done` is left with what was done and could not be written.
    async fn send_product(
        &self,
        product: &ProductName,
        updates: Vec<UpdateRow>,
        done: &mut Vec<Done>,
    ) -> anyhow::Result<Option<bool>> {
        let ids: Vec<DeviceId> = updates.iter().map(|update| update.device.0.clone()).collect();
        let mut updates: HashMap<DeviceId, UpdateRow> = ids.iter().cloned().zip(updates).collect();
        let (mut snapshot, mut reached) = (Snapshot::default(), HashMap::new());
        let presence = self.0.devices.presence();
        let devices = device::by_ids(&self.0.db, &ids).await?;
        for device in &devices {
            let Some(update) = updates.remove(&device.id.0) else { continue };
            let is_online = presence.is_online(device);
            let Some(sent_to) = presence.reach(&device.id, is_online, update.forced) else { continue };
            let (product, flight) = (Some(product.clone()), Some(flight_of(&update)));
            snapshot.devices.insert(device.id.0.clone(), Subject { product, flight, asks: None });
            reached.insert(update.id, (update, sent_to));
        }
        if reached.is_empty() {
            return Ok(None);
        }
        let store = self.blocked(product).await?;
        let mut outdated = match &store {
            StoreView::Channel(view) => {
                self.outdated(reached.values().map(|(update, _)| update), &devices, view).await?
            }
            _ => BTreeMap::new(),
        };
        snapshot.stores.insert(product.clone(), store);
        let mut publishes = Vec::new();
        for what in plan(&snapshot, 0) {
            let (Action::Send { update: id }
            | Action::Withhold { update: id }
            | Action::End { update: id, .. }) = what
            else {
                continue;
            };
            let Some((update, sent_to)) = reached.remove(&id) else { continue };
            let what = match outdated.remove(&id) {
                Some(why) => {
                    let change = Change { state: UpdateState::Cancelled, why: Some(Why::Cause(why)) };
                    Action::End { update: id, change }
                }
                None => what,
            };
            let one = Done { update, what, sent_to, refused: None };
            if matches!(one.what, Action::Send { .. }) {
                publishes.push(self.publish(one));
            } else {
                done.push(one);
            }
        }
        let mut failures = Vec::new();
        for result in join_all(publishes).await {
            match result {
                Ok(one) => {
                    failures.extend(one.refused.as_ref().map(|why| anyhow::anyhow!("{why}")));
                    done.push(one);
                }
                Err(error) => failures.push(error),
            }
        }
        // Killed here, they are sent twice.
        self.note_done(done).await?;
        done.clear();
        if let Some(first) = failures.first() {
            let count = failures.len();
            tracing::warn!(count, "triggers were not sent, and will be sent again: {first:#}");
        }
        Ok(Some(failures.is_empty()))
    }

    /// What is blocked of a product.
    async fn blocked(&self, product: &ProductName) -> anyhow::Result<StoreView> {
        let answer = timeout(STORE_TIMEOUT, self.0.releases.store().blocked(product)).await;
        let blocked = blocked_list(answer.context("the store did not answer in time")??);
        let blocked_images = image::blocked(&self.0.db).await?;
        let (channel, releases) = (ChannelName::production(), Vec::new());
        Ok(StoreView::Channel(ChannelView { channel, target: None, blocked, blocked_images, releases }))
    }

    /// Signs the URL and sends it. Returns once the broker has acknowledged it, or has refused it.
    async fn publish(&self, mut done: Done) -> anyhow::Result<Done> {
        let url = self.0.urls.of(&done.update).await?;
        let (device, lifetime) = (&done.update.device, Some(self.0.urls.lifetime()));
        if done.update.forced {
            let word = Control::Force.as_str().as_bytes();
            match self.0.publisher.publish(TopicKind::Control, device, word, lifetime).await {
                // The trigger may be allowed.
                Ok(()) | Err(NotPublished::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.0.queue.note_published(done.update.id);
        let sent = self.0.publisher.publish(TopicKind::Trigger, device, url.as_bytes(), lifetime).await;
        match sent {
            Err(NotPublished::Refused(answer)) => {
                let topic = self.0.publisher.topic(TopicKind::Trigger, device);
                let topic = (answer == NOT_AUTHORIZED).then_some(topic);
                done.refused = Some(ends::TRIGGER_REFUSED.with("answer", answer).with("topic", topic));
            }
            sent => sent?,
        }
        Ok(done)
    }

    /// Writes what was done, in one transaction. The time-out counts from the sending. An update that ended meanwhile stays as it
    /// is. Still to be sent is one whose device asked for a fresh URL since it was read, and one whose device has another
    /// subscription than it was sent to, or none.
    pub(crate) async fn note_done(&self, done: &[Done]) -> anyhow::Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let before: HashMap<i64, &Done> = done.iter().map(|done| (done.update.id, done)).collect();
        let write = self.0.db.write(&Actor::SERVER).await?;
        let mut locked = write.lock_updates(done.iter().map(|done| &done.update)).await?;
        let now = now_ms();
        let mut noted = Vec::with_capacity(locked.len());
        for (device, update) in &mut locked {
            let Some(Done { update: then, what, sent_to, refused }) = before.get(&update.id) else {
                continue;
            };
            if !update.state.is_in_flight() || update.url_requests != then.url_requests {
                continue;
            }
            if let Some(refused) = refused {
                if update.cause.as_deref() != Some(refused) {
                    update.set_why(Some(Why::Cause(refused.clone())));
                    update.note("refused", now);
                    noted.push((then, "the broker refuses the trigger"));
                }
                continue;
            }
            let sentence = match what {
                Action::Send { .. } if !self.0.devices.presence().note_trigger(&device.id, *sent_to) => {
                    continue;
                }
                Action::Send { .. } => {
                    let report = device.report.as_ref();
                    let sleeps_s = report.and_then(|report| report.sleeps_s).unwrap_or(0).min(DEFERRED_MAX_S);
                    // One that may sleep is not silent before it has woken.
                    (update.triggered_at, update.heard_at) = (Some(now), now + i64::from(sleeps_s) * 1000);
                    let timeout_ms = i64::from(self.0.update_timeout_s) * 1000;
                    update.expires_at = (sleeps_s > 0).then_some(update.heard_at + timeout_ms);
                    // It may have been refused before.
                    if *update.state == UpdateState::Offered {
                        update.set_why(None);
                    }
                    update.note("sent", now);
                    "the trigger was sent"
                }
                Action::End { change, .. } if update.state == then.state => {
                    record(update, "withdrawn", change.clone(), now);
                    "no URL was signed: it is not to be offered any more"
                }
                // It goes on by now, so that it is looked at once more.
                Action::End { .. } => continue,
                _ => {
                    update.triggered_at = Some(now);
                    update.note("blocked", now);
                    "no URL was signed: the version is blocked"
                }
            };
            noted.push((then, sentence));
        }
        write.save(locked.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
        write.commit().await?;
        let presence = self.0.devices.presence();
        let is_lost = |one: &&Done| {
            matches!(one.what, Action::Send { .. }) && !presence.is_present(&one.update.device, one.sent_to)
        };
        // Who subscribed while this was committed was not found waiting.
        presence.retake(done.iter().filter(is_lost).map(|one| one.update.device.0.clone()));
        for (update, sentence) in noted {
            let version = &update.to_version.0;
            tracing::info!(device = %*update.device, update = update.id, %version, "{sentence}");
            self.0.events.device(&update.device);
        }
        Ok(())
    }
}
