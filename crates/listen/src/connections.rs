//! The connections of one listener, counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Who waits costs memory too, however many files there may be.
const WAITING_MAX: usize = 2048;
/// At most one line of log about refused connections in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that have not said yet what they want.
    pub waiting: usize,
    /// Connections that have.
    pub working: usize,
    /// Of those, from one address; an address of IPv6 is its first 64 bits.
    pub per_address: usize,
}

impl Limits {
    /// For a listener with so many open files. No address has more than half of what works.
    pub fn of(files: usize) -> Self {
        let waiting = (files / 4).clamp(1, WAITING_MAX);
        let working = files.saturating_sub(waiting).max(1);
        Self { waiting, working, per_address: working.div_ceil(2) }
    }
}

/// As much works already as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// In all.
    All,
    /// From this address.
    Address,
}

/// The connections of one listener. Clones count the same.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    listener: &'static str,
    limits: Limits,
    /// Many come from there, and are many people: a proxy.
    is_shared: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By address, in the order in which they came.
    waiting: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    waiting_count: usize,
    working: HashMap<IpAddr, usize>,
    working_count: usize,
    refused: u64,
    /// When the log said so last, and how many had been refused then.
    logged: Option<(Instant, u64)>,
}

impl Connections {
    /// Of this listener. From an address that is shared, and from this machine, as many may work as in all.
    pub fn new(
        listener: &'static str,
        limits: Limits,
        is_shared: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (is_shared, state) = (Box::new(is_shared), Mutex::default());
        Self(Arc::new(Inner { listener, limits, is_shared, state }))
    }

    /// The name of the listener.
    pub fn listener(&self) -> &'static str {
        self.0.listener
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        let state = self.0.state();
        state.waiting_count + state.working_count
    }

    /// How many were refused, or made room.
    pub fn refused(&self) -> u64 {
        self.0.state().refused
    }

    /// A new one, which waits; and whether another makes room for it.
    pub(crate) fn enter(&self, peer: IpAddr) -> (Place, bool) {
        let peer = peer.to_canonical();
        let per_address = if peer.is_loopback() || (self.0.is_shared)(peer) {
            self.0.limits.working
        } else {
            self.0.limits.per_address
        };
        let place = Place {
            inner: Arc::clone(&self.0),
            address: network(peer),
            per_address,
            closed: Arc::default(),
            now: Mutex::new(Now::Closed),
        };
        let made_room = place.wait();
        (place, made_room)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Counted within one statement each: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, state: &mut State) {
        state.refused += 1;
        let now = Instant::now();
        let (at, before) = state.logged.map_or((None, 0), |(at, before)| (Some(at), before));
        if at.is_none_or(|at| now.duration_since(at) >= LOG_INTERVAL) {
            let (listener, refused) = (self.listener, state.refused - before);
            let (waiting, working) = (state.waiting_count, state.working_count);
            tracing::warn!(
                listener,
                refused,
                waiting,
                working,
                "connections were refused: there are as many as may be"
            );
            state.logged = Some((now, state.refused));
        }
    }
}

impl State {
    fn leave(&mut self, address: IpAddr, now: Now) {
        match now {
            Now::Waiting(number) => {
                if let Some(waiting) = self.waiting.get_mut(&address)
                    && waiting.remove(&number).is_some()
                {
                    self.waiting_count -= 1;
                    if waiting.is_empty() {
                        self.waiting.remove(&address);
                    }
                }
            }
            Now::Working => {
                self.working_count -= 1;
                if let Some(count) = self.working.get_mut(&address) {
                    *count -= 1;
                    if *count == 0 {
                        self.working.remove(&address);
                    }
                }
            }
            Now::Closed => {}
        }
    }

    /// Closes the oldest of the address with the most of them; of two such addresses, of the one that came first.
    fn make_room(&mut self) {
        let most = self
            .waiting
            .iter()
            .max_by_key(|(_, waiting)| (waiting.len(), Reverse(waiting.keys().next().copied())));
        if let Some((address, waiting)) = most.map(|(address, waiting)| (*address, waiting))
            && let Some((number, closed)) = waiting.first_key_value()
        {
            closed.notify_one();
            let number = *number;
            self.leave(address, Now::Waiting(number));
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Now {
    Waiting(u64),
    Working,
    Closed,
}

/// One connection; it is counted until this is dropped.
pub struct Place {
    inner: Arc<Inner>,
    address: IpAddr,
    per_address: usize,
    closed: Arc<Notify>,
    now: Mutex<Now>,
}

impl Place {
    /// It is known what it wants. If that is too much now, it goes on waiting.
    pub fn work(&self) -> Result<(), Full> {
        let mut now = self.now();
        if matches!(*now, Now::Working) {
            return Ok(());
        }
        let mut state = self.inner.state();
        let from_address = state.working.get(&self.address).copied().unwrap_or_default();
        let full = if state.working_count >= self.inner.limits.working {
            Some(Full::All)
        } else {
            (from_address >= self.per_address).then_some(Full::Address)
        };
        if let Some(full) = full {
            self.inner.refuse(&mut state);
            return Err(full);
        }
        self.count_as_working(&mut now, &mut state);
        Ok(())
    }

    /// It works, whatever the limits: this process's own.
    pub fn work_anyway(&self) {
        self.count_as_working(&mut self.now(), &mut self.inner.state());
    }

    fn count_as_working(&self, now: &mut Now, state: &mut State) {
        state.leave(self.address, *now);
        *state.working.entry(self.address).or_default() += 1;
        state.working_count += 1;
        *now = Now::Working;
    }

    /// It has what it wanted, and may say what it wants next. Whether another makes room for it.
    pub fn wait(&self) -> bool {
        let mut now = self.now();
        let mut state = self.inner.state();
        state.leave(self.address, *now);
        let is_full = state.waiting_count >= self.inner.limits.waiting;
        if is_full {
            state.make_room();
            self.inner.refuse(&mut state);
        }
        state.next += 1;
        let number = state.next;
        state.waiting.entry(self.address).or_default().insert(number, Arc::clone(&self.closed));
        state.waiting_count += 1;
        *now = Now::Waiting(number);
        is_full
    }

    /// Returns once it has to make room for another.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = *self.now();
        self.inner.state().leave(self.address, now);
    }
}

/// Whom connections and attempts are counted for: an address of IPv4, or the 64 bits that somebody with IPv6 cannot choose.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(waiting: usize, working: usize, per_address: usize) -> Connections {
        Connections::new("test", Limits { waiting, working, per_address }, |ip| ip == address("192.0.2.9"))
    }

    impl Connections {
        fn came(&self, from: &str) -> Place {
            self.enter(address(from)).0
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Whether it was told to make room.
    async fn is_closed(place: &Place) -> bool {
        tokio::time::timeout(Duration::from_millis(5), place.closed()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_of_the_address_with_the_most_makes_room() {
        let connections = connections(4, 4, 4);
        let honest = connections.came("192.0.2.1");
        let flood: Vec<_> = (0..3).map(|_| connections.came("192.0.2.2")).collect();
        let another = connections.came("192.0.2.3");
        assert!(is_closed(&flood[0]).await);
        for place in [&honest, &flood[1], &flood[2], &another] {
            assert!(!is_closed(place).await);
        }
        assert_eq!((connections.open(), connections.refused()), (4, 1));
        // Of addresses with one each, the oldest goes.
        let (one, two) = (connections.came("192.0.2.4"), connections.came("192.0.2.5"));
        assert!(is_closed(&flood[1]).await && is_closed(&honest).await);
        assert!(!is_closed(&one).await && !is_closed(&two).await);
    }

    #[tokio::test]
    async fn what_works_never_makes_room_and_waits_again_as_the_newest() {
        let connections = connections(2, 2, 2);
        let first = connections.came("192.0.2.1");
        first.work().expect("room");
        first.work().expect("it works already");
        let flood: Vec<_> = (0..3).map(|_| connections.came("192.0.2.1")).collect();
        assert!(!is_closed(&first).await && is_closed(&flood[0]).await);
        first.wait();
        assert!(!is_closed(&first).await && is_closed(&flood[1]).await);
    }

    #[test]
    fn what_works_is_limited_in_all_and_for_each_address_but_a_proxys() {
        let connections = connections(9, 3, 1);
        let (one, two) = (connections.came("2001:db8::1"), connections.came("2001:db8::2"));
        assert_eq!((one.work(), two.work()), (Ok(()), Err(Full::Address)), "one network of 64 bits");
        let proxy: Vec<_> = (0..3).map(|_| connections.came("::ffff:192.0.2.9")).collect();
        let works: Vec<_> = proxy.iter().map(Place::work).collect();
        assert_eq!(works, [Ok(()), Ok(()), Err(Full::All)]);
        assert_eq!((connections.open(), connections.refused()), (5, 2));
        drop(one);
        let own = connections.came("127.0.0.1");
        assert_eq!(own.work(), Ok(()));
        connections.came("127.0.0.1").work_anyway();
        drop((two, proxy, own));
        assert_eq!(connections.open(), 0);
    }

    #[test]
    fn limits_leave_room_for_each_other() {
        for files in [0, 1, 64, 192, 1024, 1 << 20] {
            let Limits { waiting, working, per_address } = Limits::of(files);
            assert!(waiting >= 1 && per_address >= 1 && per_address <= working, "{files}");
            assert!(files < 2 || waiting + working <= files, "{files}");
        }
    }
}
