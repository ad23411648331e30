//! What became of the attempt that was under way: derived from otadata, from what runs, and from the record.

use contract::Code;

use crate::otadata::{Entries, Running, State};
use crate::record::{Attempt, Stage};
use crate::sentences::Says;
use crate::settings::ResetReason;

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

/// What this boot found.
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

/// Pure.
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
