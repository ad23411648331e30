//! The life of an update: `offered → downloading → restarting`, then one of five ends; `deferred` on the way, where the device asks for it.
//!
//! What a device reports as running is always the truth, and revises every other end.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use core::fmt;

use cause::{Cause, update as causes};
use contract::{Code, LastOutcome, Outcome, Phase, Reason, Sha256, Status, Version};
use serde::{Deserialize, Serialize};

use crate::verdict::{Verdict, verdict_of};

/// What an update is about.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateView {
    /// Where it stands.
    pub state: UpdateState,
    /// What ran when it was offered.
    pub from: Option<Version>,
    /// What was offered.
    pub to: Version,
    /// The digests by which its image is known, that of its bytes first; none if they are not known.
    pub images: Vec<Sha256>,
    /// How far it is known to have come.
    pub delivery: Delivery,
    /// What the device last reported that it runs.
    pub running: Option<Version>,
    /// Its success stands on the device's word alone: no report of the target followed.
    pub is_believed: bool,
}

/// What was last heard of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When, in words.
    pub at: String,
    /// What it reported that it runs, in its words.
    pub running: Option<String>,
}

/// How far an update is known to have come: a status that could not be of it is of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// No trigger was sent.
    Unsent,
    /// A trigger was sent; the image, which this server serves, was not fetched.
    Sent,
    /// The image was fetched, or that cannot be known.
    Fetched,
}

/// What a device said it runs.
#[derive(Debug, Clone)]
pub struct ReportView {
    /// The running version.
    pub version: Version,
    /// The running image's digest, if the device says one.
    pub sha256: Option<Sha256>,
    /// ESP-IDF's state of the running slot, if the device says one.
    pub state: Option<String>,
    /// The broker kept it from earlier: it may be older than the last status.
    pub retained: bool,
    /// How the last attempt ended, if the device says and had not said before the update was offered.
    pub news: Option<LastOutcome>,
}

/// What happened to an update.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for one message; a box would cost more than it saves"
)]
#[derive(Debug, Clone)]
pub enum Event {
    /// The device told how far it is.
    Progress(Phase),
    /// A device that reports bare versions said SUCCESS or FAILED: it is believed.
    PlainStatus(Status),
    /// A device that reports JSON said so: SUCCESS waits for the report of the target.
    Status(Status),
    /// The device told what it runs.
    Report(ReportView),
    /// The update did not go on for too long; and what was last heard of the device, if anything was.
    Silence(Option<Heard>),
    /// A device that was offered something asked to be left alone for a while.
    Deferred(Reason),
    /// That time is over.
    AskAgain,
    /// A person stopped it.
    Cancel,
}

/// What becomes of the update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The new state.
    pub state: UpdateState,
    /// Why; `None` where the state says it all.
    pub why: Option<Why>,
}

/// Why an update ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The server found it out.
    Cause(Cause),
    /// The device's own words, with its code at the end where it gave one.
    Device(String),
}

/// Applies one event to the device's newest update; `None` changes nothing. Applying it twice is as applying it once.
pub fn apply(update: &UpdateView, event: &Event) -> Option<Change> {
    let in_flight = update.state.is_in_flight();
    let change = match event {
        Event::Progress(phase) if in_flight => to(match phase {
            Phase::Download | Phase::Verify => UpdateState::Downloading,
            Phase::Restart => UpdateState::Restarting,
        }),
        // Such a device tells the version in its report, and a status tells none.
        Event::Status(status) if is_of_confirmed(update.state, &status.reason) => return None,
        Event::PlainStatus(status) | Event::Status(status) if !is_possible(update, status.outcome) => {
            return None;
        }
        Event::PlainStatus(status) | Event::Status(status) if status.outcome == Outcome::Failed => {
            in_flight.then(|| failed(update.state, status.reason.as_str()))?
        }
        Event::PlainStatus(_) if in_flight || update.state == UpdateState::TimedOut => {
            match &update.running {
                // What it reports since the offer counts for more than its word.
                Some(running) if is_third(update, running) => other_version(update, running),
                _ => to(UpdateState::Succeeded),
            }
        }
        // It restarted into something; what that is, its report tells.
        Event::Status(_) if in_flight => to(UpdateState::Restarting),
        Event::Report(report) => return reported(update, report),
        Event::Silence(heard) if in_flight => {
            because(UpdateState::TimedOut, Why::Cause(silence(update, heard.as_ref())))
        }
        Event::Cancel if in_flight => to(UpdateState::Cancelled),
        Event::Deferred(reason) if in_flight && update.state != UpdateState::Restarting => {
            let why = (!reason.as_str().is_empty()).then(|| Why::Device(reason.as_str().to_owned()));
            return Some(Change { state: UpdateState::Deferred, why });
        }
        Event::AskAgain if update.state == UpdateState::Deferred => to(UpdateState::Offered),
        Event::Progress(_)
        | Event::PlainStatus(_)
        | Event::Status(_)
        | Event::Silence(_)
        | Event::Deferred(_)
        | Event::AskAgain
        | Event::Cancel => return None,
    };
    changed(update, change)
}

fn reported(update: &UpdateView, report: &ReportView) -> Option<Change> {
    use UpdateState::{Restarting, Succeeded};
    let in_flight = update.state.is_in_flight();
    if runs_target(update, report) {
        return match report.state.as_deref() {
            None | Some("valid") => changed(update, to(Succeeded)),
            Some("pending_verify" | "new") if in_flight => changed(update, to(Restarting)),
            _ => None,
        };
    }
    if let Some(news) = &report.news
        && in_flight
        && news.result == Outcome::Failed
        && news.to.as_ref().map_or_else(
            || !news.reason.as_ref().is_some_and(|reason| is_of_confirmed(update.state, reason)),
            |tried| *tried == update.to,
        )
    {
        let reason = news.reason.as_ref().map_or("", |reason| reason.as_str());
        return changed(update, failed(update.state, reason));
    }
    // It has restarted, and confirmed something else.
    if update.state == Restarting && !report.retained && report.state.as_deref() == Some("valid") {
        let is_back = update.from.as_ref() == Some(&report.version);
        let (state, why) = if is_back {
            (UpdateState::RolledBack, causes::OLD_VERSION_AGAIN)
        } else if report.version == update.to {
            (UpdateState::Failed, causes::OTHER_IMAGE_RUNS)
        } else {
            return Some(other_version(update, &report.version));
        };
        return Some(because(state, Why::Cause(why.naming("version", &report.version))));
    }
    // What the broker kept may be older than the success.
    if update.state != Succeeded || report.retained {
        return None;
    }
    fallen_back(update, report).or_else(|| {
        let back_again = update.from.as_ref() == Some(&report.version);
        back_again
            .then(|| Why::Cause(causes::OLD_VERSION_AGAIN.naming("version", &report.version)))
            .map(|why| because(UpdateState::RolledBack, why))
            .or_else(|| {
                let is_other = update.is_believed && is_third(update, &report.version);
                is_other.then(|| other_version(update, &report.version))
            })
    })
}

/// Neither what ran before nor what was offered.
fn is_third(update: &UpdateView, running: &Version) -> bool {
    *running != update.to && update.from.as_ref() != Some(running)
}

/// The image that was installed calls itself otherwise, or another one was installed meanwhile: neither says that it is bad.
fn other_version(update: &UpdateView, running: &Version) -> Change {
    let cause = causes::OTHER_VERSION_RUNS.naming("version", running).naming("to", &update.to);
    because(UpdateState::Failed, Why::Cause(cause))
}

/// Whether the target runs: its bytes decide, where both are known; whatever calls itself by its name is not it.
fn runs_target(update: &UpdateView, report: &ReportView) -> bool {
    match report.sha256.filter(|_| !update.images.is_empty()) {
        Some(running) => update.images.contains(&running),
        None => report.version == update.to,
    }
}

/// A device that gave the target up after it had run, to whichever version: a crash loop is seen only after the
/// success. Told again it changes nothing, and of another update's target it says nothing of this one.
fn fallen_back(update: &UpdateView, report: &ReportView) -> Option<Change> {
    let news = report.news.as_ref()?;
    let reason = news.reason.as_ref().map_or("", |reason| reason.as_str());
    let given_up = news.result == Outcome::Failed && news.to.as_ref() == Some(&update.to) && has_run(reason);
    given_up.then(|| because(UpdateState::RolledBack, Why::Device(reason.to_owned())))
}

/// Whether a status can be of this update: who is at work on it says so, else it was sent, and fetched before it succeeded.
fn is_possible(update: &UpdateView, outcome: Outcome) -> bool {
    let needed = if outcome == Outcome::Success { Delivery::Fetched } else { Delivery::Sent };
    matches!(update.state, UpdateState::Downloading | UpdateState::Restarting)
        || update.delivery == Delivery::Fetched
        || update.delivery == needed
}

/// Only a confirmed image has a crash loop: one that is told before the restart is of the image that ran until then, and
/// says nothing of the one that is being fetched.
fn is_of_confirmed(state: UpdateState, reason: &Reason) -> bool {
    state != UpdateState::Restarting && reason.code() == Some(Code::CrashLoop)
}

/// Whether the new image ran before it failed: the code says so, or without one the words.
fn has_run(reason: &str) -> bool {
    verdict_of(reason).map_or_else(
        || reason.starts_with("rolled back"),
        |verdict| matches!(verdict, Verdict::GivenUp | Verdict::RanExcused),
    )
}

/// A failure of an image that had run is a roll-back. Where no code tells, one after the restart is.
fn failed(state: UpdateState, reason: &str) -> Change {
    let restarted = state == UpdateState::Restarting && verdict_of(reason).is_none();
    let rolled_back = restarted || has_run(reason);
    let state = if rolled_back { UpdateState::RolledBack } else { UpdateState::Failed };
    let unsaid = || Why::Cause(causes::NO_REASON.cause());
    because(state, if reason.is_empty() { unsaid() } else { Why::Device(reason.to_owned()) })
}

/// Says what was heard, and never that nothing was: a device may speak of everything but its update.
fn silence(update: &UpdateView, heard: Option<&Heard>) -> Cause {
    let why = match update.state {
        UpdateState::Downloading => causes::SILENT_IN_DOWNLOAD,
        UpdateState::Restarting => causes::SILENT_AFTER_RESTART,
        _ => causes::SILENT_AFTER_TRIGGER,
    };
    with_heard(why.naming("to", &update.to), heard)
}

/// A cause with what was last heard of the device.
pub(crate) fn with_heard(cause: Cause, heard: Option<&Heard>) -> Cause {
    let Some(heard) = heard else { return cause };
    cause.with("heard", heard.at.as_str()).with("running", heard.running.as_deref())
}

fn to(state: UpdateState) -> Change {
    Change { state, why: None }
}

fn because(state: UpdateState, why: Why) -> Change {
    Change { state, why: Some(why) }
}

fn changed(update: &UpdateView, change: Change) -> Option<Change> {
    (change.state != update.state).then_some(change)
}

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// The trigger was sent, or is about to be.
    Offered,
    /// The device asked to be left alone for a while.
    Deferred,
    /// The device is fetching.
    Downloading,
    /// The device is about to restart, or has.
    Restarting,
    /// The target runs.
    Succeeded,
    /// The device said so; the old image runs.
    Failed,
    /// The new image ran and was taken back.
    RolledBack,
    /// The device fell silent.
    TimedOut,
    /// A person stopped it.
    Cancelled,
}

impl UpdateState {
    /// Every state, in the order of an update's life.
    pub const ALL: [Self; 9] = [
        Self::Offered,
        Self::Deferred,
        Self::Downloading,
        Self::Restarting,
        Self::Succeeded,
        Self::Failed,
        Self::RolledBack,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Deferred => "deferred",
            Self::Downloading => "downloading",
            Self::Restarting => "restarting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether the device may still be at work on it.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Offered | Self::Deferred | Self::Downloading | Self::Restarting)
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests;
