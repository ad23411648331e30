//! Who is connected, which sessions there are, and what is retained. A message of a device goes to the sessions of
//! that device, to the server's and to those of API tokens, and to nobody else, so that none of this grows with the fleet.
//!
//! All of it is behind one lock ([`Shared::state`](crate::shared::Shared::state)), which is locked for microseconds.
//! [`Admission`] is told under it who came and went, so in the order in which they did.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::RandomState;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{SubscribeAckReason, SubscriptionOptions};

use crate::admission::Admission;
use crate::limits::{self, MAX_CONNECTIONS, MAX_READERS, MAX_SESSIONS, MAX_SUBSCRIPTIONS, MAX_UNHANDLED};
use crate::member::{Gone, Leave, Member, NotRegistered, Wish};
use crate::message::{Closed, Flow, Message, Signal};
use crate::repeats::{Mark, Repeats};
use crate::session::{Next, Session};
use crate::topics::{self, Identity};

pub(crate) struct State {
    devices: HashMap<DeviceId, Device>,
    servers: Vec<Session>,
    readers: Vec<Session>,
    /// Connections so far.
    connections: u64,
    /// Grows with every removal: an admission that was decided before one is void.
    pub(crate) removals: u64,
    stopped: bool,
    /// So much waits for the server, or it is about to stop, that devices publish nothing more.
    is_full: bool,
    is_draining: bool,
    admission: Arc<dyn Admission>,
    hasher: RandomState,
}

#[derive(Default)]
struct Device {
    sessions: Vec<Session>,
    retained: Vec<Arc<Message>>,
    flow: Arc<Flow>,
    repeats: Repeats,
}

impl Device {
    fn connected(&self) -> usize {
        self.sessions.iter().filter(|session| session.is_connected()).count()
    }

    fn listens_to(&self, topic: &str) -> bool {
        self.sessions.iter().any(|session| session.is_connected() && session.listens_to(topic))
    }

    /// Whether it may be forgotten. What the server has not handled yet goes on counting.
    fn is_empty(&self) -> bool {
        let is_quiet = self.flow.unhandled() == 0 && self.repeats.is_over(Instant::now());
        self.sessions.is_empty() && self.retained.is_empty() && is_quiet
    }
}

impl State {
    pub(crate) fn new(admission: Arc<dyn Admission>) -> Self {
        Self {
            devices: HashMap::new(),
            servers: Vec::new(),
            readers: Vec::new(),
            connections: 0,
            removals: 0,
            stopped: false,
            is_full: false,
            is_draining: false,
            admission,
            hasher: RandomState::new(),
        }
    }

    /// Registers a connection whose password was right; the second value says whether its session was there. Whoever
    /// had the session is closed, its last will said, before this returns.
    pub(crate) fn register(&mut self, wish: Wish, removals: u64) -> Result<(Member, bool), NotRegistered> {
        if self.stopped {
            return Err(NotRegistered::Stopped);
        }
        if self.removals != removals {
            return Err(NotRegistered::Stale);
        }
        let is_new = || self.readers.iter().all(|reader| reader.name != wish.name);
        if wish.identity == Identity::Reader && self.readers.len() >= MAX_READERS && is_new() {
            return Err(NotRegistered::TooMany);
        }
        self.connections += 1;
        let Wish { identity, name, lasting, clean, will, window } = wish;
        let (number, signal) = (self.connections, Arc::<Signal>::default());
        let (was_connected, flow) = match &identity {
            Identity::Device(id) => {
                let device = self.devices.entry(id.clone()).or_default();
                (device.connected() > 0, Arc::clone(&device.flow))
            }
            _ => (true, Arc::default()),
        };
        let member = Member { identity, name, number, signal: Arc::clone(&signal), flow };
        let (sessions, bounds) = self.sessions(&member.identity);
        let position = sessions.iter().position(|session| session.name == name);
        let position = position.unwrap_or_else(|| {
            sessions.push(Session::new(name, bounds));
            sessions.len() - 1
        });
        let session = &mut sessions[position];
        let is_there =
            session.number > 0 && !clean && (session.is_connected() || !session.has_ended(Instant::now()));
        let takes_over = session.is_connected();
        session.close(Closed::TakenOver);
        let last_will = session.will.take();
        if !is_there {
            *session = Session::new(name, bounds);
        }
        (session.lasting, session.will) = (lasting, will);
        session.connect(number, signal, window);
        self.say(last_will);
        if let Identity::Device(id) = &member.identity {
            let is_first = takes_over || !was_connected;
            if is_first {
                self.admission.connected(id.clone());
            }
            self.bound(id);
            let resumes = self.session(&member).is_ok_and(|session| session.listens_to(&trigger_of(id)));
            self.tell_listens(id, is_first || resumes);
        }
        self.drained();
        Ok((member, is_there))
    }

    fn sessions(&mut self, identity: &Identity) -> (&mut Vec<Session>, &'static limits::Bounds) {
        match identity {
            Identity::Server => (&mut self.servers, &limits::SERVER),
            Identity::Reader => (&mut self.readers, &limits::READER),
            Identity::Device(id) => {
                (&mut self.devices.entry(id.clone()).or_default().sessions, &limits::DEVICE)
            }
        }
    }

    /// The session of a connection that is still the one which has it.
    pub(crate) fn session(&mut self, member: &Member) -> Result<&mut Session, Gone> {
        let sessions = match &member.identity {
            Identity::Server => &mut self.servers,
            Identity::Reader => &mut self.readers,
            Identity::Device(id) => &mut self.devices.get_mut(id).ok_or(Gone)?.sessions,
        };
        let is_its = |session: &&mut Session| session.number == member.number && session.is_connected();
        sessions.iter_mut().find(is_its).ok_or(Gone)
    }

    /// Closes a device's oldest connection and forgets its oldest session, where there are too many.
    fn bound(&mut self, id: &DeviceId) {
        let Some(device) = self.devices.get_mut(id) else { return };
        let mut will = None;
        if device.connected() > MAX_CONNECTIONS {
            let connected = device.sessions.iter_mut().filter(|session| session.is_connected());
            if let Some(oldest) = connected.min_by_key(|session| session.number) {
                oldest.close(Closed::TooMany);
                will = oldest.will.take();
            }
        }
        let now = Instant::now();
        device.sessions.retain(|session| session.is_connected() || !session.has_ended(now));
        if device.sessions.iter().filter(|session| session.lasting > Duration::ZERO).count() > MAX_SESSIONS {
            let away = device.sessions.iter().filter(|session| !session.is_connected());
            // There is one, since fewer connections than sessions are allowed.
            let oldest = away.map(|session| session.number).min();
            device.sessions.retain(|session| Some(session.number) != oldest);
        }
        self.say(will);
    }

    pub(crate) fn leave(&mut self, member: &Member, leave: Leave) {
        let Ok(session) = self.session(member) else { return };
        // A session that was to end with its connection cannot be made to last afterwards.
        if let Some(lasting) = leave.lasting.filter(|_| session.lasting > Duration::ZERO) {
            session.lasting = lasting;
        }
        let will = session.will.take().filter(|_| leave.with_will);
        session.close(Closed::Left);
        self.say(will);
        let now = Instant::now();
        match &member.identity {
            Identity::Server => {
                self.servers.retain(|session| !session.has_ended(now));
                self.drained();
            }
            Identity::Reader => self.readers.retain(|session| !session.has_ended(now)),
            Identity::Device(id) => {
                let Some(device) = self.devices.get_mut(id) else { return };
                device.sessions.retain(|session| !session.has_ended(now));
                if device.connected() == 0 {
                    self.admission.disconnected(id.clone());
                } else {
                    self.tell_listens(id, false);
                }
                if self.devices.get(id).is_some_and(Device::is_empty) {
                    self.devices.remove(id);
                }
            }
        }
    }

    /// To all who listen. A device's messages are counted until the server has acknowledged them.
    pub(crate) fn publish(&mut self, member: &Member, message: Message) -> Result<(), Gone> {
        self.session(member)?;
        let credit_of = matches!(member.identity, Identity::Device(_)).then_some(&member.flow);
        self.route(message, member.number, credit_of);
        Ok(())
    }

    /// Publishes a last will, now. Nothing holds it back: where too much waits already the server does not hear it.
    fn say(&mut self, will: Option<Box<Message>>) {
        let Some(mut will) = will else { return };
        will.published = Instant::now();
        let flow = self.devices.get(&will.device).map(|device| Arc::clone(&device.flow));
        self.route(*will, 0, flow.as_ref());
    }

    /// `sender`: the number of the connection that it came from, or 0 for a last will; where it is a device's, the flow
    /// that it counts in.
    fn route(&mut self, message: Message, sender: u64, credit_of: Option<&Arc<Flow>>) {
        let message = Arc::new(message);
        if message.retain {
            self.retain(&message);
        }
        if let Some(device) = self.devices.get_mut(&message.device) {
            device.sessions.iter_mut().for_each(|session| session.offer(&message, sender, None));
        }
        let is_much = credit_of.is_some_and(|flow| flow.unhandled() >= 2 * MAX_UNHANDLED);
        for server in &mut self.servers {
            if sender > 0 || !is_much && server.filled() < 200 {
                server.offer(&message, sender, credit_of);
            }
            self.is_full |= server.filled() >= 100;
        }
        if message.is_readable {
            self.readers.iter_mut().for_each(|reader| reader.offer(&message, sender, None));
        }
    }

    fn retain(&mut self, message: &Arc<Message>) {
        if message.is_kept() {
            let device = self.devices.entry(message.device.clone()).or_default();
            device.retained.retain(|other| other.kind != message.kind);
            device.retained.push(Arc::clone(message));
        } else if let Some(device) = self.devices.get_mut(&message.device) {
            device.retained.retain(|other| other.kind != message.kind);
            if device.is_empty() {
                self.devices.remove(&message.device);
            }
        }
    }

    /// Publishes a message at QoS 1, unless it repeats one that was acknowledged.
    pub(crate) fn publish_once(
        &mut self,
        member: &Member,
        message: Message,
        id: NonZeroU16,
        again: bool,
    ) -> Result<(), Gone> {
        let mark = Mark::of(&self.hasher, id, &message);
        let Identity::Device(device) = &member.identity else { return self.publish(member, message) };
        if again && self.devices.get(device).is_some_and(|device| device.repeats.has(mark, Instant::now())) {
            return Ok(());
        }
        self.publish(member, message)?;
        if let Some(device) = self.devices.get_mut(device) {
            device.repeats.note(mark, Instant::now());
        }
        Ok(())
    }

    /// Subscribes to those filters that are allowed, one answer each; `true` where [`State::send_retained`] is wanted.
    pub(crate) fn subscribe(
        &mut self,
        member: &Member,
        filters: &[(ByteString, SubscriptionOptions)],
        is_allowed: impl Fn(&str) -> bool,
    ) -> Result<Vec<(SubscribeAckReason, bool)>, Gone> {
        let trigger = match &member.identity {
            Identity::Device(id) => Some(trigger_of(id)),
            _ => None,
        };
        let session = self.session(member)?;
        let listened = trigger.as_ref().is_some_and(|trigger| session.listens_to(trigger));
        let answer = |(n, (filter, options)): (usize, &(ByteString, SubscriptionOptions))| {
            if n >= MAX_SUBSCRIPTIONS {
                (SubscribeAckReason::QuotaExceeded, false)
            } else if is_allowed(filter) {
                session.subscribe(filter, *options)
            } else {
                (SubscribeAckReason::NotAuthorized, false)
            }
        };
        let answers = filters.iter().enumerate().map(answer).collect();
        let listens = trigger.is_some_and(|trigger| session.listens_to(&trigger));
        match &member.identity {
            Identity::Device(id) => self.tell_listens(id, listens && !listened),
            Identity::Server => self.wake_devices(),
            Identity::Reader => {}
        }
        Ok(answers)
    }

    /// Answers which of the subscriptions there were.
    pub(crate) fn unsubscribe(&mut self, member: &Member, filters: &[ByteString]) -> Result<Vec<bool>, Gone> {
        let session = self.session(member)?;
        let existed = filters.iter().map(|filter| session.unsubscribe(filter)).collect();
        if let Identity::Device(id) = &member.identity {
            self.tell_listens(id, false);
        }
        Ok(existed)
    }

    /// Tells whether a device listens to its triggers over any of its connections. `begins`: one of them may have begun to.
    fn tell_listens(&self, id: &DeviceId, begins: bool) {
        let listens = self.devices.get(id).is_some_and(|device| device.listens_to(&trigger_of(id)));
        if begins || !listens {
            self.admission.listens(id, listens);
        }
    }

    /// Queues what was retained on the topics of a filter, for whoever has just subscribed to it. A queue that is full
    /// already takes none, so that subscribing over and over does not fill the memory.
    pub(crate) fn send_retained(&mut self, member: &Member, filter: &str, qos: QoS) -> Result<(), Gone> {
        if self.session(member)?.filled() >= 100 {
            return Ok(());
        }
        let now = Instant::now();
        let all = match &member.identity {
            Identity::Device(id) => {
                self.devices.get(id).into_iter().flat_map(|device| &device.retained).collect::<Vec<_>>()
            }
            _ => self.devices.values().flat_map(|device| &device.retained).collect(),
        };
        let reads = member.identity == Identity::Reader;
        let wanted = |message: &&Arc<Message>| {
            topics::matches(filter, &message.topic)
                && !message.is_expired(now)
                && (!reads || message.is_readable)
        };
        let wanted: Vec<_> = all.into_iter().filter(wanted).cloned().collect();
        let session = self.session(member)?;
        for message in &wanted {
            session.offer_retained(message, qos);
        }
        Ok(())
    }

    /// Whether a connection may not publish now; [`Flow::room`] says when it may ask again. What is taken is
    /// acknowledged, so that nothing is while the server does not listen.
    pub(crate) fn is_paused(&self, member: &Member, was_paused: bool) -> bool {
        if !matches!(member.identity, Identity::Device(_)) {
            return false;
        }
        let most = if was_paused { MAX_UNHANDLED / 2 + 1 } else { MAX_UNHANDLED };
        let is_heard = !self.is_draining && self.servers.iter().any(Session::is_listening);
        !is_heard || self.is_full || member.flow.unhandled() >= most
    }

    /// Devices publish nothing more, so that what they did can be handled.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Whether the server has handled everything.
    pub(crate) fn is_done(&self) -> bool {
        self.servers.iter().all(Session::is_done)
    }

    /// What is to be sent next.
    pub(crate) fn next(&mut self, member: &Member, batch: &mut Vec<Next>) -> Result<(), Gone> {
        self.session(member)?.next(Instant::now(), batch);
        if member.identity == Identity::Server {
            self.drained();
        }
        Ok(())
    }

    /// Something was taken from the server's queue, or its session has ended.
    fn drained(&mut self) {
        if self.is_full && self.servers.iter().all(|server| server.filled() < 50) {
            self.is_full = false;
            self.wake_devices();
        }
    }

    fn wake_devices(&self) {
        self.devices.values().for_each(|device| device.flow.room.notify_waiters());
    }

    /// Closes every connection of a device, says its last wills and forgets its sessions.
    pub(crate) fn remove(&mut self, id: &DeviceId) {
        self.removals += 1;
        let Some(device) = self.devices.get_mut(id) else { return };
        let was_connected = device.connected() > 0;
        for mut session in std::mem::take(&mut device.sessions) {
            session.close(Closed::Removed);
            self.say(session.will.take());
        }
        if let Some(device) = self.devices.get_mut(id) {
            device.repeats = Repeats::default();
        }
        if self.devices.get(id).is_some_and(Device::is_empty) {
            self.devices.remove(id);
        }
        if was_connected {
            self.admission.disconnected(id.clone());
        }
    }

    /// Closes every connection; no new one is registered.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        for (id, device) in std::mem::take(&mut self.devices) {
            if device.connected() > 0 {
                self.admission.disconnected(id);
            }
            device.sessions.into_iter().for_each(|mut session| session.close(Closed::Stopping));
        }
        let wide = self.servers.drain(..).chain(self.readers.drain(..));
        wide.for_each(|mut session| session.close(Closed::Stopping));
    }

    /// Forgets what has ended: sessions, and retained messages with an expiry.
    pub(crate) fn sweep(&mut self) {
        let now = Instant::now();
        self.servers.retain(|session| !session.has_ended(now));
        self.drained();
        self.devices.retain(|_, device| {
            device.sessions.retain(|session| !session.has_ended(now));
            device.retained.retain(|message| !message.is_expired(now));
            !device.is_empty()
        });
    }
}

/// Its topic is the same whatever the version topic is.
fn trigger_of(id: &DeviceId) -> ByteString {
    Topic { kind: TopicKind::Trigger, device: id.clone() }.write(&VersionTopic::default()).as_str().into()
}
