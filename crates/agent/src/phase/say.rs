//! What the agent says of itself: progress and the report.

use contract::{Lack, LastOutcome, Phase as Stretch, Progress, Reason, Report};
use heapless::String;

use super::{Agent, Phase};
use crate::event::MessageId;
use crate::otadata::Running;
use crate::outbox::Kind;
use crate::port::{Encryption, Port};
use crate::record::Place;
use crate::refusal::digits;
use crate::timers::Timer;

/// At most one message of progress in so long.
const PROGRESS_MS: u32 = 1_000;

impl Agent {
    pub(super) fn on_connected<P: Port>(&mut self, port: &mut P) {
        self.connected = true;
        self.confirm_move(port);
        let on_trial = matches!(self.phase, Phase::SelfTest { .. });
        let proven =
            self.image.as_ref().filter(|image| !on_trial && !self.record.was_confirmed(&image.sha256));
        let is_proven = proven.is_some();
        if is_proven {
            // It came by cable, or from before there was a record.
            self.note_confirmed();
        }
        let blamed = self.blamed.take();
        if let Some(sha256) = blamed {
            self.record.count_failure(sha256);
        }
        if blamed.is_some() || is_proven {
            self.store(port);
        }
        // A self-test that succeeds now reports afterwards, in its new state.
        if !on_trial {
            self.outbox.queue(Kind::Report);
        }
        self.outbox.queue_outcome();
    }

    pub(super) fn clear_quarantine<P: Port>(&mut self, port: &mut P) {
        self.blamed = None;
        if !self.record.failures.is_empty() {
            self.record.failures.clear();
            self.store(port);
        }
    }

    /// Queues progress, if none was queued in the last second of this stretch.
    pub(super) fn progress(&mut self, phase: Stretch, done: u32, total: u32) -> Option<MessageId> {
        if self.timers.is_set(Timer::Progress) && !self.timers.has_ended(Timer::Progress) {
            return None;
        }
        self.timers.start(Timer::Progress, PROGRESS_MS);
        Some(self.outbox.queue(Kind::Progress(Progress { phase, done, total })))
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
        report.chip_revision = self.settings.hardware.revision.map(|revision| revision.0);
        if let Some(image) = &self.image {
            report.sha256 = Some(contract::Sha256(image.sha256));
            report.secure_version = Some(image.traits.secure_version);
            report.stamped = Some(image.traits.stamped);
        }
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
