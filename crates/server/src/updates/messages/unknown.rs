//! What is remembered, bounded, of devices that are not known (yet), and of whom the log spoke lately.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::{DeviceId, Presence};

/// Maximum number of devices that are remembered without being in the database.
const DEVICES_MAX: usize = 10_000;
/// How often one device's unreadable messages are logged.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Devices that are not known.
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
