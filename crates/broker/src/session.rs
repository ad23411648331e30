//! One session: what it listens to, what waits for it, and what is on its way. Neither a lock nor a socket.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{SubscribeAckReason, SubscriptionOptions};

use crate::limits::{Bounds, MAX_SUBSCRIPTIONS, READ_BYTES, RECEIVE_MAXIMUM};
use crate::message::{Closed, Credit, Delivery, Flow, Message, Signal};
use crate::packet::wants_retained;
use crate::topics;

/// Of the client id, hashed, or random where there was none.
pub(crate) type SessionName = [u8; 16];

pub(crate) struct Session {
    pub(crate) name: SessionName,
    /// Of its newest connection.
    pub(crate) number: u64,
    /// How it is woken; `None` while it is away.
    connection: Option<Arc<Signal>>,
    /// How long it outlives its connection.
    pub(crate) lasting: Duration,
    /// When it ends, while it is away.
    expires: Option<Instant>,
    /// Published when the connection is lost.
    pub(crate) will: Option<Box<Message>>,
    subscriptions: Vec<(ByteString, SubscriptionOptions)>,
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
    /// Sent and not acknowledged, in the order of their ids.
    inflight: VecDeque<(NonZeroU16, Delivery)>,
    /// So many of these, the last, are still to be sent once more on this connection.
    unsent: usize,
    next_id: NonZeroU16,
    window: usize,
    /// Messages at QoS 2 that were taken and not yet released.
    received: Vec<NonZeroU16>,
    bounds: &'static Bounds,
}

/// A message to be sent, with its id where it is to be acknowledged.
pub(crate) struct Next {
    pub(crate) message: Arc<Message>,
    pub(crate) id: Option<NonZeroU16>,
    pub(crate) retained: bool,
    pub(crate) again: bool,
}

/// The client has more messages at QoS 2 on their way than it was allowed.
pub(crate) struct TooMany;

impl Session {
    pub(crate) fn new(name: SessionName, bounds: &'static Bounds) -> Self {
        Self {
            name,
            number: 0,
            connection: None,
            lasting: Duration::ZERO,
            expires: None,
            will: None,
            subscriptions: Vec::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            inflight: VecDeque::new(),
            unsent: 0,
            next_id: NonZeroU16::MIN,
            window: 0,
            received: Vec::new(),
            bounds,
        }
    }

    pub(crate) fn connect(&mut self, number: u64, signal: Arc<Signal>, window: u16) {
        self.number = number;
        self.connection = Some(signal);
        self.expires = None;
        self.window = self.bounds.window.min(window).into();
        self.unsent = self.inflight.len();
    }

    /// Closes its connection, if it has one. The session is away, or has ended.
    pub(crate) fn close(&mut self, why: Closed) {
        if let Some(signal) = self.connection.take() {
            signal.close(why);
        }
        self.expires = Instant::now().checked_add(self.lasting);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(crate) fn has_ended(&self, now: Instant) -> bool {
        !self.is_connected() && self.expires.is_none_or(|end| end <= now)
    }

    pub(crate) fn is_listening(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    pub(crate) fn listens_to(&self, topic: &str) -> bool {
        self.subscriptions.iter().any(|(filter, _)| topics::matches(filter, topic))
    }

    /// How full its queue is, in percent.
    pub(crate) fn filled(&self) -> usize {
        (self.queue.len() * 100 / self.bounds.messages).max(self.queued_bytes * 100 / self.bounds.bytes)
    }

    /// Whether its client has acknowledged everything.
    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.inflight.is_empty()
    }

    /// Takes a message if it listens to its topic. `sender`: the number of the connection that it came from. With
    /// `credit_of` the sender is not read from until this session has acknowledged enough.
    pub(crate) fn offer(&mut self, message: &Arc<Message>, sender: u64, credit_of: Option<&Arc<Flow>>) {
        let own = sender == self.number;
        let wanted = |(filter, options): &&(ByteString, SubscriptionOptions)| {
            !(own && options.no_local) && topics::matches(filter, &message.topic)
        };
        let Some((_, options)) = self.subscriptions.iter().filter(wanted).max_by_key(|(_, o)| o.qos) else {
            return;
        };
        // The server's own client takes everything at QoS 1: else a flood at QoS 0 would fill the sockets on the way
        // to it, where no credit counts.
        let is_sure = self.bounds.waits || message.qos > QoS::AtMostOnce;
        let acknowledged = options.qos > QoS::AtMostOnce && is_sure;
        if !acknowledged && !self.is_connected() {
            return;
        }
        let credit = credit_of.map(Credit::new);
        let retained = message.retain && options.retain_as_published;
        self.push(Delivery { message: Arc::clone(message), acknowledged, retained, _credit: credit });
        while !self.bounds.waits
            && (self.queue.len() > self.bounds.messages || self.queued_bytes > self.bounds.bytes)
        {
            self.pop();
        }
    }

    fn push(&mut self, delivery: Delivery) {
        self.queued_bytes += delivery.message.payload.len();
        self.queue.push_back(delivery);
        if let Some(signal) = &self.connection {
            signal.wake.notify_one();
        }
    }

    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        self.queued_bytes -= delivery.message.payload.len();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// Adds a subscription, or changes it. The second value says whether retained messages are wanted.
    pub(crate) fn subscribe(
        &mut self,
        filter: &ByteString,
        options: SubscriptionOptions,
    ) -> (SubscribeAckReason, bool) {
        let position = self.subscriptions.iter().position(|(known, _)| known == filter);
        match position {
            Some(position) => self.subscriptions[position].1 = options,
            None if self.subscriptions.len() >= MAX_SUBSCRIPTIONS => {
                return (SubscribeAckReason::QuotaExceeded, false);
            }
            None => self.subscriptions.push((ByteString::from(&**filter), options)),
        }
        let granted = match options.qos {
            QoS::AtMostOnce => SubscribeAckReason::GrantedQos0,
            _ => SubscribeAckReason::GrantedQos1,
        };
        (granted, wants_retained(options, position.is_none()))
    }

    /// Queues a message that was kept.
    pub(crate) fn offer_retained(&mut self, message: &Arc<Message>, qos: QoS) {
        let acknowledged = qos.min(message.qos) > QoS::AtMostOnce;
        self.push(Delivery { message: Arc::clone(message), acknowledged, retained: true, _credit: None });
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|(known, _)| known != filter);
        self.subscriptions.len() < before
    }

    pub(crate) fn acknowledge(&mut self, id: NonZeroU16) {
        // Mostly the first.
        if let Some(position) = self.inflight.iter().position(|(other, _)| *other == id) {
            self.inflight.remove(position);
            if position + self.unsent > self.inflight.len() {
                self.unsent -= 1;
            }
            if self.inflight.is_empty() {
                self.inflight = VecDeque::new();
            }
        }
    }

    /// Whether a message at QoS 2 is new; until it is released it is not taken again.
    pub(crate) fn receive(&mut self, id: NonZeroU16) -> Result<bool, TooMany> {
        if self.received.contains(&id) {
            return Ok(false);
        }
        if self.received.len() >= RECEIVE_MAXIMUM.into() {
            return Err(TooMany);
        }
        self.received.push(id);
        Ok(true)
    }

    pub(crate) fn release(&mut self, id: NonZeroU16) -> bool {
        let before = self.received.len();
        self.received.retain(|other| *other != id);
        self.received.len() < before
    }

    /// What can be sent now, about [`READ_BYTES`] at a time.
    pub(crate) fn next(&mut self, now: Instant, batch: &mut Vec<Next>) {
        let mut bytes = 0;
        while bytes < READ_BYTES && self.inflight.len() - self.unsent < self.window {
            if self.unsent > 0 {
                let (id, delivery) = &self.inflight[self.inflight.len() - self.unsent];
                self.unsent -= 1;
                let (message, retained) = (Arc::clone(&delivery.message), delivery.retained);
                bytes += message.topic.len() + message.payload.len();
                batch.push(Next { message, id: Some(*id), retained, again: true });
                continue;
            }
            // The ids in flight follow each other, so that only the oldest can still have this one.
            if self.inflight.front().is_some_and(|(oldest, _)| *oldest == self.next_id) {
                break;
            }
            let Some(delivery) = self.pop() else { break };
            if delivery.message.is_expired(now) {
                continue;
            }
            let (message, retained) = (Arc::clone(&delivery.message), delivery.retained);
            bytes += message.topic.len() + message.payload.len();
            let id = delivery.acknowledged.then_some(self.next_id);
            if let Some(id) = id {
                self.next_id = id.checked_add(1).unwrap_or(NonZeroU16::MIN);
                self.inflight.push_back((id, delivery));
            }
            batch.push(Next { message, id, retained, again: false });
        }
    }
}
