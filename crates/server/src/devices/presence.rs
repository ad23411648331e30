//! Who can be reached, and who may connect to the embedded broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use broker::Admission;
use contract::{DeviceId, Presence as Said};
use sea_orm::DbErr;

use crate::access::{Access, digest, is_equal};
use crate::clock::now_ms;
use crate::config::Config;
use crate::db::Db;
use crate::db::device::DeviceRow;
use crate::db::device_list::Heard;
use crate::events::Events;

/// A device that connected this long ago has subscribed.
const SUBSCRIBED_MS: i64 = 1_000;

/// Which devices are there. Clones know the same.
#[derive(Clone)]
pub(crate) struct Presence(Arc<Inner>);

struct Inner {
    db: Db,
    access: Access,
    events: Events,
    /// Who is connected to the embedded broker, and since when. Lost with the process, as the connections are.
    connections: Mutex<BTreeMap<DeviceId, i64>>,
    /// When devices came and went, until it is written.
    seen: Mutex<HashMap<DeviceId, i64>>,
    is_embedded: bool,
    offline_after_s: u32,
}

impl Presence {
    pub(crate) fn new(config: &Config, db: Db, events: Events, access: Access) -> Self {
        Self(Arc::new(Inner {
            db,
            access,
            events,
            connections: Mutex::default(),
            seen: Mutex::default(),
            is_embedded: config.embedded_broker(),
            offline_after_s: config.mqtt.offline_after_s,
        }))
    }

    /// Whether a trigger would reach the device now.
    pub(crate) fn is_online(&self, device: &DeviceRow, now: i64) -> bool {
        if self.0.is_embedded {
            return self.since(&device.id).is_some();
        }
        match device.presence {
            Some(presence) => presence == Said::Online,
            None => device.last_seen.is_some_and(|seen| seen >= self.heard_limit(now)),
        }
    }

    /// Whether it has been there long enough to have subscribed: what is sent to it while it connects is lost.
    pub(crate) fn is_subscribed(&self, device: &DeviceRow, now: i64) -> bool {
        let since = self.since(&device.id);
        self.is_online(device, now) && since.is_none_or(|since| now - since >= SUBSCRIBED_MS)
    }

    /// How long until a device that has just connected to the embedded broker has subscribed.
    pub(crate) fn subscribes_in(&self, device: &DeviceId, now: i64) -> Duration {
        let left = self.since(device).map_or(0, |since| (since + SUBSCRIBED_MS - now).min(SUBSCRIBED_MS));
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// On an external broker, a device without presence is online if it was heard since.
    pub(crate) fn heard_limit(&self, now: i64) -> i64 {
        now - i64::from(self.0.offline_after_s) * 1000
    }

    /// The condition in the database that says who is online; `None` where the connections say it.
    pub(crate) fn heard(&self, online: bool, now: i64) -> Option<Heard> {
        let limit = self.heard_limit(now);
        let heard = if online { Heard::Since(limit) } else { Heard::NotSince(limit) };
        (!self.0.is_embedded).then_some(heard)
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<DeviceId, i64>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<DeviceId, i64>> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(&self, device: &DeviceId) -> Option<i64> {
        self.connections().get(device).copied()
    }

    pub(super) fn connected_count(&self) -> u64 {
        self.connections().len() as u64
    }

    /// Devices connected to the embedded broker after an id, in order.
    pub(super) fn connected_after(&self, device: Option<&str>, limit: usize) -> Vec<DeviceId> {
        let connections = self.connections();
        let ids = connections.keys();
        ids.filter(|id| device.is_none_or(|after| id.as_str() > after)).take(limit).cloned().collect()
    }

    /// Writes when devices came and went. Losing some of it costs nothing but a time on a page.
    pub(crate) async fn write_seen(&self) -> Result<(), DbErr> {
        let seen: Vec<_> = std::mem::take(&mut *self.seen()).into_iter().collect();
        for seen in seen.chunks(1000) {
            let write = self.0.db.write().await?;
            write.set_last_seen(seen).await?;
            write.commit().await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Admission for Presence {
    /// Registered devices only: the user name is the device's id.
    async fn admit(&self, user: &str, password: &[u8]) -> bool {
        let Ok(device) = user.parse::<DeviceId>() else {
            return false;
        };
        match self.0.db.device_password(&device).await {
            Ok(Some(kept)) => is_equal(&kept, &digest(password)),
            Ok(None) => false,
            Err(error) => {
                tracing::error!(device = %device, %error, "cannot check a device's password");
                false
            }
        }
    }

    /// A token of any role may read; one that is confined to a product may not, since all devices are read.
    async fn admit_reader(&self, token: &[u8]) -> bool {
        let Ok(token) = std::str::from_utf8(token) else { return false };
        match self.0.access.authenticate(token).await {
            Ok(actor) => actor.is_some_and(|actor| actor.scope.is_none()),
            Err(error) => {
                tracing::error!(%error, "cannot check a token on the broker");
                false
            }
        }
    }

    fn connected(&self, device: DeviceId) {
        let mut connections = self.connections();
        connections.insert(device.clone(), now_ms());
        self.seen().insert(device.clone(), now_ms());
        drop(connections);
        self.0.events.device(&device);
    }

    fn disconnected(&self, device: DeviceId) {
        let mut connections = self.connections();
        connections.remove(&device);
        self.seen().insert(device.clone(), now_ms());
        drop(connections);
        self.0.events.device(&device);
    }
}
