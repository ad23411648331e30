//! Who is connected, and which sessions a device has: bounded per device, and told to the doorkeeper.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::DeviceId;
use tokio::sync::{Notify, oneshot};

use super::Doorkeeper;

/// Live connections of one device; one more closes the oldest, so that a device which lost its old
/// connections to a dead network is never locked out.
const MAX_CONNECTIONS: usize = 8;
/// Sessions of one device that outlive their connections; one more forgets the oldest.
const MAX_SESSIONS: usize = 16;

pub(super) struct Census {
    state: Mutex<State>,
    left: Notify,
    doorkeeper: Arc<dyn Doorkeeper>,
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

/// A device's place among the connected; give it back with [`Census::leave`].
pub(super) struct Seat {
    device: DeviceId,
    number: u64,
}

/// A removal came between the admission and the entry; ask again.
pub(super) struct Stale(pub(super) oneshot::Sender<()>);

impl Census {
    pub(super) fn new(doorkeeper: Arc<dyn Doorkeeper>) -> Self {
        Self { state: Mutex::default(), left: Notify::new(), doorkeeper }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one; a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Read before the password is checked, and handed to [`Census::enter`].
    pub(super) fn removals(&self) -> u64 {
        self.state().removals
    }

    /// Counts a connection whose password was right. The second value is a session to be forgotten.
    pub(super) fn enter(
        &self,
        device: &DeviceId,
        session: &str,
        lasting: bool,
        removals: u64,
        close: oneshot::Sender<()>,
    ) -> Result<(Seat, Option<String>), Stale> {
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
            // Under the lock, so that "connected" and "disconnected" are told in the order they happened.
            self.doorkeeper.connected(device.clone());
        }
        Ok((Seat { device: device.clone(), number }, forgotten))
    }

    pub(super) fn leave(&self, seat: &Seat) {
        let mut state = self.state();
        if let Some(known) = state.devices.get_mut(&seat.device) {
            let before = known.connections.len();
            known.connections.retain(|connection| connection.number != seat.number);
            if before > 0 && known.connections.is_empty() {
                self.doorkeeper.disconnected(seat.device.clone());
            }
            if known.connections.is_empty() && known.sessions.is_empty() {
                state.devices.remove(&seat.device);
            }
        }
        drop(state);
        self.left.notify_waiters();
    }

    /// Closes every connection of a device; what was its sessions is to be forgotten by the caller.
    pub(super) fn remove(&self, device: &DeviceId) -> Vec<String> {
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
    pub(super) async fn gone(&self, device: &DeviceId) {
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

    /// Sessions on the list, for the sweep.
    pub(super) fn sessions(&self) -> Vec<(DeviceId, String)> {
        let state = self.state();
        let of = |(id, known): (&DeviceId, &Device)| {
            known.sessions.iter().map(|session| (id.clone(), session.clone())).collect::<Vec<_>>()
        };
        state.devices.iter().flat_map(of).collect()
    }

    /// Takes a session that expired off the list.
    pub(super) fn expired(&self, device: &DeviceId, session: &str) {
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
    impl Doorkeeper for Count {
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
        let census = Census::new(count.clone());
        let enter = |session: &str| {
            let (close, closed) = oneshot::channel();
            let entered = census.enter(&id(), session, false, 0, close).map_err(|_| "stale").expect("in");
            (entered.0, closed)
        };
        let (first, _one) = enter("x");
        let (second, _two) = enter("x");
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        census.leave(&first);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        census.leave(&second);
        census.leave(&second);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(census.state().devices.is_empty());
    }

    #[test]
    fn connections_and_sessions_of_a_device_are_bounded() {
        let census = Census::new(Arc::new(Count::default()));
        let mut closed = Vec::new();
        let mut forgotten = 0;
        let mut seats = Vec::new();
        for n in 0..40 {
            let (close, receiver) = oneshot::channel();
            let (seat, old) =
                census.enter(&id(), &format!("s{n}"), true, 0, close).map_err(|_| "stale").expect("in");
            closed.push(receiver);
            seats.push(seat);
            forgotten += usize::from(old.is_some());
            let over = closed.len().saturating_sub(MAX_CONNECTIONS);
            for (age, receiver) in closed.iter_mut().enumerate() {
                let ended = receiver.try_recv() == Err(oneshot::error::TryRecvError::Closed);
                assert_eq!(ended, age < over, "connection {age} after {n}");
            }
            if over > 0 {
                census.leave(&seats[over - 1]);
            }
        }
        assert_eq!(census.sessions().len(), MAX_SESSIONS);
        assert_eq!(forgotten, 40 - MAX_SESSIONS);
    }

    #[test]
    fn an_admission_older_than_a_removal_is_void() {
        let census = Census::new(Arc::new(Count::default()));
        let before = census.removals();
        census.remove(&id());
        let (close, _closed) = oneshot::channel();
        assert!(census.enter(&id(), "x", false, before, close).is_err());
    }
}
