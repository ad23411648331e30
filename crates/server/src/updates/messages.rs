//! Messages from devices, a batch at a time: it is applied in memory and written in one transaction. What follows from it
//! is done after the commit, and done again by the tick if the process dies in between.

mod apply;
mod read;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apply::Subject;
use async_trait::async_trait;
use contract::{DeviceId, Presence, TopicKind};
use read::read_report;

use crate::clock::now_ms;
use crate::config::{Admit, Config};
use crate::db::device::{self, DeviceRow};
use crate::db::{Db, Write, device_list, update};
use crate::events::Events;
use crate::mqtt::{Handler, Message};
use crate::releases::Releases;
use crate::updates::service::Updates;

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
    taken: AtomicU64,
}

impl Messages {
    pub(crate) fn new(config: &Config, db: Db, events: Events, updates: Updates, releases: Releases) -> Self {
        let is_closed = config.embedded_broker() || config.fleet.admit == Admit::Registered;
        let room_max = if is_closed { 0 } else { config.fleet.max_devices.into() };
        let (unknown, taken) = (UnknownDevices::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { db, events, updates, releases, unknown, room_max, taken }))
    }

    pub(crate) fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Handler for Messages {
    /// Answers after the commit.
    async fn messages(&self, batch: &[Message]) -> anyhow::Result<()> {
        self.take(batch, now_ms()).await
    }
}

impl Messages {
    pub(crate) async fn take(&self, batch: &[Message], now: i64) -> anyhow::Result<()> {
        let write = self.0.db.write().await?;
        let mut subjects = load(&write, batch).await?;
        let mut room = self.room(&write, batch, &subjects).await?;
        let product = self.0.releases.default_product();
        for message in batch {
            if !subjects.contains_key(&message.device) {
                match self.admit_reported(message, room, now) {
                    Some(subject) => {
                        room -= 1;
                        subjects.insert(message.device.clone(), subject);
                    }
                    None => continue,
                }
            }
            if let Some(subject) = subjects.get_mut(&message.device) {
                subject.apply(message, product.as_ref(), now);
            }
        }
        save(&write, &subjects).await?;
        write.commit().await?;
        self.0.taken.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.follow_up(subjects);
        Ok(())
    }

    /// How many devices may still become known by their report.
    async fn room(
        &self,
        write: &Write,
        batch: &[Message],
        subjects: &HashMap<DeviceId, Subject>,
    ) -> anyhow::Result<u64> {
        let asked = batch
            .iter()
            .any(|message| message.kind == TopicKind::Version && !subjects.contains_key(&message.device));
        if self.0.room_max == 0 || !asked {
            return Ok(0);
        }
        Ok(self.0.room_max.saturating_sub(device_list::count(write, None).await?))
    }

    /// A device that nobody registered becomes known by its first valid report, where the fleet allows it.
    fn admit_reported(&self, message: &Message, room: u64, now: i64) -> Option<Subject> {
        let unknown = &self.0.unknown;
        if message.kind == TopicKind::Presence {
            unknown.note_presence(&message.device, &message.payload);
        }
        if message.kind != TopicKind::Version || message.payload.is_empty() {
            return None;
        }
        let readable = read_report(&message.payload);
        if room == 0 || readable.is_err() {
            if unknown.may_log(&message.device) {
                let why = readable.err().map_or(
                    "it is not registered, or there is no room for it",
                    |_| "its report cannot be read",
                );
                tracing::warn!(device = %message.device, "a device was not admitted: {why}");
            }
            return None;
        }
        let mut subject = Subject::new(DeviceRow::new(message.device.clone(), now));
        subject.device.presence = unknown.take_presence(&message.device);
        Some(subject)
    }

    fn follow_up(&self, subjects: HashMap<DeviceId, Subject>) {
        for (id, subject) in subjects {
            if let Some(unreadable) = &subject.unreadable
                && self.0.unknown.may_log(&id)
            {
                tracing::warn!(device = %id, count = subject.device.unreadable_count, "a message cannot be read: {unreadable}");
            }
            if subject.device_changed || subject.update_changed {
                self.0.events.device(&id);
            }
            if subject.wants_trigger
                && let Some(update) = subject.update
            {
                let updates = self.0.updates.clone();
                tokio::spawn(async move { updates.send_trigger(update.id).await });
            }
        }
    }
}

pub(super) async fn load(write: &Write, batch: &[Message]) -> anyhow::Result<HashMap<DeviceId, Subject>> {
    let ids: HashSet<&DeviceId> = batch.iter().map(|message| &message.device).collect();
    let ids: Vec<DeviceId> = ids.into_iter().cloned().collect();
    let devices = device::by_ids(write, &ids).await?;
    let update_ids: Vec<i64> = devices.iter().filter_map(|device| device.update_id).collect();
    let updates = update::by_ids(write, &update_ids).await?;
    let mut updates: HashMap<i64, _> = updates.into_iter().map(|update| (update.id, update)).collect();
    Ok(devices
        .into_iter()
        .map(|device| {
            let mut subject = Subject::new(device);
            subject.update = subject.device.update_id.and_then(|id| updates.remove(&id));
            (subject.device.id.clone(), subject)
        })
        .collect())
}

pub(super) async fn save(write: &Write, subjects: &HashMap<DeviceId, Subject>) -> anyhow::Result<()> {
    let changed: Vec<&DeviceRow> =
        subjects.values().filter(|subject| subject.device_changed).map(|subject| &subject.device).collect();
    write.save_devices(&changed).await?;
    for subject in subjects.values().filter(|subject| subject.update_changed) {
        if let Some(update) = &subject.update {
            write.save_update(update).await?;
        }
    }
    Ok(())
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
        if let (Ok(presence), true) = (Presence::parse(payload), room) {
            known.insert(device.clone(), presence);
        }
    }

    pub(super) fn take_presence(&self, device: &DeviceId) -> Option<Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner).remove(device)
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
