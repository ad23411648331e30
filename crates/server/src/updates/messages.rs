//! Messages from devices, a batch at a time: it is applied in memory and written in one transaction. What follows from it
//! is done after the commit, and done again by the tick if the process dies in between.

mod apply;
mod handler;
mod read;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apply::Subject;
use cause::admission as causes;
use contract::{DeviceId, Presence, TopicKind};
use read::{excerpt, read_report};
use sea_orm::DbErr;

use crate::actor::Actor;
use crate::clock::now_ms;
use crate::config::{Admit, Config};
use crate::db::device::{self, DeviceRow};
use crate::db::image;
use crate::db::presence::KnownPresence;
use crate::db::{Db, Locked, Write, device_list};
use crate::devices::{Attempt, NotAdmitted};
use crate::events::Events;
use crate::mqtt::Message;
use crate::releases::Releases;
use crate::updates::service::Updates;
use crate::updates::sketch::Sketch;

/// Messages from devices. Clones are the same service.
#[derive(Clone)]
pub(crate) struct Messages(Arc<Inner>);

struct Inner {
    db: Db,
    events: Events,
    updates: Updates,
    releases: Releases,
    unknown: UnknownDevices,
    /// Maximum number of known devices up to which a report makes one known; 0 where none does.
    room_max: u64,
    /// How much of that is left, and until when it is not counted again.
    room: Mutex<(u64, Option<Instant>)>,
    /// On an external broker, what a device says makes it online.
    is_external: bool,
    taken: AtomicU64,
}

impl Messages {
    pub(crate) fn new(config: &Config, db: Db, events: Events, updates: Updates, releases: Releases) -> Self {
        let is_closed = config.embedded_broker() || config.fleet.admit == Admit::Registered;
        let room_max = if is_closed { 0 } else { config.fleet.max_devices.into() };
        let (unknown, taken) = (UnknownDevices::default(), AtomicU64::new(0));
        let (room, is_external) = (Mutex::default(), !config.embedded_broker());
        Self(Arc::new(Inner { db, events, updates, releases, unknown, room_max, room, is_external, taken }))
    }

    pub(crate) fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }
}

impl Messages {
    /// Returns after the commit.
    pub(crate) async fn take(&self, batch: &[Message], now: i64) -> anyhow::Result<()> {
        // At the time that `now` is, whatever is waited for from here on.
        let ages: Vec<i64> = batch.iter().map(Message::age_ms).collect();
        let write = self.0.db.write(&Actor::DEVICES).await?;
        let ids: HashSet<&DeviceId> = batch.iter().map(|message| &message.device).collect();
        let ids: Vec<DeviceId> = ids.into_iter().cloned().collect();
        let first = self.admit_reported(&write, batch, &ids, now).await?;
        let mut subjects = self.subjects(&write, &ids, now).await?;
        for id in first.keys() {
            if let Some(Subject { device, .. }) = subjects.get_mut(id) {
                device.presence = device
                    .presence
                    .or_else(|| self.0.unknown.presence(id).map(|said| KnownPresence::from(said).into()));
            }
        }
        let is_asked = subjects.values().any(|subject| subject.device.product.is_none());
        let product = if is_asked { self.0.releases.default_product(&write).await? } else { None };
        let epoch = self.0.is_external.then(|| self.0.db.epoch());
        for (index, (message, age_ms)) in batch.iter().zip(ages).enumerate() {
            // Before its report, it was not known.
            let is_known = first.get(&message.device).is_none_or(|first| *first <= index);
            if let Some(subject) = subjects.get_mut(&message.device).filter(|_| is_known) {
                subject.waited_ms = age_ms;
                subject.apply(message, product.as_ref(), epoch, now);
            }
        }
        save(&write, &mut subjects).await?;
        write.commit().await?;
        self.0.taken.fetch_add(batch.len() as u64, Ordering::Relaxed);
        for id in first.keys() {
            self.0.unknown.forget_presence(id);
        }
        self.follow_up(subjects);
        Ok(())
    }

    /// A sketch said what it runs while it fetched an image by its device's own URL. Who reports JSON says more by that.
    #[crate::boxed]
    pub(crate) async fn take_sketch(
        &self,
        device: &DeviceId,
        sketch: &Sketch,
        now: i64,
    ) -> anyhow::Result<()> {
        let write = self.0.db.write(&Actor::DEVICES).await?;
        let mut subjects = self.subjects(&write, std::slice::from_ref(device), now).await?;
        let Some(subject) = subjects.get_mut(device).filter(|subject| subject.device.report.is_none()) else {
            return Ok(());
        };
        let known = subject.device.said().map(str::to_owned);
        let Some(mut said) =
            sketch.version.clone().or(known).and_then(|text| read_report(text.as_bytes()).ok())
        else {
            return Ok(());
        };
        (said.report.sha256, said.report.slot_bytes) = (sketch.sha256, sketch.slot_bytes);
        subject.said_elsewhere(&said, now);
        save(&write, &mut subjects).await?;
        write.commit().await?;
        self.follow_up(subjects);
        Ok(())
    }

    /// Locked devices, with all that their messages are held against.
    async fn subjects(
        &self,
        write: &Write,
        ids: &[DeviceId],
        now: i64,
    ) -> anyhow::Result<HashMap<DeviceId, Subject>> {
        let mut subjects = with_updates(write, write.lock_devices(ids).await?).await?;
        self.0.updates.look_at_deliveries(&mut subjects, now);
        let targets = subjects.values().filter_map(|subject| Some(subject.update.as_ref()?.sha256?.0));
        let names = image::names(write, targets).await?;
        for subject in subjects.values_mut() {
            let target = subject.update.as_ref().and_then(|update| update.sha256);
            subject.images = target.and_then(|sha256| names.get(&sha256.0)).cloned().unwrap_or_default();
        }
        Ok(subjects)
    }

    /// Devices that nobody registered become known by their first valid report, where the fleet allows it. Answers by which
    /// message of the batch each of them did.
    async fn admit_reported(
        &self,
        write: &Write,
        batch: &[Message],
        ids: &[DeviceId],
        now: i64,
    ) -> anyhow::Result<HashMap<DeviceId, usize>> {
        let mut first = HashMap::new();
        let known = device::known(write, ids).await?;
        let unknown = || batch.iter().enumerate().filter(|(_, message)| !known.contains(&message.device));
        let asks = unknown().any(|(_, message)| message.kind == TopicKind::Version);
        let mut room = if asks { self.room(write).await? } else { 0 };
        for (index, message) in unknown() {
            if !first.contains_key(&message.device) && self.is_admitted(message, room) {
                first.insert(message.device.clone(), index);
                room -= 1;
            }
        }
        for id in first.keys() {
            self.not_admitted().forget(id.as_str());
        }
        if !first.is_empty() {
            self.room_left().0 = room;
            write.insert_devices(first.keys().cloned().collect(), now).await?;
        }
        Ok(first)
    }

    fn is_admitted(&self, message: &Message, room: u64) -> bool {
        let unknown = &self.0.unknown;
        if message.kind == TopicKind::Presence {
            unknown.note_presence(&message.device, &message.payload);
        }
        if message.payload.is_empty() {
            return false;
        }
        let is_version = message.kind == TopicKind::Version;
        let is_readable = is_version && read_report(&message.payload).is_ok();
        if room > 0 && is_readable {
            return true;
        }
        let said = (is_version && !is_readable).then(|| excerpt(&message.payload));
        let why = match self.0.room_max {
            0 => causes::NOT_REGISTERED_OUTSIDE.cause(),
            _ if said.is_some() => causes::UNREADABLE_REPORT.cause(),
            most if is_version => causes::NO_ROOM.with("most", most),
            _ if message.retained => causes::ONLY_RETAINED.cause(),
            _ => causes::NO_REPORT.cause(),
        };
        if is_version && unknown.may_log(&message.device) {
            let said = said.as_deref().unwrap_or_default();
            tracing::warn!(device = %message.device, said, "a device was not admitted: {why}");
        }
        self.not_admitted().note(message.device.as_str(), Attempt { said, ..Attempt::of(why) });
        false
    }

    fn not_admitted(&self) -> &NotAdmitted {
        self.0.updates.0.devices.presence().not_admitted()
    }

    /// How many devices may still become known by their report. Counting them all takes at most a twentieth of the time.
    async fn room(&self, write: &Write) -> anyhow::Result<u64> {
        let (left, until) = *self.room_left();
        if self.0.room_max == 0 || until.is_some_and(|until| Instant::now() < until) {
            return Ok(left);
        }
        let begun = Instant::now();
        let left = self.0.room_max.saturating_sub(device_list::count(write).await?);
        *self.room_left() = (left, Some(Instant::now() + begun.elapsed() * 20));
        Ok(left)
    }

    fn room_left(&self) -> MutexGuard<'_, (u64, Option<Instant>)> {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow_up(&self, subjects: HashMap<DeviceId, Subject>) {
        // Who waits and is there is sent its trigger.
        self.0.updates.push(subjects.values().map(|subject| &*subject.device));
        for (id, subject) in subjects {
            if let Some(unreadable) = &subject.unreadable
                && self.0.unknown.may_log(&id)
            {
                tracing::warn!(device = %id, count = subject.device.unreadable_count, "a message cannot be read: {unreadable}");
            }
            if subject.is_refused && self.0.unknown.may_log(&id) {
                tracing::info!(device = %id, "a request for a new URL was refused: nothing is in flight, or it asked too often");
            }
            let update_changed = subject.update.as_ref().is_some_and(Locked::is_changed);
            if update_changed || subject.device.is_changed() {
                self.0.events.device(&id);
            }
        }
    }
}

impl Updates {
    /// Notes whether triggers are on their way, and whether images may have been fetched. The devices are locked: what was sent before
    /// that is noted in the updates, or its update is in the queue still.
    fn look_at_deliveries(&self, subjects: &mut HashMap<DeviceId, Subject>, now: i64) {
        let newest = subjects.values().filter_map(|subject| Some(subject.update.as_ref()?.id));
        let published = self.0.queue.published(newest);
        for subject in subjects.values_mut() {
            if let Some(update) = &subject.update {
                subject.is_being_sent = published.contains(&update.id);
                subject.may_be_fetched =
                    self.0.fetched.is_possible(&update.object_key, update.created_at, now);
            }
        }
    }

    /// This server serves an image to a device.
    pub(crate) fn note_fetched(&self, key: &str) {
        self.0.fetched.note(key, now_ms());
    }
}

/// Locked devices with their newest updates.
pub(super) async fn with_updates(
    write: &Write,
    devices: Vec<Locked<DeviceRow>>,
) -> Result<HashMap<DeviceId, Subject>, DbErr> {
    let mut updates = write.newest_updates(&devices).await?;
    let with_update = |device: Locked<DeviceRow>| {
        let update = device.update_id.and_then(|id| updates.remove(&id));
        (device.id.0.clone(), Subject { update, ..Subject::new(device) })
    };
    Ok(devices.into_iter().map(with_update).collect())
}

pub(super) async fn save(write: &Write, subjects: &mut HashMap<DeviceId, Subject>) -> Result<(), DbErr> {
    write.save(subjects.values_mut().map(|subject| (&mut subject.device, subject.update.as_ref()))).await
}

/// Maximum number of devices that are remembered without being in the database.
const DEVICES_MAX: usize = 10_000;
/// How often one device's unreadable messages are logged.
const LOG_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct UnknownDevices {
    /// Presence is retained and comes once, maybe before the report that makes a device known.
    presence: Mutex<HashMap<DeviceId, Presence>>,
    logged: Mutex<HashMap<DeviceId, Instant>>,
}

impl UnknownDevices {
    pub(super) fn note_presence(&self, device: &DeviceId, payload: &[u8]) {
        let mut known = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let room = known.len() < DEVICES_MAX || known.contains_key(device);
        if let (Ok(presence), true) = (Presence::said(payload), room) {
            known.insert(device.clone(), presence);
        }
    }

    pub(super) fn presence(&self, device: &DeviceId) -> Option<Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner).get(device).copied()
    }

    /// To be called once it is in the database.
    pub(super) fn forget_presence(&self, device: &DeviceId) {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner).remove(device);
    }

    /// Whether the log is to speak of this device: once a minute.
    pub(super) fn may_log(&self, device: &DeviceId) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.get(device).is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return false;
        }
        if logged.len() >= DEVICES_MAX {
            logged.retain(|_, at| at.elapsed() < LOG_EVERY);
        }
        if logged.len() < DEVICES_MAX {
            logged.insert(device.clone(), Instant::now());
        }
        true
    }
}
