//! A new image on trial, and giving one up: confirmed, rejected, or fallen back from.

use contract::Outcome;

use super::{Agent, Phase};
use crate::otadata::{self, Entries, Refused, Running};
use crate::outbox::Kind;
use crate::partition::Partition;
use crate::port::{Port, ResetReason};
use crate::record::{Attempt, Last, QUARANTINE_AT, Stage};
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::timers::Timer;
use crate::trust;
use crate::verify::read_slot;

impl Agent {
    /// Ends the self-test well; `triggered`: a trigger waits for that.
    pub(super) fn confirm<P: Port>(&mut self, port: &mut P, triggered: bool) -> Phase {
        // What did not work is done again with the next event, until the time is up.
        if let Err(refusal) = self.write_confirmation(port) {
            let is_over = self.timers.has_ended(Timer::Phase);
            return if is_over { self.reject(port, &refusal, "") } else { self.phase };
        }
        self.attempt.to = self.version().cloned();
        self.note_confirmed();
        self.succeed(port);
        if !triggered {
            return Phase::Idle;
        }
        self.timers.start(Timer::Phase, 0);
        Phase::Triggered
    }

    /// The image that runs is confirmed: it counts as one to go back to, and whom it trusts counts from now on.
    pub(super) fn note_confirmed(&mut self) {
        if let Some(image) = &self.image {
            trust::note_confirmed(&mut self.record, &self.settings, image);
        }
    }

    fn write_confirmation<P: Port>(&mut self, port: &mut P) -> Result<(), Refusal> {
        let entries = Entries::read(port, self.table.otadata)?;
        match entries.plan_confirm(self.running, self.slots()) {
            Ok(None) => {}
            Ok(Some(transition)) => {
                // Cut before: one boot was all there was; the bootloader rolls back.
                // Cut during or after the erase: the entry that names the old slot decides, and the old image runs; it finds
                //   the new one intact in its slot and selects it again.
                // Cut after: confirmed, which the next boot finds in otadata even if the record says less.
                otadata::apply(port, self.table.otadata, &transition)?;
            }
            // The entry was lost in a confirmation that failed half-way. What runs and passed its test gets a new one.
            Err(_) => self.keep_running(port)?,
        }
        let entries = Entries::read(port, self.table.otadata)?;
        self.note_state(&entries);
        match entries.plan_confirm(self.running, self.slots()) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Refused(Says::NotRunning).into()),
            Err(refused) => Err(refused.into()),
        }
    }

    pub(super) fn reject_in_time<P: Port>(&mut self, port: &mut P) -> Phase {
        let seconds = self.settings.self_test_ms.div_ceil(1000);
        let says = if self.connected { Says::NotWell } else { Says::BrokerNotReached };
        self.reject(port, &Refusal::new(says, &[seconds]), "")
    }

    /// Gives the running image up in its trial, if another one can take over.
    pub(super) fn reject<P: Port>(&mut self, port: &mut P, refusal: &Refusal, text: &str) -> Phase {
        let Some(slot) = self.another_that_boots(port, false) else {
            // Better an image that fails its test than none: it goes on trying for as long as it takes, says so, and takes
            // whatever it is offered.
            self.outbox.queue(Kind::Report);
            self.timers.stop(Timer::Phase);
            return self.phase;
        };
        let to = self.record.attempt.as_ref().and_then(|attempt| attempt.to.clone());
        self.record.last = Some(Last { to, result: Outcome::Failed, reason: refusal.reason(text) });
        if let Some(attempt) = &mut self.record.attempt {
            attempt.stage = Stage::Rejected;
        }
        self.store(port);
        // Cut before: a bootloader with rollback aborts the image; without, this is done again at the next boot.
        // A fault has the effect of a cut.
        let _ = self.leave(port, slot);
        Phase::Restarting
    }

    /// Leaves a confirmed image that crashes again and again, for one that ran well here; `false` if there is none.
    pub(super) fn fall_back<P: Port>(&mut self, port: &mut P) -> bool {
        let Running::Slot(running) = self.running else { return false };
        let Some(sha256) = self.image.as_ref().map(|image| image.sha256) else { return false };
        // Not to one that was left for the same reason before, or the two would alternate without end.
        let Some(slot) = self.another_that_boots(port, true) else { return false };
        let already = self.record.attempt.as_ref().is_some_and(|attempt| attempt.stage == Stage::Rejected);
        if !already {
            let crashes = self.settings.crash_loop_at;
            let to = self.version().cloned();
            let reason = Refusal::new(Says::CrashLoop, &[crashes.into()]).reason("");
            self.record.last = Some(Last { to: to.clone(), result: Outcome::Failed, reason });
            // Now, not once the broker was reached: an image that crashes before that would never count, and two such
            // images would alternate without end.
            // A weak supply says nothing against an image.
            if self.settings.reset != ResetReason::BrownOut {
                self.record.count_failure(sha256);
            }
            self.record.attempt =
                Some(Attempt { stage: Stage::Rejected, slot: running, sha256, to, rearms: 0 });
            self.store(port);
        }
        // Cut before: the record says that it was given up, and the next boot does it.
        self.leave(port, slot).is_ok()
    }

    /// Makes otadata choose `to` instead of what runs.
    fn leave<P: Port>(&mut self, port: &mut P, to: Running) -> Result<(), Refusal> {
        let entries = Entries::read(port, self.table.otadata)?;
        let plan = entries.plan_leave(self.running, to, self.slots())?;
        // Cut before, during or after: `plan_leave` writes the entry that is to decide before it takes away the one that
        //   decides now, and each goes to a sector that the other does not need.
        Ok(otadata::apply_all(port, self.table.otadata, &plan)?)
    }

    pub(super) fn running_partition(&self) -> Option<Partition> {
        self.partition_of(self.running)
    }

    pub(super) fn partition_of(&self, image: Running) -> Option<Partition> {
        match image {
            Running::Factory => self.table.factory,
            Running::Slot(slot) => self.table.slots.get(usize::from(slot)).copied(),
        }
    }

    /// Another image that the bootloader can start now, read to its end: an entry says nothing of what lies in a slot.
    ///
    /// The one that ran before comes first, then the factory app, then whatever else lies there: that must have run confirmed
    /// here, not have failed as often as quarantine allows, and be signed by a key that is trusted today. With `proven` all of
    /// them must have run so.
    #[inline(never)]
    fn another_that_boots<P: Port>(&mut self, port: &mut P, proven: bool) -> Option<Running> {
        let entries = Entries::read(port, self.table.otadata).ok();
        let before = entries.and_then(|entries| entries.slot_before(self.running, self.slots()));
        let before = before.map(Running::Slot);
        if before.is_some_and(|before| self.can_take_over(port, before, proven, false)) {
            return before;
        }
        if self.can_take_over(port, Running::Factory, proven, false) {
            return Some(Running::Factory);
        }
        (0..self.slots()).map(Running::Slot).find(|slot| self.can_take_over(port, *slot, true, true))
    }

    fn can_take_over<P: Port>(&mut self, port: &mut P, other: Running, proven: bool, trusted: bool) -> bool {
        let Some(partition) = self.partition_of(other).filter(|_| other != self.running) else {
            return false;
        };
        let Ok(Ok(image)) = read_slot(port, partition) else { return false };
        let (hardware, sha256) = (&self.settings.hardware, &image.sha256);
        let floor = self.record.secure_version.max(hardware.secure_version.unwrap_or(0));
        let ran_well = self.record.was_confirmed(sha256) && self.record.failures_of(sha256) < QUARANTINE_AT;
        // What the bootloader would refuse is nothing to go to: it would start the running image again.
        let boots = image.chip == Some(hardware.chip) && image.traits.secure_version >= floor;
        boots
            && (ran_well || !proven)
            && self.judge_signature(port, partition, image.signature_offset, trusted).is_ok()
    }
}
