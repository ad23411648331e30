use std::sync::atomic::{AtomicI64, Ordering};

use contract::{Topic, TopicKind};

use super::*;
use crate::packet::Publish;

#[derive(Default)]
struct Count(AtomicI64);

#[async_trait::async_trait]
impl Admission for Count {
    async fn admit(&self, _: &str, _: &[u8]) -> bool {
        true
    }
    async fn admit_reader(&self, _: &[u8]) -> bool {
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

fn wish(identity: Identity, name: u8, lasting_s: u64) -> Wish {
    let lasting = Duration::from_secs(lasting_s);
    Wish { identity, name: [name; 16], lasting, clean: false, will: None, window: 16 }
}

fn device(state: &mut State, name: u8, lasting_s: u64) -> Member {
    state.register(wish(Identity::Device(id()), name, lasting_s), 0).expect("in").0
}

#[test]
fn a_device_is_connected_while_one_of_its_connections_lives() {
    let count = Arc::new(Count::default());
    let mut state = State::new(count.clone());
    let connected = || count.0.load(Ordering::Relaxed);
    let first = device(&mut state, 1, 0);
    let second = device(&mut state, 1, 0);
    assert_eq!(first.signal.closed(), Some(Closed::TakenOver));
    assert_eq!(connected(), 1);
    let third = device(&mut state, 2, 0);
    state.leave(&first, Leave::LOST);
    state.leave(&third, Leave::LOST);
    assert_eq!(connected(), 1);
    state.leave(&second, Leave::LOST);
    state.leave(&second, Leave::LOST);
    assert_eq!(connected(), 0);
    assert!(state.devices.is_empty());
}

#[test]
fn connections_and_sessions_of_a_device_are_bounded() {
    let count = Arc::new(Count::default());
    let mut state = State::new(count.clone());
    let mut members = Vec::new();
    for n in 0..40 {
        members.push(device(&mut state, n, 60));
        let over = members.len().saturating_sub(MAX_CONNECTIONS);
        for (age, member) in members.iter().enumerate() {
            assert_eq!(member.signal.closed().is_some(), age < over, "connection {age} after {n}");
        }
    }
    let sessions = &state.devices[&id()].sessions;
    assert_eq!(sessions.len(), MAX_SESSIONS);
    assert!(
        sessions.iter().all(|session| session.number > 40 - MAX_SESSIONS as u64),
        "the oldest are forgotten"
    );
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[test]
fn readers_are_bounded() {
    let mut state = State::new(Arc::new(Count::default()));
    for n in 0..MAX_READERS {
        let name = u8::try_from(n).expect("few");
        assert!(state.register(wish(Identity::Reader, name, 0), 0).is_ok());
    }
    let one_more = state.register(wish(Identity::Reader, 255, 0), 0);
    assert_eq!(one_more.err(), Some(NotRegistered::TooMany));
}

#[test]
fn an_admission_older_than_a_removal_is_void() {
    let mut state = State::new(Arc::new(Count::default()));
    let before = state.removals;
    state.remove(&id());
    let late = state.register(wish(Identity::Device(id()), 1, 0), before);
    assert_eq!(late.err(), Some(NotRegistered::Stale));
}

#[test]
fn a_session_that_ends_with_its_connection_cannot_be_made_to_last() {
    let mut state = State::new(Arc::new(Count::default()));
    let hour = Leave { with_will: false, lasting: Some(Duration::from_hours(1)) };
    let short = device(&mut state, 1, 0);
    state.leave(&short, hour);
    assert!(state.devices.is_empty());
    let long = device(&mut state, 2, 60);
    state.leave(&long, hour);
    assert_eq!(state.devices[&id()].sessions[0].lasting, Duration::from_hours(1));
}

#[test]
fn only_what_says_how_a_device_is_stays_retained() {
    let mut state = State::new(Arc::new(Count::default()));
    let publish = |kind, payload: &'static str| {
        let publish = Publish {
            topic: "x".into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            id: None,
            retain: true,
            expiry_s: None,
            has_alias: false,
        };
        Message::new(&publish, Topic { kind, device: id() })
    };
    for (kind, kept) in [(TopicKind::Presence, true), (TopicKind::Version, true), (TopicKind::Status, false)]
    {
        let message = publish(kind, "x");
        assert_eq!(message.retain, kept, "{kind:?}");
        state.route(message, 0, None);
    }
    state.route(publish(TopicKind::Version, "y"), 0, None);
    assert_eq!(state.devices[&id()].retained.len(), 2);
    for kind in [TopicKind::Presence, TopicKind::Version] {
        state.route(publish(kind, ""), 0, None);
    }
    assert!(state.devices.is_empty());
}
