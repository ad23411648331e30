//! Who is connected, which sessions there are, and what is retained. A message of a device goes to the sessions of
//! that device, to the server's and to those of API tokens, and to nobody else, so that none of this grows with the fleet.
//!
//! All of it is behind one lock ([`Shared::state`](crate::shared::Shared::state)), which is locked for microseconds.
//! [`Admission`] is told under it who came and went, so in the order in which they did.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use contract::DeviceId;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{SubscribeAckReason, SubscriptionOptions};

use crate::admission::Admission;
use crate::limits::{self, MAX_CONNECTIONS, MAX_READERS, MAX_SESSIONS, MAX_UNHANDLED, SERVER_QUEUE};
use crate::member::{Gone, Leave, Member, NotRegistered, Wish};
use crate::message::{Closed, Message, Signal};
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
    /// So much waits for the server that nothing more is read from devices.
    is_full: bool,
    /// To be woken once that is over.
    paused: Vec<Arc<Signal>>,
    admission: Arc<dyn Admission>,
}

#[derive(Default)]
struct Device {
    sessions: Vec<Session>,
    retained: Vec<Arc<Message>>,
}

impl Device {
    fn connected(&self) -> usize {
        self.sessions.iter().filter(|session| session.is_connected()).count()
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
            paused: Vec::new(),
            admission,
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
        if wish.identity == Identity::Reader && self.readers.len() >= MAX_READERS {
            return Err(NotRegistered::TooMany);
        }
        self.connections += 1;
        let Wish { identity, name, lasting, clean, will, window } = wish;
        let (number, signal) = (self.connections, Arc::<Signal>::default());
        let member = Member { identity, name, number, signal: Arc::clone(&signal) };
        let was_connected = match &member.identity {
            Identity::Device(id) => self.devices.get(id).is_some_and(|device| device.connected() > 0),
            _ => true,
        };
        let (sessions, bounds) = self.sessions(&member.identity);
        let position = sessions.iter().position(|session| session.name == name);
        let position = position.unwrap_or_else(|| {
            sessions.push(Session::new(name, bounds));
            sessions.len() - 1
        });
        let session = &mut sessions[position];
        let is_there =
            session.number > 0 && !clean && (session.is_connected() || !session.has_ended(Instant::now()));
        session.close(Closed::TakenOver);
        let last_will = session.will.take();
        if !is_there {
            *session = Session::new(name, bounds);
        }
        (session.lasting, session.will) = (lasting, will);
        session.connect(number, signal, window);
        if let Some(will) = last_will {
            self.route(*will, 0, None);
        }
        if let (Identity::Device(id), false) = (&member.identity, was_connected) {
            self.admission.connected(id.clone());
        }
        if let Identity::Device(id) = &member.identity {
            self.bound(id);
        }
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
        if let Some(will) = will {
            self.route(*will, 0, None);
        }
    }

    pub(crate) fn leave(&mut self, member: &Member, leave: Leave) {
        let Ok(session) = self.session(member) else { return };
        // A session that was to end with its connection cannot be made to last afterwards.
        if let Some(lasting) = leave.lasting.filter(|_| session.lasting > Duration::ZERO) {
            session.lasting = lasting;
        }
        let will = session.will.take().filter(|_| leave.with_will);
        session.close(Closed::Left);
        if let Some(will) = will {
            self.route(*will, 0, None);
        }
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
                let is_empty = device.sessions.is_empty() && device.retained.is_empty();
                if device.connected() == 0 {
                    self.admission.disconnected(id.clone());
                }
                if is_empty {
                    self.devices.remove(id);
                }
            }
        }
    }

    /// To all who listen. A device's messages are counted until the server has acknowledged them.
    pub(crate) fn publish(&mut self, member: &Member, message: Message) -> Result<(), Gone> {
        self.session(member)?;
        let credit_of = matches!(member.identity, Identity::Device(_)).then_some(&member.signal);
        self.route(message, member.number, credit_of);
        Ok(())
    }

    /// `sender`: the number of the connection that it came from, or 0; where it is a device's, the
    /// signal that is credited.
    fn route(&mut self, message: Message, sender: u64, credit_of: Option<&Arc<Signal>>) {
        let message = Arc::new(message);
        if message.retain {
            self.retain(&message);
        }
        if let Some(device) = self.devices.get_mut(&message.device) {
            device.sessions.iter_mut().for_each(|session| session.offer(&message, sender, None));
        }
        for server in &mut self.servers {
            server.offer(&message, sender, credit_of);
            self.is_full |= server.is_connected() && server.queued() >= SERVER_QUEUE;
        }
        if !self.readers.is_empty() && topics::may_be_read(message.kind, &message.payload) {
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
            if device.sessions.is_empty() && device.retained.is_empty() {
                self.devices.remove(&message.device);
            }
        }
    }

    /// Subscribes to those filters that are allowed, one answer each.
    pub(crate) fn subscribe(
        &mut self,
        member: &Member,
        filters: &[(ByteString, SubscriptionOptions)],
        is_allowed: impl Fn(&str) -> bool,
    ) -> Result<Vec<SubscribeAckReason>, Gone> {
        let mut granted = Vec::with_capacity(filters.len());
        for (filter, options) in filters {
            if !is_allowed(filter) {
                granted.push(SubscribeAckReason::NotAuthorized);
                continue;
            }
            let (answer, wants_retained) = self.session(member)?.subscribe(filter, *options);
            granted.push(answer);
            if wants_retained {
                self.send_retained(member, filter, options.qos)?;
            }
        }
        Ok(granted)
    }

    /// Queues what was retained on the topics of a filter, for whoever has just subscribed to it.
    fn send_retained(&mut self, member: &Member, filter: &str, qos: QoS) -> Result<(), Gone> {
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
                && (!reads || topics::may_be_read(message.kind, &message.payload))
        };
        let wanted: Vec<_> = all.into_iter().filter(wanted).cloned().collect();
        let session = self.session(member)?;
        if !session.is_full() {
            for message in &wanted {
                session.offer_retained(message, qos);
            }
        }
        Ok(())
    }

    /// Whether nothing is to be read from a connection now; it is woken when it may ask again.
    pub(crate) fn is_paused(&mut self, member: &Member, was_paused: bool) -> bool {
        if !matches!(member.identity, Identity::Device(_)) {
            return false;
        }
        let most = if was_paused { MAX_UNHANDLED / 2 + 1 } else { MAX_UNHANDLED };
        if self.is_full {
            self.paused.push(Arc::clone(&member.signal));
        }
        self.is_full || member.signal.unhandled() >= most
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
        let has_room = |server: &Session| !server.is_connected() || server.queued() <= SERVER_QUEUE / 2;
        if self.is_full && self.servers.iter().all(has_room) {
            self.is_full = false;
            self.paused.drain(..).for_each(|signal| signal.wake.notify_one());
        }
    }

    /// Closes every connection of a device, says its last wills and forgets its sessions.
    pub(crate) fn remove(&mut self, id: &DeviceId) {
        self.removals += 1;
        let Some(device) = self.devices.get_mut(id) else { return };
        let was_connected = device.connected() > 0;
        let mut sessions = std::mem::take(&mut device.sessions);
        if device.retained.is_empty() {
            self.devices.remove(id);
        }
        for session in &mut sessions {
            session.close(Closed::Removed);
            if let Some(will) = session.will.take() {
                self.route(*will, 0, None);
            }
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
        self.devices.retain(|_, device| {
            device.sessions.retain(|session| !session.has_ended(now));
            device.retained.retain(|message| !message.is_expired(now));
            !device.sessions.is_empty() || !device.retained.is_empty()
        });
    }
}
