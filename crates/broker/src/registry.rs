//! The connection registry: who is connected, and which sessions a device has. Bounded per device; [`Admission`] is told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::DeviceId;
use tokio::sync::{Notify, oneshot};

use crate::admission::Admission;
use crate::limits::{MAX_CONNECTIONS, MAX_SESSIONS};

pub(crate) struct Registry {
    state: Mutex<State>,
    left: Notify,
    admission: Arc<dyn Admission>,
}

#[derive(Default)]
struct State {
    devices: HashMap<DeviceId, Device>,
    next: u64,
    /// Grows with every removal: an admission that was decided before one is void.
    removals: u64,
}

#[derive(Default)]
struct Device {
    connections: Vec<Connection>,
    sessions: VecDeque<String>,
}

struct Connection {
    number: u64,
    session: String,
    close: Option<oneshot::Sender<()>>,
}

/// One registered connection; give it back with [`Registry::unregister`].
pub(crate) struct Registration {
    device: DeviceId,
    number: u64,
}

/// A removal came between the admission and the registration; ask again.
pub(crate) struct Stale(pub(crate) oneshot::Sender<()>);

impl Registry {
    pub(crate) fn new(admission: Arc<dyn Admission>) -> Self {
        Self { state: Mutex::default(), left: Notify::new(), admission }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one; a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Read before the password is checked, and handed to [`Registry::register`].
    pub(crate) fn removals(&self) -> u64 {
        self.state().removals
    }

    /// Registers a connection whose password was right. The second value is a session to be forgotten.
    pub(crate) fn register(
        &self,
        device: &DeviceId,
        session: &str,
        lasting: bool,
        removals: u64,
        close: oneshot::Sender<()>,
    ) -> Result<(Registration, Option<String>), Stale> {
        let mut state = self.state();
        if state.removals != removals {
            return Err(Stale(close));
        }
        state.next += 1;
        let number = state.next;
        let known = state.devices.entry(device.clone()).or_default();
        known.connections.push(Connection { number, session: session.to_owned(), close: Some(close) });
        if known.connections.len() > MAX_CONNECTIONS {
            let oldest = known.connections.iter_mut().find_map(|connection| connection.close.take());
            drop(oldest);
        }
        let forgotten = if lasting { known.remember(session) } else { None };
        if known.connections.len() == 1 {
            // Under the lock, so that "connected" and "disconnected" are called in the order they happened.
            self.admission.connected(device.clone());
        }
        Ok((Registration { device: device.clone(), number }, forgotten))
    }

    pub(crate) fn unregister(&self, registration: &Registration) {
        let mut state = self.state();
        if let Some(known) = state.devices.get_mut(&registration.device) {
            let before = known.connections.len();
            known.connections.retain(|connection| connection.number != registration.number);
            if before > 0 && known.connections.is_empty() {
                self.admission.disconnected(registration.device.clone());
            }
            if known.connections.is_empty() && known.sessions.is_empty() {
                state.devices.remove(&registration.device);
            }
        }
        drop(state);
        self.left.notify_waiters();
    }

    /// Closes every connection of a device; the caller forgets the sessions that are returned.
    pub(crate) fn remove(&self, device: &DeviceId) -> Vec<String> {
        let mut state = self.state();
        state.removals += 1;
        let Some(known) = state.devices.get_mut(device) else { return Vec::new() };
        let mut sessions: Vec<String> = known.sessions.drain(..).collect();
        for connection in &mut known.connections {
            drop(connection.close.take());
            sessions.push(connection.session.clone());
        }
        if known.connections.is_empty() {
            state.devices.remove(device);
        }
        sessions
    }

    /// Returns once the device has no connection left.
    pub(crate) async fn gone(&self, device: &DeviceId) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            let connected =
                self.state().devices.get(device).is_some_and(|known| !known.connections.is_empty());
            if !connected {
                return;
            }
            left.await;
        }
    }

    pub(crate) fn sessions(&self) -> Vec<(DeviceId, String)> {
        let state = self.state();
        let of = |(id, known): (&DeviceId, &Device)| {
            known.sessions.iter().map(|session| (id.clone(), session.clone())).collect::<Vec<_>>()
        };
        state.devices.iter().flat_map(of).collect()
    }

    pub(crate) fn expired(&self, device: &DeviceId, session: &str) {
        let mut state = self.state();
        let Some(known) = state.devices.get_mut(device) else { return };
        if known.connections.iter().any(|connection| connection.session == session) {
            return;
        }
        known.sessions.retain(|other| other != session);
        if known.connections.is_empty() && known.sessions.is_empty() {
            state.devices.remove(device);
        }
    }
}

impl Device {
    /// Newest last; the one that has to go is the oldest without a connection, and there always is one,
    /// since fewer connections than sessions are allowed.
    fn remember(&mut self, session: &str) -> Option<String> {
        self.sessions.retain(|other| other != session);
        self.sessions.push_back(session.to_owned());
        if self.sessions.len() <= MAX_SESSIONS {
            return None;
        }
        let idle = |session: &String| !self.connections.iter().any(|c| c.session == *session);
        let oldest = self.sessions.iter().position(idle)?;
        self.sessions.remove(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Default)]
    struct Count(AtomicI64);

    #[async_trait::async_trait]
    impl Admission for Count {
        async fn admit(&self, _: &str, _: &[u8]) -> bool {
            true
        }
        fn connected(&self, _: DeviceId) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn disconnected(&self, _: DeviceId) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn id() -> DeviceId {
        "a".parse().expect("valid")
    }

    #[test]
    fn a_device_is_connected_while_one_of_its_connections_lives() {
        let count = Arc::new(Count::default());
        let registry = Registry::new(count.clone());
        let register = |session: &str| {
            let (close, closed) = oneshot::channel();
            let registered =
                registry.register(&id(), session, false, 0, close).map_err(|_| "stale").expect("in");
            (registered.0, closed)
        };
        let (first, _one) = register("x");
        let (second, _two) = register("x");
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        registry.unregister(&first);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        registry.unregister(&second);
        registry.unregister(&second);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(registry.state().devices.is_empty());
    }

    #[test]
    fn connections_and_sessions_of_a_device_are_bounded() {
        let registry = Registry::new(Arc::new(Count::default()));
        let mut closed = Vec::new();
        let mut forgotten = 0;
        let mut registrations = Vec::new();
        for n in 0..40 {
            let (close, receiver) = oneshot::channel();
            let (registration, old) =
                registry.register(&id(), &format!("s{n}"), true, 0, close).map_err(|_| "stale").expect("in");
            closed.push(receiver);
            registrations.push(registration);
            forgotten += usize::from(old.is_some());
            let over = closed.len().saturating_sub(MAX_CONNECTIONS);
            for (age, receiver) in closed.iter_mut().enumerate() {
                let ended = receiver.try_recv() == Err(oneshot::error::TryRecvError::Closed);
                assert_eq!(ended, age < over, "connection {age} after {n}");
            }
            if over > 0 {
                registry.unregister(&registrations[over - 1]);
            }
        }
        assert_eq!(registry.sessions().len(), MAX_SESSIONS);
        assert_eq!(forgotten, 40 - MAX_SESSIONS);
    }

    #[test]
    fn an_admission_older_than_a_removal_is_void() {
        let registry = Registry::new(Arc::new(Count::default()));
        let before = registry.removals();
        registry.remove(&id());
        let (close, _closed) = oneshot::channel();
        assert!(registry.register(&id(), "x", false, before, close).is_err());
    }
}
