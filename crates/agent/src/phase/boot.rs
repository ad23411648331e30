//! Waking up: what runs, and what became of the attempt that was under way, derived from flash.

use core::fmt;

use contract::{Outcome, Reason, Status};
use embedded_storage::nor_flash::NorFlash;
use heapless::{Deque, String};

use super::{Agent, Phase};
use crate::download::Download;
use crate::event::MessageId;
use crate::flash::{self, Fault};
use crate::otadata::{Entries, Running, State};
use crate::partition::{Table, TableError};
use crate::record::{Attempt, Journal, Last, Record, Stage};
use crate::settings::{ResetReason, Settings};
use crate::verify::{ReadBack, read_slot};

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
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedFlash => {
                f.write_str("this flash has sectors or pages that the agent cannot use")
            }
            Self::Table(error) => error.fmt(f),
            Self::Flash(fault) => fault.fmt(f),
            Self::NoSuchSlot => f.write_str("the running slot is not in the partition table"),
        }
    }
}

impl core::error::Error for BootError {}

/// What flash says of the attempt that was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// There was none, or its outcome is recorded.
    Nothing,
    /// The image it brought runs now and is to prove itself; `again`: it had its chance before.
    OnTrial { again: bool },
    /// It ended well; only the record was not written any more.
    Confirmed,
    /// It never came so far as to be booted.
    Interrupted(&'static str),
    /// It was booted, or chosen to be, and the old image runs again.
    RolledBack(&'static str),
    /// As before, and the reason is recorded.
    Rejected,
}

/// Pure: entries, what runs and its hash, and the attempt that was recorded.
fn fate(
    entries: &Entries,
    running: Running,
    slots: u8,
    sha256: Option<[u8; 32]>,
    attempt: Option<&Attempt>,
    reset: ResetReason,
) -> Fate {
    let selected = entries.selected(slots).filter(|selected| running == Running::Slot(selected.slot));
    let brought = attempt.filter(|attempt| {
        matches!(attempt.stage, Stage::Selected | Stage::Booted) && Some(attempt.sha256) == sha256
    });
    let state = selected.map(|selected| selected.state);
    // A torn erase can leave any state at all, or no entry; an image that an attempt brought is trusted once it is VALID.
    if state.is_some_and(State::is_unconfirmed) || (brought.is_some() && state != Some(State::Valid)) {
        // A bootloader that rolls back never boots PENDING_VERIFY or NEW a second time.
        return Fate::OnTrial { again: brought.is_some_and(|attempt| attempt.stage == Stage::Booted) };
    }
    let Some(attempt) = attempt else { return Fate::Nothing };
    let trace = entries.trace_of(attempt.slot, slots);
    match attempt.stage {
        Stage::Downloading => Fate::Interrupted("interrupted: the device restarted during the download"),
        Stage::Rejected => Fate::Rejected,
        Stage::Selected | Stage::Booted if brought.is_some() => Fate::Confirmed,
        Stage::Selected | Stage::Booted => match (trace, attempt.stage) {
            (Some(State::Aborted), _) => Fate::RolledBack(aborted(reset)),
            (Some(State::New | State::PendingVerify), _) => {
                Fate::RolledBack("rolled back: the bootloader could not start the new image")
            }
            (_, Stage::Booted) => {
                Fate::RolledBack("rolled back: the device lost power while the new image was being confirmed")
            }
            _ => Fate::Interrupted("interrupted: the device restarted before the new image was selected"),
        },
    }
}

/// Why the one boot of a new image ended unconfirmed, as far as the reset tells: a power-on may be a cut, a button or
/// somebody who unplugged an image that hung.
fn aborted(reset: ResetReason) -> &'static str {
    match reset {
        ResetReason::Panic => "rolled back: the new image crashed before it was confirmed",
        ResetReason::Watchdog => "rolled back: the new image hung before it was confirmed",
        ResetReason::PowerOn | ResetReason::BrownOut => {
            "rolled back: the power was lost before the new image was confirmed"
        }
        ResetReason::Software | ResetReason::Unknown => {
            "rolled back: the new image restarted before it was confirmed"
        }
    }
}

impl Agent {
    /// Starts the agent after a boot. `running` is what the port knows to run, not what otadata selects.
    pub fn boot<F: NorFlash>(
        flash: &mut F,
        settings: Settings,
        running: Running,
        now_ms: u64,
    ) -> Result<Self, BootError> {
        if !flash::is_supported::<F>() {
            return Err(BootError::UnsupportedFlash);
        }
        let table = Table::read(flash).map_err(BootError::Table)?;
        let partition = match running {
            Running::Factory => table.factory,
            Running::Slot(slot) => table.slots.get(usize::from(slot)).copied(),
        };
        let partition = partition.ok_or(BootError::NoSuchSlot)?;
        let slots = table.slots.len() as u8;
        let entries = Entries::read(flash, table.otadata).map_err(BootError::Flash)?;
        let image = read_slot(flash, partition).map_err(BootError::Flash)?.ok();
        let (journal, record) = Journal::open(flash, settings.record).map_err(BootError::Flash)?;
        let target = match running {
            Running::Factory => 0,
            Running::Slot(slot) => (slot + 1) % slots,
        };
        let slot = table.slots[usize::from(target)];
        let mut agent = Self {
            settings,
            table,
            running,
            running_state: State::Undefined,
            image,
            journal,
            record,
            blamed: None,
            phase: Phase::Idle,
            now_ms,
            connected: false,
            application_well: false,
            url: String::new(),
            trigger_waits: false,
            to: None,
            target,
            download: Download::new(slot),
            read_back: ReadBack::new(slot, 0),
            received_sha256: [0; 32],
            retries: 0,
            furthest: 0,
            url_requests: 0,
            progress_ms: None,
            next_fetch: 0,
            fetch_due: false,
            cancel_due: false,
            outbox: Deque::new(),
            next_message: 0,
            outcome: None,
        };
        agent.note_state(&entries);
        agent.wake(flash, &entries);
        Ok(agent)
    }

    pub(super) fn note_state(&mut self, entries: &Entries) {
        self.running_state = match self.running {
            Running::Factory => State::Undefined,
            Running::Slot(slot) => entries.state_of(slot, self.slots()).unwrap_or(State::Undefined),
        };
    }

    fn wake<F: NorFlash>(&mut self, flash: &mut F, entries: &Entries) {
        let before = self.record.clone();
        let sha256 = self.image.as_ref().map(|image| image.sha256);
        let attempt = self.record.attempt.clone();
        match fate(entries, self.running, self.slots(), sha256, attempt.as_ref(), self.settings.reset) {
            Fate::Nothing => {}
            Fate::OnTrial { again } => {
                self.record.rollback = match self.running_state {
                    // The bootloader did not turn it into PENDING_VERIFY, so it cannot roll back.
                    State::New => Some(false),
                    // It did, and can, unless this image was here before.
                    State::PendingVerify => Some(!again),
                    // Torn: says nothing.
                    _ => self.record.rollback,
                };
                self.to = self.version().cloned();
                match &mut self.record.attempt {
                    Some(attempt) if Some(attempt.sha256) == sha256 => attempt.stage = Stage::Booted,
                    other => {
                        *other = self.image.as_ref().map(|image| Attempt {
                            stage: Stage::Booted,
                            slot: match self.running {
                                Running::Slot(slot) => slot,
                                Running::Factory => 0,
                            },
                            sha256: image.sha256,
                            to: self.to.clone(),
                        });
                    }
                }
                let until_ms = self.now_ms + u64::from(self.settings.self_test_ms);
                self.phase = Phase::SelfTest { until_ms };
                // The boot that a bootloader with rollback would have refused. Power that came on says nothing against
                // the image: it gets another chance.
                if again && self.settings.reset != ResetReason::PowerOn {
                    self.phase = self.reject(flash, "it did not confirm itself in its first boot");
                    return;
                }
            }
            Fate::Confirmed => self.end(attempt, Outcome::Success, self.success_reason()),
            Fate::Interrupted(why) => self.end(attempt, Outcome::Failed, Reason::new(why)),
            Fate::RolledBack(why) => {
                self.blame(attempt.as_ref());
                self.end(attempt, Outcome::Failed, Reason::new(why));
            }
            Fate::Rejected => {
                self.blame(attempt.as_ref());
                let why = self.record.last.as_ref().map(|last| last.reason.clone()).unwrap_or_default();
                self.end(attempt, Outcome::Failed, why);
            }
        }
        if self.record != before {
            // Without a record this boot's findings are still reported; only the next boot will not know them.
            let _ = self.journal.store(flash, &self.record);
        }
    }

    fn blame(&mut self, attempt: Option<&Attempt>) {
        // A rejected image asked for its restart; a crash shows as one; a power cut is nobody's fault.
        if self.settings.reset.blames_the_image() {
            self.blamed = attempt.map(|attempt| attempt.sha256);
        }
    }

    fn end(&mut self, attempt: Option<Attempt>, result: Outcome, reason: Reason) {
        let to = attempt.and_then(|attempt| attempt.to);
        self.record.last = Some(Last { to, result, reason: reason.clone() });
        self.record.attempt = None;
        // Sent at the first connect, together with the report.
        self.outcome = Some((MessageId(0), Status { outcome: result, reason }));
    }

    /// What is remembered, for the port's own start before there is an agent: provisioning writes the first version.
    pub fn remember<F: NorFlash>(
        flash: &mut F,
        settings: &Settings,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), Fault> {
        let (mut journal, mut record) = Journal::open(flash, settings.record)?;
        change(&mut record);
        journal.store(flash, &record)
    }
}
