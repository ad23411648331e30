//! Who can be reached, and who may connect to the embedded broker.
//!
//! A device is online exactly if its row has the present epoch. The embedded broker's connections are written in batches; its
//! start takes the next epoch, and with that nobody is online any more. On an external broker, what devices say sets it
//! (`updates/messages`), and silence clears it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use broker::{Admission, Unavailable};
use cause::admission as causes;
use contract::DeviceId;
use sea_orm::DbErr;
use tokio::sync::Notify;

use super::not_admitted::{Attempt, NotAdmitted};
use crate::access::{Access, digest, is_equal};
use crate::clock::now_ms;
use crate::config::Config;
use crate::db::Db;
use crate::db::device::DeviceRow;
use crate::db::presence::{Absent, CLEARED_MAX, Site};
use crate::error::Error;
use crate::events::Events;

/// Maximum number of devices that are written at a time.
const BATCH: usize = 1_000;
/// A sweep that takes less is made with each tick.
const SWEEP_SHORT: Duration = Duration::from_millis(50);
/// How long one sweep takes for each kind, about.
const SWEEP_TIME: Duration = Duration::from_millis(250);

/// Which devices are there. Clones know the same.
#[derive(Clone)]
pub(crate) struct Presence(Arc<Inner>);

struct Inner {
    db: Db,
    access: Access,
    events: Events,
    /// Who is connected to the embedded broker, and its subscription: what is sent before is lost. Lost with the process, as the
    /// connections are.
    connections: Mutex<HashMap<DeviceId, Subscription>>,
    /// Subscriptions so far.
    subscriptions: AtomicU64,
    /// Who has subscribed since they were last taken.
    subscribed: Mutex<HashSet<DeviceId>>,
    not_admitted: NotAdmitted,
    /// Who came or went, and when, until it is written.
    changed: Mutex<HashMap<DeviceId, i64>>,
    wake: Notify,
    /// Before then nobody is looked for who fell silent.
    sweeps_from: Mutex<Option<Instant>>,
    is_embedded: bool,
    offline_after_s: u32,
}

/// How a device listens to its triggers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subscription {
    /// Another one each time that it begins to listen; 0 while it does not.
    number: u64,
    /// Whether a trigger was sent to this one.
    pub(crate) is_triggered: bool,
}

impl Presence {
    /// On the embedded broker nobody is online from now on until they connect.
    pub(crate) async fn begin(
        config: &Config,
        db: Db,
        events: Events,
        access: Access,
    ) -> Result<Self, DbErr> {
        let is_embedded = config.embedded_broker();
        db.begin_epoch(if is_embedded { Site::Embedded } else { Site::External }).await?;
        Ok(Self(Arc::new(Inner {
            db,
            access,
            events,
            connections: Mutex::default(),
            subscriptions: AtomicU64::default(),
            subscribed: Mutex::default(),
            not_admitted: NotAdmitted::default(),
            changed: Mutex::default(),
            wake: Notify::new(),
            sweeps_from: Mutex::default(),
            is_embedded,
            offline_after_s: config.mqtt.offline_after_s,
        })))
    }

    /// Who was heard of and is not admitted.
    pub(crate) fn not_admitted(&self) -> &NotAdmitted {
        &self.0.not_admitted
    }

    /// Whether a trigger would reach the device now.
    pub(crate) fn is_online(&self, device: &DeviceRow) -> bool {
        device.online_epoch == self.0.db.epoch()
    }

    /// Whether it is there, for a decision: one that has just connected to the embedded broker is, before that is written.
    pub(crate) fn is_there(&self, device: &DeviceRow) -> bool {
        self.is_online(device) || self.connections().contains_key(&device.id.0)
    }

    /// Where a trigger would go now; `None` while it would be lost. A forced one is sent to whoever is not there, too.
    pub(crate) fn reach(&self, device: &DeviceId, is_online: bool, forced: bool) -> Option<Subscription> {
        let away = || Subscription { number: 0, is_triggered: true };
        if self.0.is_embedded {
            match self.connections().get(device) {
                Some(subscription) => Some(*subscription).filter(|subscription| subscription.number > 0),
                None => forced.then(away),
            }
        } else {
            (is_online || forced).then(away)
        }
    }

    /// A trigger was sent to this subscription. Answers whether it was still the one, so that the trigger can have arrived.
    pub(crate) fn note_trigger(&self, device: &DeviceId, sent_to: Subscription) -> bool {
        let mut connections = self.connections();
        let Some(subscription) = connections.get_mut(device) else { return sent_to.number == 0 };
        subscription.is_triggered |= subscription.number == sent_to.number;
        subscription.number == sent_to.number
    }

    /// Who has subscribed on the embedded broker since this was asked last.
    pub(crate) fn take_subscribed(&self) -> HashSet<DeviceId> {
        std::mem::take(&mut *self.subscribed())
    }

    /// Whether what was sent to this subscription was not sent to an earlier one than the device has now.
    pub(crate) fn is_present(&self, device: &DeviceId, sent_to: Subscription) -> bool {
        let connections = self.connections();
        let now = connections.get(device).map(|subscription| subscription.number);
        now.is_none_or(|number| number == 0 || number == sent_to.number)
    }

    /// These are to be taken again.
    pub(crate) fn retake(&self, devices: impl IntoIterator<Item = DeviceId>) {
        self.subscribed().extend(devices);
        self.0.wake.notify_one();
    }

    fn subscribed(&self) -> MutexGuard<'_, HashSet<DeviceId>> {
        self.0.subscribed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<DeviceId, Subscription>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> MutexGuard<'_, HashMap<DeviceId, i64>> {
        self.0.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once somebody came, subscribed or went.
    pub(crate) async fn changes(&self) {
        self.0.wake.notified().await;
    }

    /// Writes who came and who went, up to 1,000 of them, and answers whether those were all. To be called by one task, so that the
    /// last word is written last.
    pub(crate) async fn write_changes(&self) -> Result<bool, DbErr> {
        let changed: Vec<(DeviceId, i64)> =
            self.changed().iter().take(BATCH).map(|(id, at)| (id.clone(), *at)).collect();
        if changed.is_empty() {
            return Ok(true);
        }
        // As of now, after their times were read: who comes or goes from here on is written once more.
        let there: HashSet<DeviceId> = {
            let connections = self.connections();
            changed.iter().map(|(id, _)| id).filter(|id| connections.contains_key(*id)).cloned().collect()
        };
        self.0.db.set_online(&changed, &there).await?;
        for (device, at) in &changed {
            let mut waiting = self.changed();
            if waiting.get(device) == Some(at) {
                waiting.remove(device);
            }
            drop(waiting);
            self.0.events.device(device);
        }
        Ok(self.changed().is_empty())
    }

    /// The clock was set: who is silent is not known before everybody could have said something.
    pub(crate) fn wait_for_reports(&self) {
        let from = Instant::now() + Duration::from_secs(self.0.offline_after_s.into());
        *self.0.sweeps_from.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
    }

    /// Makes those offline who are taken for online and are not: of earlier starts, and, on an external broker, silent ones
    /// who do not tell when they go.
    pub(crate) async fn sweep(&self, now: i64) -> Result<(), DbErr> {
        self.clear(Absent::Earlier).await?;
        let is_due = self
            .0
            .sweeps_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none_or(|from| Instant::now() >= from);
        if !self.0.is_embedded && is_due {
            let begun = Instant::now();
            let limit = now - i64::from(self.0.offline_after_s) * 1000;
            self.clear(Absent::SilentSince(limit)).await?;
            // It reads all who are online: in a large fleet it takes at most a twentieth of the time.
            let from = (begun.elapsed() >= SWEEP_SHORT).then(|| Instant::now() + begun.elapsed() * 20);
            *self.0.sweeps_from.lock().unwrap_or_else(PoisonError::into_inner) = from;
        }
        Ok(())
    }

    /// What is left after a moment is for the next sweep.
    async fn clear(&self, which: Absent) -> Result<(), DbErr> {
        let begun = Instant::now();
        while begun.elapsed() < SWEEP_TIME {
            let cleared = self.0.db.clear_absent(which).await?;
            for device in &cleared {
                self.0.events.device(device);
            }
            if cleared.len() < CLEARED_MAX {
                break;
            }
        }
        Ok(())
    }

    fn note(&self, device: DeviceId, is_there: bool) {
        let mut connections = self.connections();
        if is_there {
            connections.insert(device.clone(), Subscription::default());
        } else {
            connections.remove(&device);
        }
        // A time of its own for each change, so that none is taken for the one that was just written.
        let mut changed = self.changed();
        let at = changed.get(&device).map_or(now_ms(), |last| now_ms().max(last + 1));
        changed.insert(device, at);
        drop((connections, changed));
        self.0.wake.notify_one();
    }
}

#[async_trait]
impl Admission for Presence {
    /// Registered devices only: the user name is the device's id.
    async fn admit(&self, user: &str, password: &[u8]) -> Result<bool, Unavailable> {
        let Ok(device) = user.parse::<DeviceId>() else { return Ok(false) };
        let kept = self.0.db.device_password(&device).await.map_err(|error| {
            tracing::error!(device = %device, %error, "cannot check a device's password");
            Unavailable
        })?;
        let is_right = kept.as_ref().is_some_and(|kept| is_equal(kept, &digest(password)));
        if !is_right {
            let why = if kept.is_some() { causes::WRONG_PASSWORD } else { causes::NOT_REGISTERED };
            self.0.not_admitted.note(user, Attempt::of(why.cause()));
        }
        Ok(is_right)
    }

    /// A token of any role may read; one that is confined to a product may not, since all devices are read.
    async fn admit_reader(&self, token: &[u8]) -> Result<bool, Unavailable> {
        let Ok(token) = std::str::from_utf8(token) else { return Ok(false) };
        match self.0.access.authenticate(token).await {
            Ok(identity) => Ok(identity.is_some_and(|identity| identity.scope.is_none())),
            Err(Error::Unproven(_)) => Ok(false),
            Err(error) => {
                tracing::error!(%error, "cannot check a token on the broker");
                Err(Unavailable)
            }
        }
    }

    fn not_admitted(&self, peer: IpAddr, who: &str, why: broker::NotAdmitted) {
        let cause = match why {
            broker::NotAdmitted::InvalidId => causes::INVALID_ID.cause(),
            broker::NotAdmitted::NoPassword => causes::NO_PASSWORD.cause(),
            // Which of both is noted already.
            broker::NotAdmitted::Password if who.parse::<DeviceId>().is_ok() => {
                return self.0.not_admitted.note_address(who, peer);
            }
            broker::NotAdmitted::Password => causes::WRONG_TOKEN.cause(),
            other => causes::NO_MQTT.naming("what", other),
        };
        let address = peer.to_string();
        let id = if who.is_empty() { &address } else { who };
        self.0.not_admitted.note(id, Attempt { address: Some(address.clone()), ..Attempt::of(cause) });
    }

    fn connected(&self, device: DeviceId) {
        self.0.not_admitted.forget(device.as_str());
        self.note(device, true);
    }

    fn listens(&self, device: &DeviceId, listens: bool) {
        let mut connections = self.connections();
        let Some(subscription) = connections.get_mut(device) else { return };
        *subscription = Subscription::default();
        if listens {
            subscription.number = self.0.subscriptions.fetch_add(1, Ordering::Relaxed) + 1;
            self.subscribed().insert(device.clone());
            self.0.wake.notify_one();
        }
    }

    fn disconnected(&self, device: DeviceId) {
        self.note(device, false);
    }
}
