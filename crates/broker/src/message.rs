//! A message, on its way to one session or more; the signal to a connection; and the credit of what a device has sent.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use contract::{DeviceId, Topic, TopicKind};
use rmqtt_codec::types::QoS;
use tokio::sync::Notify;

use crate::limits::{MAX_KEPT_BYTES, MAX_UNHANDLED};
use crate::packet::Publish;
use crate::topics;

/// What was published, once for all who hear it.
pub(crate) struct Message {
    pub(crate) topic: ByteString,
    pub(crate) kind: TopicKind,
    pub(crate) device: DeviceId,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    /// Whether it is kept for those who subscribe later: only where it says how a device is.
    pub(crate) retain: bool,
    /// Whether API tokens may hear it.
    pub(crate) is_readable: bool,
    /// A last will is only published when its connection is lost.
    pub(crate) published: Instant,
    expiry_s: Option<NonZeroU32>,
}

impl Message {
    /// Copies what it keeps, or a few bytes would hold on to the whole buffer that they were read into.
    pub(crate) fn new(publish: &Publish, topic: Topic) -> Self {
        let Topic { kind, device } = topic;
        Self {
            topic: ByteString::from(&*publish.topic),
            payload: Bytes::copy_from_slice(&publish.payload),
            qos: publish.qos,
            retain: publish.retain && topics::may_be_retained(kind),
            is_readable: topics::may_be_read(kind, &publish.payload),
            published: Instant::now(),
            expiry_s: publish.expiry_s,
            kind,
            device,
        }
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.published);
        self.expiry_s.is_some_and(|seconds| age.as_secs() >= seconds.get().into())
    }

    /// Whether it takes the place of what was kept, and does not only end it.
    pub(crate) fn is_kept(&self) -> bool {
        !self.payload.is_empty() && self.payload.len() <= MAX_KEPT_BYTES
    }

    /// The seconds that it has left, rounded up.
    pub(crate) fn expiry_s(&self, now: Instant) -> Option<NonZeroU32> {
        let age_s = now.saturating_duration_since(self.published).as_secs();
        let left = self.expiry_s?.get().saturating_sub(u32::try_from(age_s).unwrap_or(u32::MAX));
        NonZeroU32::new(left.max(1))
    }
}

/// A message for one session.
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    /// None or one acknowledgement.
    pub(crate) acknowledged: bool,
    /// It was kept before the session subscribed, or the subscription wants to know that it is kept.
    pub(crate) retained: bool,
    pub(crate) _credit: Option<Credit>,
}

/// Wakes a connection: there is something to send, or it was closed.
#[derive(Default)]
pub(crate) struct Signal {
    pub(crate) wake: Notify,
    closed: AtomicU8,
}

/// Why a connection was closed from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// By the connection itself.
    Left = 1,
    TakenOver = 2,
    TooMany = 3,
    Removed = 4,
    Stopping = 5,
}

impl Signal {
    pub(crate) fn close(&self, why: Closed) {
        self.closed.store(why as u8, Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        match self.closed.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Closed::Left),
            2 => Some(Closed::TakenOver),
            3 => Some(Closed::TooMany),
            4 => Some(Closed::Removed),
            _ => Some(Closed::Stopping),
        }
    }
}

/// What the server has not handled of a device, over all of its connections.
#[derive(Default)]
pub(crate) struct Flow {
    unhandled: AtomicUsize,
    /// Tells all connections of the device that they may send again.
    pub(crate) room: Notify,
}

impl Flow {
    pub(crate) fn unhandled(&self) -> usize {
        self.unhandled.load(Ordering::Acquire)
    }
}

/// A message of a device that the server has not acknowledged; given back when it is dropped.
pub(crate) struct Credit(Arc<Flow>);

impl Credit {
    pub(crate) fn new(of: &Arc<Flow>) -> Self {
        of.unhandled.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(of))
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if self.0.unhandled.fetch_sub(1, Ordering::AcqRel) == MAX_UNHANDLED / 2 + 1 {
            self.0.room.notify_waiters();
        }
    }
}
