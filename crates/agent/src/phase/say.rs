//! What the agent says: messages in their order, and the report.

use contract::{Lack, LastOutcome, Outcome, Phase as Stretch, Progress, Reason, Report, Request, Status};
use heapless::String;

use super::Agent;
use crate::event::{Action, Message, MessageId};
use crate::otadata::Running;
use crate::port::{Encryption, Port};
use crate::record::Place;
use crate::refusal::digits;

/// Messages that wait to be sent; more are never needed at once, and the oldest makes room.
pub(super) const OUTBOX: usize = 8;
const PROGRESS_MS: u64 = 1_000;

/// A message that waits; what it says is put together when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Report,
    Status,
    Progress(Progress),
    Request,
}

impl Agent {
    pub(super) fn on_connected<P: Port>(&mut self, port: &mut P) {
        self.connected = true;
        self.settle(port);
        let on_trial = matches!(self.phase, super::Phase::SelfTest { .. });
        let sha256 = self.image.as_ref().map(|image| image.sha256);
        let proven = sha256.filter(|sha256| !on_trial && !self.record.was_confirmed(sha256));
        if let Some(sha256) = proven {
            // It came by cable, or from before there was a record.
            self.record.confirm(sha256);
        }
        let blamed = self.blamed.take();
        if let Some(sha256) = blamed {
            self.record.count_failure(sha256);
        }
        if blamed.is_some() || proven.is_some() {
            self.store(port);
        }
        // A self-test that succeeds now reports afterwards, in its new state.
        if !on_trial {
            self.queue(Kind::Report);
        }
        self.requeue_outcome();
    }

    pub(super) fn clear_quarantine<P: Port>(&mut self, port: &mut P) {
        self.blamed = None;
        if !self.record.failures.is_empty() {
            self.record.failures.clear();
            self.store(port);
        }
    }

    pub(super) fn queue(&mut self, kind: Kind) -> MessageId {
        self.next_message = self.next_message.wrapping_add(1);
        let id = MessageId(self.next_message);
        if self.outbox.is_full() {
            self.outbox.pop_front();
        }
        let queued = self.outbox.push_back((id, kind)).is_ok();
        debug_assert!(queued, "one was taken out before");
        id
    }

    pub(super) fn queue_report(&mut self) {
        self.queue(Kind::Report);
    }

    pub(super) fn queue_request(&mut self) {
        self.queue(Kind::Request);
    }

    /// How the last attempt ended, to be said as soon as it is queued.
    pub(super) fn note_outcome(&mut self, outcome: Outcome, reason: &Reason) {
        self.outcome = Some((MessageId(0), Status { outcome, reason: reason.clone() }));
    }

    /// Queues the outcome that no broker has acknowledged yet, if there is one.
    pub(super) fn requeue_outcome(&mut self) {
        if self.outcome.is_some() {
            let queued = self.queue(Kind::Status);
            if let Some((id, _)) = &mut self.outcome {
                *id = queued;
            }
        }
    }

    /// At most one a second, and one as each stretch begins.
    pub(super) fn progress(&mut self, phase: Stretch, done: u32, total: u32) -> Option<MessageId> {
        if self.progress_ms.is_some_and(|last| self.now_ms < last + PROGRESS_MS) {
            return None;
        }
        self.progress_ms = Some(self.now_ms);
        Some(self.queue(Kind::Progress(Progress { phase, done, total })))
    }

    pub(super) fn next_message(&mut self) -> Option<Action<'static>> {
        loop {
            let (id, kind) = self.outbox.pop_front()?;
            let message = match kind {
                Kind::Report => Message::Report,
                Kind::Progress(progress) => Message::Progress(progress),
                // For an update that has ended meanwhile nothing is wanted.
                Kind::Request if !matches!(self.phase, super::Phase::AwaitingUrl { .. }) => continue,
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

    /// What comes with SUCCESS: nothing, unless no report can tell what runs. Then its hash does.
    pub(super) fn success_reason(&self) -> Reason {
        let mut reason = Reason::default();
        if let (None, Some(image)) = (self.version(), &self.image) {
            reason.push_str("sha256 ");
            reason.push_str(&contract::Sha256(image.sha256).to_hex());
        }
        reason
    }

    /// The protections that this device does without.
    pub fn lacks(&self) -> impl Iterator<Item = Lack> {
        Lack::ALL.into_iter().filter(|lack| match lack {
            Lack::Signatures => !self.wants_signature(),
            Lack::Record => self.keeper.place() == Place::Nowhere,
            Lack::CrashLoops => !self.counts_crashes,
            Lack::Updates => self.encryption == Encryption::Unsupported,
        })
    }

    /// What the device says of itself; `None` while its version is not known, since a report must have one.
    #[inline(never)]
    pub fn report(&self) -> Option<Report> {
        let mut report = Report::bare(self.version()?.clone());
        report.product.clone_from(&self.settings.product);
        report.chip = word(self.settings.hardware.chip.name());
        report.sha256 = self.image.as_ref().map(|image| contract::Sha256(image.sha256));
        report.slot = match self.running {
            Running::Factory => word("factory"),
            Running::Slot(_) => word("ota_"),
        };
        if let (Running::Slot(slot), Some(name)) = (self.running, &mut report.slot) {
            // Two digits, and there is room for twelve.
            let _ = name.push_str(&digits(slot.into(), 10));
        }
        report.state = word(self.running_state.as_str());
        report.slot_bytes = self.table.slots.iter().map(|slot| slot.size_bytes).min();
        report.rollback = self.record.rollback;
        report.reset = String::try_from(self.settings.reset.as_str()).ok();
        for lack in self.lacks() {
            // There is room for all of them.
            let _ = word(lack.as_str()).map(|lack| report.lacks.push(lack));
        }
        report.returned = self.why_returned();
        if let Some(last) = &self.record.last {
            let outcome = LastOutcome { to: None, result: last.result, reason: None };
            let outcome = report.last.insert(outcome);
            outcome.to.clone_from(&last.to);
            if !last.reason.as_str().is_empty() {
                outcome.reason = Some(last.reason.clone());
            }
        }
        Some(report)
    }
}

/// A word of a report, if it is not too long for one.
#[inline(never)]
fn word(text: &str) -> Option<String<16>> {
    String::try_from(text).ok()
}
