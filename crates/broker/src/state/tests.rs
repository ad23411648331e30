use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use contract::{Topic, TopicKind};

use super::*;
use crate::admission::Unavailable;
use crate::packet::Publish;

/// Whether the device is there, how often it was told that it has begun to listen, and whether it listens.
#[derive(Default)]
struct Count(AtomicI64, AtomicI64, AtomicI64);

#[async_trait::async_trait]
impl Admission for Count {
    async fn admit(&self, _: &str, _: &[u8]) -> Result<bool, Unavailable> {
        Ok(true)
    }
    async fn admit_reader(&self, _: &[u8]) -> Result<bool, Unavailable> {
        Ok(true)
    }
    /// Once more where a connection is taken over.
    fn connected(&self, _: DeviceId) {
        self.0.store(1, Ordering::Relaxed);
        self.2.store(0, Ordering::Relaxed);
    }
    fn listens(&self, _: &DeviceId, listens: bool) {
        self.1.fetch_add(i64::from(listens), Ordering::Relaxed);
        self.2.store(i64::from(listens), Ordering::Relaxed);
    }
    fn disconnected(&self, _: DeviceId) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn it_is_told_when_a_device_listens_to_its_triggers() {
    let count = Arc::new(Count::default());
    let mut state = State::new(count.clone());
    let told = || count.1.load(Ordering::Relaxed);
    let member = device(&mut state, 1, 60);
    for (filter, expected) in [("devices/a/ota/control", 0), ("devices/b/ota", 0), ("devices/a/#", 1)] {
        subscribe(&mut state, &member, filter);
        assert_eq!(told(), expected, "{filter}");
    }
    state.leave(&member, Leave::LOST);
    device(&mut state, 1, 60);
    assert_eq!(told(), 2, "its session was kept, and with it what it listens to");
    device(&mut state, 2, 0);
    assert_eq!(told(), 2, "this one has not subscribed");
}

fn subscribe(state: &mut State, member: &Member, filter: &'static str) {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let filters = [(ByteString::from_static(filter), options)];
    state.subscribe(member, &filters, |filter| !filter.contains("/b/")).expect("connected");
}

#[test]
fn a_device_listens_while_one_of_its_connections_does() {
    let count = Arc::new(Count::default());
    let mut state = State::new(count.clone());
    let said = || (count.1.load(Ordering::Relaxed), count.2.load(Ordering::Relaxed) == 1);
    let first = device(&mut state, 1, 0);
    let second = device(&mut state, 2, 0);
    assert_eq!(said(), (0, false));
    subscribe(&mut state, &first, "devices/a/ota");
    subscribe(&mut state, &first, "devices/a/#");
    assert_eq!(said(), (1, true), "it listened already");
    state.leave(&first, Leave::LOST);
    assert_eq!(said(), (1, false), "the other one does not listen");
    subscribe(&mut state, &second, "devices/a/ota");
    let third = device(&mut state, 3, 0);
    assert_eq!(said(), (2, true));
    subscribe(&mut state, &third, "devices/a/ota");
    assert_eq!(said(), (3, true), "the second may be dead already");
    let take_over = |state: &mut State| {
        let wish = Wish { clean: true, ..wish(Identity::Device(id()), 3, 0) };
        state.register(wish, 0).expect("in").0
    };
    let again = take_over(&mut state);
    assert_eq!(said(), (4, true), "the second still listens");
    state.unsubscribe(&second, &["devices/a/ota".into()]).expect("connected");
    assert_eq!(said(), (4, false));
    subscribe(&mut state, &again, "devices/a/ota");
    take_over(&mut state);
    assert_eq!(said(), (5, false), "who took it over has not subscribed");
    assert!(state.unsubscribe(&again, &["devices/a/ota".into()]).is_err());
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
    assert!(state.register(wish(Identity::Reader, 1, 0), 0).is_ok(), "it takes its own connection over");
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

fn publish(kind: TopicKind, payload: impl Into<Bytes>) -> Message {
    let publish = Publish {
        topic: "x".into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        id: None,
        again: false,
        retain: true,
        expiry_s: NonZeroU32::new(60),
        has_alias: false,
    };
    Message::new(&publish, Topic { kind, device: id() })
}

/// A client of the server that listens to everything, and keeps its session.
fn server(state: &mut State, window: u16) -> Member {
    let wish = Wish { window, ..wish(Identity::Server, 0, 60) };
    let member = state.register(wish, 0).expect("in").0;
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    state.subscribe(&member, &[("#".into(), options)], |_| true).expect("subscribed");
    member
}

fn next(state: &mut State, member: &Member) -> Vec<Next> {
    let mut batch = Vec::new();
    state.next(member, &mut batch).expect("connected");
    batch
}

fn acknowledge(state: &mut State, member: &Member, batch: &[Next]) {
    let session = state.session(member).expect("connected");
    for next in batch {
        session.acknowledge(next.id.expect("an id"));
    }
}

#[test]
fn a_last_will_expires_from_when_it_is_said_and_cannot_fill_the_memory() {
    let mut state = State::new(Arc::new(Count::default()));
    let server = server(&mut state, 16);
    for _ in 0..2000 {
        let mut will = publish(TopicKind::Presence, "offline");
        will.published = Instant::now().checked_sub(Duration::from_secs(50)).expect("up for a minute");
        let wish = Wish { will: Some(Box::new(will)), ..wish(Identity::Device(id()), 1, 0) };
        let member = state.register(wish, 0).expect("in").0;
        state.leave(&member, Leave::LOST);
    }
    let mut count = 0;
    loop {
        let batch = next(&mut state, &server);
        if batch.is_empty() {
            break;
        }
        count += batch.len();
        assert_eq!(batch[0].message.expiry_s(Instant::now()), NonZeroU32::new(60));
        acknowledge(&mut state, &server, &batch);
    }
    assert_eq!(count, 2 * MAX_UNHANDLED);
    assert_eq!(state.devices[&id()].flow.unhandled(), 0);
}

#[test]
fn devices_wait_while_the_server_does_not_listen_or_has_too_much() {
    let mut state = State::new(Arc::new(Count::default()));
    let one = device(&mut state, 1, 0);
    assert!(state.is_paused(&one, false), "nobody listens");
    let listening = server(&mut state, u16::MAX);
    let other = state.register(wish(Identity::Device("b".parse().expect("valid")), 1, 0), 0).expect("in").0;
    assert!(!state.is_paused(&other, false));
    let payload = Bytes::from(vec![b'x'; 16 * 1024]);
    for n in 0..64 * 64 {
        assert!(!state.is_paused(&other, false), "after {n}");
        assert_eq!(state.is_paused(&one, false), n >= MAX_UNHANDLED, "after {n}");
        state.publish(&one, publish(TopicKind::Status, payload.clone())).expect("connected");
    }
    assert!(state.is_paused(&other, false), "64 MiB");
    // Another connection of the same device sends no more than this one, and the server's session keeps it all.
    state.leave(&one, Leave::LOST);
    let again = device(&mut state, 1, 0);
    state.leave(&listening, Leave::LOST);
    assert!(state.is_paused(&again, false) && state.is_paused(&other, false));
    let back = server(&mut state, u16::MAX);
    for n in 0..64 * 64 {
        let batch = next(&mut state, &back);
        assert_eq!(batch.len(), 1);
        acknowledge(&mut state, &back, &batch);
        assert_eq!(state.is_paused(&other, true), n < 64 * 32, "after {n}");
    }
    assert!(!state.is_paused(&again, true));
}

#[test]
fn what_is_sent_again_keeps_to_what_the_client_takes() {
    let mut state = State::new(Arc::new(Count::default()));
    let first = server(&mut state, 16);
    for _ in 0..20 {
        state.route(publish(TopicKind::Status, "x"), 0, None);
    }
    let sent = next(&mut state, &first);
    assert_eq!(sent.len(), 16);
    let again = server(&mut state, 3);
    let mut came = Vec::new();
    while let batch @ [_, ..] = &next(&mut state, &again)[..] {
        assert!(batch.len() <= 3);
        came.extend(batch.iter().map(|next| (next.id, next.again)));
        acknowledge(&mut state, &again, batch);
    }
    assert!(came.len() == 20 && came.iter().enumerate().all(|(n, (_, again))| *again == (n < 16)));
    assert!(came[..16].iter().map(|(id, _)| *id).eq(sent.iter().map(|next| next.id)));
}

#[test]
fn only_what_says_how_a_device_is_stays_retained() {
    let mut state = State::new(Arc::new(Count::default()));
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
