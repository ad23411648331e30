//! Messages that wait for the broker, in their order.
//!
//! Owned here: at most eight of them, and the last outcome until the broker acknowledges it.

use contract::{Outcome, Progress, Reason, Request, Status};
use heapless::Deque;

use crate::event::{Action, Message, MessageId};

/// At most so many messages wait; more are never needed at once, and the oldest makes room.
const CAPACITY: usize = 8;

/// A message that waits; what it says is put together when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Report,
    Status,
    Progress(Progress),
    Request,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    last_id: u32,
    queue: Deque<(MessageId, Kind), CAPACITY>,
    /// The outcome that no broker has acknowledged yet.
    outcome: Option<(MessageId, Status)>,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self { last_id: 0, queue: Deque::new(), outcome: None }
    }

    /// Whether nothing waits, for the broker or for its acknowledgement of an outcome.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.outcome.is_none()
    }

    #[inline(never)]
    pub(crate) fn queue(&mut self, kind: Kind) -> MessageId {
        self.last_id = self.last_id.wrapping_add(1);
        let id = MessageId(self.last_id);
        if self.queue.is_full() {
            self.queue.pop_front();
        }
        let queued = self.queue.push_back((id, kind)).is_ok();
        debug_assert!(queued, "one was taken out before");
        id
    }

    /// Notes how an attempt ended, to be said as soon as it is queued.
    pub(crate) fn note_outcome(&mut self, outcome: Outcome, reason: &Reason) {
        self.outcome = Some((MessageId(0), Status { outcome, reason: reason.clone() }));
    }

    /// Queues the outcome that no broker has acknowledged yet, if there is one.
    #[inline(never)]
    pub(crate) fn queue_outcome(&mut self) {
        if self.outcome.is_some() {
            let queued = self.queue(Kind::Status);
            if let Some((id, _)) = &mut self.outcome {
                *id = queued;
            }
        }
    }

    pub(crate) fn acknowledge(&mut self, acknowledged: MessageId) {
        if self.outcome.as_ref().is_some_and(|(id, _)| *id == acknowledged) {
            self.outcome = None;
        }
    }

    /// The next message to be published; `wants_url`: a fresh URL is still wanted.
    pub(crate) fn next(&mut self, wants_url: bool) -> Option<Action<'static>> {
        loop {
            let (id, kind) = self.queue.pop_front()?;
            let message = match kind {
                Kind::Report => Message::Report,
                Kind::Progress(progress) => Message::Progress(progress),
                // The update it was for has ended.
                Kind::Request if !wants_url => continue,
                Kind::Request => Message::Request(Request::UrlExpired),
                // A later outcome took its place.
                Kind::Status => match &self.outcome {
                    Some((of, status)) if *of == id => Message::Status(status.clone()),
                    _ => continue,
                },
            };
            return Some(Action::Publish(id, message));
        }
    }
}
