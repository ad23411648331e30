//! Messages from devices: a batch is read, applied in memory and written in one transaction. What follows from
//! it is done after the commit, and done again by the tick if the process dies in between.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contract::{DeviceId, Presence, ProductName, TopicKind};

use super::{App, now_ms};
use crate::config::Admit;
use crate::db::device::{self, DeviceRow};
use crate::db::{Write, update};
use crate::mqtt::{Handler, Message};

mod apply;
mod outcome;
mod read;
mod redact;

pub(super) use apply::Subject;
pub(crate) use outcome::settle;
use read::read_report;

/// Devices remembered in memory about which nothing is in the database.
const STRANGERS_MAX: usize = 10_000;
/// How often one device's unreadable messages are logged.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// What is remembered, bounded, of devices that are not known (yet), and of whom the log spoke lately.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Presence is retained and comes once, maybe before the report that makes a device known.
    presence: Mutex<HashMap<DeviceId, Presence>>,
    logged: Mutex<HashMap<DeviceId, Instant>>,
}

impl Strangers {
    fn note_presence(&self, device: &DeviceId, payload: &[u8]) {
        let mut known = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let room = known.len() < STRANGERS_MAX || known.contains_key(device);
        if let (Ok(presence), true) = (Presence::parse(payload), room) {
            known.insert(device.clone(), presence);
        }
    }

    fn take_presence(&self, device: &DeviceId) -> Option<Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner).remove(device)
    }

    /// Whether the log is to speak of this device: once a minute.
    fn may_log(&self, device: &DeviceId) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.get(device).is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return false;
        }
        if logged.len() >= STRANGERS_MAX {
            logged.retain(|_, at| at.elapsed() < LOG_EVERY);
        }
        if logged.len() < STRANGERS_MAX {
            logged.insert(device.clone(), Instant::now());
        }
        true
    }
}

#[async_trait]
impl Handler for App {
    /// Answers after the commit.
    async fn messages(&self, batch: &[Message]) -> anyhow::Result<()> {
        self.take(batch, now_ms()).await
    }
}

impl App {
    /// Takes a batch at a time.
    pub(super) async fn take(&self, batch: &[Message], now: i64) -> anyhow::Result<()> {
        let write = self.db().write().await?;
        let mut subjects = load(&write, batch).await?;
        let mut room = self.room(&write, batch, &subjects).await?;
        let product = self.usual_product();
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
        self.count_messages(batch.len());
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
        let fleet = &self.config().fleet;
        let asked = batch
            .iter()
            .any(|message| message.kind == TopicKind::Version && !subjects.contains_key(&message.device));
        if self.config().embedded_broker() || fleet.admit == Admit::Registered || !asked {
            return Ok(0);
        }
        Ok(u64::from(fleet.max_devices).saturating_sub(device::count(write, None).await?))
    }

    /// A device that nobody registered becomes known by its first valid report, where the fleet allows it.
    fn admit_reported(&self, message: &Message, room: u64, now: i64) -> Option<Subject> {
        let strangers = &self.inner.strangers;
        if message.kind == TopicKind::Presence {
            strangers.note_presence(&message.device, &message.payload);
        }
        if message.kind != TopicKind::Version || message.payload.is_empty() {
            return None;
        }
        let readable = read_report(&message.payload);
        if room == 0 || readable.is_err() {
            if strangers.may_log(&message.device) {
                let why = readable.err().map_or(
                    "it is not registered, or there is no room for it",
                    |_| "its report cannot be read",
                );
                tracing::warn!(device = %message.device, "a device was not admitted: {why}");
            }
            return None;
        }
        let mut subject = Subject::new(DeviceRow::new(message.device.clone(), now));
        subject.device.presence = strangers.take_presence(&message.device);
        Some(subject)
    }

    /// For devices that report a bare version: the configured product, or the only one there is.
    pub(super) fn usual_product(&self) -> Option<ProductName> {
        self.config().fleet.default_product.clone().or_else(|| self.catalog().only_product())
    }

    fn follow_up(&self, subjects: HashMap<DeviceId, Subject>) {
        for (id, subject) in subjects {
            if let Some(unreadable) = &subject.unreadable
                && self.inner.strangers.may_log(&id)
            {
                tracing::warn!(device = %id, count = subject.device.unreadable_count, "a message cannot be read: {unreadable}");
            }
            if subject.device_changed || subject.update_changed {
                self.announce().device(&id);
            }
            if subject.wants_trigger
                && let Some(update) = subject.update
            {
                let app = self.clone();
                tokio::spawn(async move { app.send_trigger(update.id).await });
            }
        }
    }
}

/// What the database knows of those who speak.
async fn load(write: &Write, batch: &[Message]) -> anyhow::Result<HashMap<DeviceId, Subject>> {
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

async fn save(write: &Write, subjects: &HashMap<DeviceId, Subject>) -> anyhow::Result<()> {
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
