//! The registry of connections to the embedded broker, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use contract::DeviceId;

use crate::clock::now_ms;

/// Connections to the embedded broker. Lost with the process, as the connections are.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Who is connected, and since when.
    connections: Mutex<BTreeMap<DeviceId, i64>>,
    /// When devices came and went, until it is written.
    seen: Mutex<HashMap<DeviceId, i64>>,
}

impl Connections {
    pub(super) fn connected(&self, device: &DeviceId) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.insert(device.clone(), now_ms());
        self.note(device);
    }

    pub(super) fn disconnected(&self, device: &DeviceId) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.remove(device);
        self.note(device);
    }

    fn note(&self, device: &DeviceId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(device.clone(), now_ms());
    }

    /// Since when the device is connected, if it is.
    pub(super) fn since(&self, device: &DeviceId) -> Option<i64> {
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

    pub(super) fn take_seen(&self) -> Vec<(DeviceId, i64)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen).into_iter().collect()
    }
}
