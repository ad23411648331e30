//! Waking up: what runs, and what became of the attempt that was under way, derived from flash.

use core::fmt;

use contract::{Code, Outcome, Reason};

use super::{Agent, Phase, UrlLoss};
use crate::bookmark::Bookmark;
use crate::flash::{self, Fault};
use crate::otadata::{Entries, Running, State};
use crate::partition::{Table, TableError};
use crate::port::{Encryption, NotKept, Port, ResetReason};
use crate::record::{Attempt, Keeper, Last, Record, Stage};
use crate::refusal::Refusal;
use crate::retained;
use crate::sentences::Says;
use crate::timers::Timer;
use crate::verify::read_slot;

/// Why the agent cannot work on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootError {
    /// Sectors larger than 4 KiB, or writes wider than 32 bytes.
    UnsupportedFlash,
    /// The partition table is of no use.
    Table(TableError),
    /// The flash did not answer.
    Flash(Fault),
    /// The port says that a slot runs which the table does not have.
    NoSuchSlot,
    /// There is no place for a record, or it could not be written.
    NotKept,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedFlash => {
                f.write_str("this flash has sectors or pages that the agent cannot use")
            }
            Self::Table(error) => error.fmt(f),
            Self::Flash(fault) => fault.fmt(f),
            Self::NotKept => f.write_str("the record could not be kept"),
            Self::NoSuchSlot => f.write_str("the running slot is not in the partition table"),
        }
    }
}

impl core::error::Error for BootError {}

impl Agent {
    /// Starts the agent after a boot, before the application does anything that could crash. `running` is what the port
    /// knows to run, not what otadata selects. To be called once; the agent does nothing before.
    #[inline(never)]
    pub fn boot<P: Port>(&mut self, port: &mut P, running: Running, now_ms: u64) -> Result<(), BootError> {
        if !flash::is_supported::<P>() {
            return Err(BootError::UnsupportedFlash);
        }
        self.table.fill(port).map_err(BootError::Table)?;
        let partition = self.partition_of(running).ok_or(BootError::NoSuchSlot)?;
        let entries = Entries::read(port, self.table.otadata).map_err(BootError::Flash)?;
        self.image = read_slot(port, partition).map_err(BootError::Flash)?.ok();
        self.keeper.find(port, &self.table, &mut self.record).map_err(BootError::Flash)?;
        self.running = running;
        self.timers.now_ms = now_ms;
        self.encryption = port.encryption();
        self.target = match running {
            Running::Factory => 0,
            Running::Slot(slot) => (slot + 1).checked_rem(self.slots()).unwrap_or(0),
        };
        self.note_state(&entries);
        self.count_move(port);
        let crash_loop = self.count_crash(port);
        self.wake(port, &entries, crash_loop);
        Ok(())
    }

    pub(super) fn note_state(&mut self, entries: &Entries) {
        self.running_state = match self.running {
            Running::Factory => State::Undefined,
            Running::Slot(slot) => entries.state_of(slot, self.slots()).unwrap_or(State::Undefined),
        };
    }

    /// Counts what only crashes count as; whether it was once too often.
    fn count_crash<P: Port>(&mut self, port: &mut P) -> bool {
        let (Some(memory), Some(image)) = (port.retained(), &self.image) else {
            self.counts_crashes = false;
            return false;
        };
        self.counts_crashes = true;
        let mut crashes = retained::crashes(memory, &image.sha256);
        if self.settings.reset.is_crash() {
            crashes = crashes.saturating_add(1);
        } else if self.settings.reset == ResetReason::DeepSleep {
            // It ran until it chose to sleep, which makes up for one.
            crashes = crashes.saturating_sub(1);
        }
        retained::write(memory, &image.sha256, crashes);
        if crashes > 0 {
            self.timers.start(Timer::Stable, self.settings.stable_ms);
        }
        crashes >= self.settings.crash_loop_at
    }

    /// The image ran for long enough: what it did before is forgotten.
    pub(super) fn note_stable<P: Port>(&mut self, port: &mut P) {
        if self.timers.has_ended(Timer::Stable) {
            self.timers.stop(Timer::Stable);
            if let (Some(memory), Some(image)) = (port.retained(), &self.image) {
                retained::write(memory, &image.sha256, 0);
            }
        }
    }

    fn wake<P: Port>(&mut self, port: &mut P, entries: &Entries, crash_loop: bool) {
        let found = |agent: &Self, crash_loop| {
            fate(Found {
                entries,
                running: agent.running,
                slots: agent.slots(),
                sha256: agent.image.as_ref().map(|image| image.sha256),
                attempt: agent.record.attempt.as_ref(),
                reset: agent.settings.reset,
                crash_loop,
            })
        };
        let mut fate = found(self, crash_loop);
        if fate == Fate::FallBack {
            if self.fall_back(port) {
                self.phase = Phase::Restarting;
                return;
            }
            // There is nothing to fall back to: it goes on as if nothing had been.
            self.record.attempt =
                self.record.attempt.take().filter(|attempt| attempt.stage != Stage::Rejected);
            fate = found(self, false);
        }
        if let Fate::Rearm { otherwise } = fate {
            if self.rearm(port) {
                self.phase = Phase::Restarting;
                return;
            }
            fate = Fate::RolledBack(otherwise);
        }
        self.act_on(port, fate);
    }

    fn act_on<P: Port>(&mut self, port: &mut P, fate: Fate) {
        match fate {
            Fate::Nothing | Fate::FallBack | Fate::Rearm { .. } => return,
            Fate::Stuck => self.record.attempt = None,
            Fate::OnTrial { again } => return self.on_trial(port, again),
            Fate::Resume => return self.resume_later(port),
            Fate::Confirmed => {
                self.note_confirmed();
                self.end(Outcome::Success, self.success_reason());
            }
            Fate::RolledBack(code) => {
                self.blame();
                self.end(Outcome::Failed, Refusal::plain(says(code)).reason(""));
            }
            Fate::Rejected => {
                let why = self.record.last.as_ref().map(|last| last.reason.clone()).unwrap_or_default();
                // A crash loop was counted as it was found.
                if !why.is_coded(Code::CrashLoop) {
                    self.blame();
                }
                self.end(Outcome::Failed, why);
            }
        }
        self.store(port);
    }

    fn on_trial<P: Port>(&mut self, port: &mut P, again: bool) {
        self.record.rollback = match self.running_state {
            // The bootloader did not turn it into PENDING_VERIFY, so it cannot roll back.
            State::New => Some(false),
            // It did, and can, unless this image was here before.
            State::PendingVerify => Some(!again),
            // Torn: says nothing.
            _ => self.record.rollback,
        };
        self.attempt.to = self.version().cloned();
        let sha256 = self.image.as_ref().map(|image| image.sha256);
        match &mut self.record.attempt {
            Some(attempt) if Some(attempt.sha256) == sha256 => attempt.stage = Stage::Booted,
            other => {
                let slot = match self.running {
                    Running::Slot(slot) => slot,
                    Running::Factory => 0,
                };
                let (stage, to) = (Stage::Booted, self.attempt.to.clone());
                *other = sha256.map(|sha256| Attempt { stage, slot, sha256, to, rearms: 0 });
            }
        }
        self.phase = Phase::SelfTest { well: false, triggered: false };
        // The boot that a bootloader with rollback would have refused. Power that came on says nothing against
        // the image: it gets another chance.
        if again && self.settings.reset != ResetReason::PowerOn {
            self.phase = self.reject(port, &Refusal::plain(Says::NotConfirmed), "");
            return;
        }
        self.timers.start(Timer::Phase, self.settings.self_test_ms);
        self.store(port);
    }

    /// The URL is gone with the memory; a fresh one is asked for as soon as there is a broker.
    pub(super) fn resume_later<P: Port>(&mut self, port: &mut P) {
        let slot = self.target_slot();
        let mark = Bookmark::read(port, slot).ok().flatten();
        self.download.begin(slot, mark);
        self.attempt.to = self.record.attempt.as_ref().and_then(|attempt| attempt.to.clone());
        self.phase = Phase::AwaitingUrl { loss: UrlLoss::Restarted };
    }

    /// Selects an image that lies in its slot, whole, for another boot; `false` if that cannot be.
    fn rearm<P: Port>(&mut self, port: &mut P) -> bool {
        let Some(attempt) = &mut self.record.attempt else { return false };
        if attempt.slot != self.target || self.encryption == Encryption::Unsupported {
            return false;
        }
        attempt.rearms += 1;
        attempt.stage = Stage::Selected;
        let wanted = attempt.sha256;
        let slot = self.target_slot();
        // Trust may have changed since it was judged.
        let intact = match read_slot(port, slot) {
            Ok(Ok(image)) if image.sha256 == wanted => {
                self.judge_signature(port, slot, image.signature_offset, true).is_ok()
            }
            _ => false,
        };
        // Cut before: this boot is as if it had not been. Cut during or after: the next boot tries once less.
        // Without a record that counts, it could be repeated without end.
        intact && self.keeper.store(port, &self.record).is_ok() && self.select(port).is_ok()
    }

    fn blame(&mut self) {
        // A rejected image asked for its restart; a crash is seen in the reset; a power cut says nothing against the image.
        if !self.settings.reset.may_be_power() {
            self.blamed = self.record.attempt.as_ref().map(|attempt| attempt.sha256);
        }
    }

    fn end(&mut self, result: Outcome, reason: Reason) {
        // Sent at the first connect, together with the report.
        self.outbox.note_outcome(result, &reason);
        let to = self.record.attempt.take().and_then(|attempt| attempt.to);
        self.record.last = Some(Last { to, result, reason });
    }

    /// What is remembered, for the port's own start before there is an agent: provisioning writes the first version.
    pub fn remember<P: Port>(port: &mut P, change: impl FnOnce(&mut Record)) -> Result<(), BootError> {
        let table = Table::read(port).map_err(BootError::Table)?;
        let (mut keeper, mut record) = Keeper::open(port, &table).map_err(BootError::Flash)?;
        change(&mut record);
        keeper.store(port, &record).map_err(|NotKept| BootError::NotKept)
    }
}

/// At most so often is an intact image selected again, without a download, after a power cut ended its trial.
const REARMS_MAX: u8 = 2;

/// What flash says of the attempt that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// There was none, or its outcome is recorded.
    Nothing,
    /// The image it brought runs now and is to prove itself; `again`: it had its chance before.
    OnTrial { again: bool },
    /// It ended well; only the record was not written any more.
    Confirmed,
    /// The download was cut short; what was written may still be good.
    Resume,
    /// The image lies in its slot and lost its chance without a fault of its own: it is selected again.
    Rearm { otherwise: Code },
    /// It was booted, or chosen to be, and the old image runs again.
    RolledBack(Code),
    /// As before, and the reason is recorded.
    Rejected,
    /// The running image was given up, and the bootloader came back to it.
    Stuck,
    /// The running image was given up, or is to be: it crashed again and again after it was confirmed.
    FallBack,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) entries: &'a Entries,
    pub(super) running: Running,
    pub(super) slots: u8,
    /// Of the running image, if it could be read.
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) attempt: Option<&'a Attempt>,
    pub(super) reset: ResetReason,
    /// Whether the running image crashed too often in a row.
    pub(super) crash_loop: bool,
}

pub(super) fn fate(found: Found<'_>) -> Fate {
    let Found { entries, running, slots, sha256, attempt, reset, crash_loop } = found;
    let selected = entries.selected(slots).filter(|selected| running == Running::Slot(selected.slot));
    let of_this_image = attempt.filter(|attempt| Some(attempt.sha256) == sha256);
    let brought = of_this_image.filter(|attempt| matches!(attempt.stage, Stage::Selected | Stage::Booted));
    let state = selected.map(|selected| selected.state);
    // A torn erase can leave any state at all, or no entry; an image that an attempt brought is trusted once it is VALID.
    if state.is_some_and(State::is_unconfirmed) || (brought.is_some() && state != Some(State::Valid)) {
        // A bootloader that rolls back never boots PENDING_VERIFY or NEW a second time.
        return Fate::OnTrial { again: brought.is_some_and(|attempt| attempt.stage == Stage::Booted) };
    }
    if brought.is_some() {
        return Fate::Confirmed;
    }
    if of_this_image.is_some_and(|attempt| attempt.stage == Stage::Rejected) {
        // Cut between the record and the entry that makes it so. Where otadata chooses another one already, the bootloader
        // could not start that; leaving it again would fail again, at every boot.
        return if selected.is_some() { Fate::FallBack } else { Fate::Stuck };
    }
    let Some(attempt) = attempt.filter(|attempt| !crash_loop || attempt.stage != Stage::Downloading) else {
        return if crash_loop { Fate::FallBack } else { Fate::Nothing };
    };
    let trace = entries.trace_of(attempt.slot, slots);
    let may_rearm = attempt.rearms < REARMS_MAX;
    match (attempt.stage, trace) {
        (Stage::Downloading, _) => Fate::Resume,
        (Stage::Rejected, _) => Fate::Rejected,
        // A power-on may be a cut, a button, or somebody who unplugged an image that hung: a guess, and so bounded.
        (_, Some(State::Aborted)) if reset.may_be_power() && may_rearm => {
            Fate::Rearm { otherwise: Code::PowerLost }
        }
        (_, Some(State::Aborted)) => Fate::RolledBack(aborted(reset)),
        (_, Some(State::New | State::PendingVerify)) => Fate::RolledBack(Code::NotBootable),
        // The entry was erased to be written VALID, and the power went.
        (Stage::Booted, _) if may_rearm => Fate::Rearm { otherwise: Code::PowerLost },
        (Stage::Booted, _) => Fate::RolledBack(Code::PowerLost),
        (Stage::Selected, _) if may_rearm => Fate::Rearm { otherwise: Code::Interrupted },
        (Stage::Selected, _) => Fate::RolledBack(Code::Interrupted),
    }
}

/// Why the one boot of a new image ended unconfirmed, as far as the reset tells.
const fn aborted(reset: ResetReason) -> Code {
    match reset {
        ResetReason::Panic => Code::Crashed,
        ResetReason::Watchdog => Code::Hung,
        ResetReason::PowerOn | ResetReason::BrownOut => Code::PowerLost,
        ResetReason::Software | ResetReason::DeepSleep | ResetReason::Unknown => Code::Restarted,
    }
}

/// The words for a [`Fate::RolledBack`].
pub(super) const fn says(code: Code) -> Says {
    match code {
        Code::Crashed => Says::Crashed,
        Code::Hung => Says::Hung,
        Code::Restarted => Says::Restarted,
        Code::NotBootable => Says::NotBootable,
        Code::Interrupted => Says::RestartedUnselected,
        _ => Says::PowerLost,
    }
}
