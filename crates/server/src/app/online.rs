//! Who can be reached, and who may connect to the embedded broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use broker::Admission;
use contract::{DeviceId, Presence};
use sea_orm::DbErr;

use super::auth::{digest, is_equal};
use super::{App, now_ms};
use crate::db::device::{DeviceRow, Heard};

/// A device that connected this long ago has subscribed.
const SETTLED_MS: i64 = 1_000;

/// Connections to the embedded broker. Lost with the process, as the connections are.
#[derive(Debug, Default)]
pub(super) struct Online {
    /// Who is connected, and since when.
    connections: Mutex<BTreeMap<DeviceId, i64>>,
    /// When devices came and went, until it is written.
    seen: Mutex<HashMap<DeviceId, i64>>,
}

impl Online {
    fn connected(&self, device: &DeviceId) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.insert(device.clone(), now_ms());
        self.note(device);
    }

    fn disconnected(&self, device: &DeviceId) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.remove(device);
        self.note(device);
    }

    fn note(&self, device: &DeviceId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(device.clone(), now_ms());
    }

    /// Since when the device is connected, if it is.
    fn since(&self, device: &DeviceId) -> Option<i64> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).get(device).copied()
    }

    /// How many are connected.
    pub(super) fn count(&self) -> usize {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Connected devices after an id, in order.
    pub(super) fn after(&self, device: Option<&str>, limit: usize) -> Vec<DeviceId> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = connections.keys();
        ids.filter(|id| device.is_none_or(|after| id.as_str() > after)).take(limit).cloned().collect()
    }

    fn take_seen(&self) -> Vec<(DeviceId, i64)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen).into_iter().collect()
    }
}

impl App {
    /// Whether a trigger would reach the device now.
    pub(super) fn is_online(&self, device: &DeviceRow, now: i64) -> bool {
        if self.config().embedded_broker() {
            return self.inner.online.since(&device.id).is_some();
        }
        match device.presence {
            Some(presence) => presence == Presence::Online,
            None => device.last_seen.is_some_and(|seen| seen >= self.heard_limit(now)),
        }
    }

    /// Whether it has been there long enough to have subscribed: what is sent to it while it connects is lost.
    pub(super) fn is_settled(&self, device: &DeviceRow, now: i64) -> bool {
        let since = self.inner.online.since(&device.id);
        self.is_online(device, now) && since.is_none_or(|since| now - since >= SETTLED_MS)
    }

    /// How long until a device that has just connected to the embedded broker will have subscribed.
    pub(super) fn settles_in(&self, device: &DeviceId, now: i64) -> Duration {
        let left =
            self.inner.online.since(device).map_or(0, |since| (since + SETTLED_MS - now).min(SETTLED_MS));
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// On an external broker, a device without presence is online if it was heard since.
    pub(super) fn heard_limit(&self, now: i64) -> i64 {
        now - i64::from(self.config().mqtt.offline_after_s) * 1000
    }

    /// The condition in the database that says who is online; `None` where the connections say it.
    pub(super) fn heard(&self, online: bool, now: i64) -> Option<Heard> {
        let limit = self.heard_limit(now);
        let heard = if online { Heard::Since(limit) } else { Heard::NotSince(limit) };
        (!self.config().embedded_broker()).then_some(heard)
    }

    /// Writes when devices came and went. Losing some of it costs nothing but a time on a page.
    pub(crate) async fn write_seen(&self) -> Result<(), DbErr> {
        let seen = self.inner.online.take_seen();
        for seen in seen.chunks(1000) {
            let write = self.db().write().await?;
            write.set_last_seen(seen).await?;
            write.commit().await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Admission for App {
    /// Registered devices only: the user name is the device's id.
    async fn admit(&self, user: &str, password: &[u8]) -> bool {
        let Ok(device) = user.parse::<DeviceId>() else {
            return false;
        };
        match self.db().device_password(&device).await {
            Ok(Some(kept)) => is_equal(&kept, &digest(password)),
            Ok(None) => false,
            Err(error) => {
                tracing::error!(device = %device, %error, "cannot check a device's password");
                false
            }
        }
    }

    fn connected(&self, device: DeviceId) {
        self.inner.online.connected(&device);
        self.announce().device(&device);
    }

    fn disconnected(&self, device: DeviceId) {
        self.inner.online.disconnected(&device);
        self.announce().device(&device);
    }
}
