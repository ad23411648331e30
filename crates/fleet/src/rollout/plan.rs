//! What a rollout does next. The same snapshot gives the same actions; whoever does them may be killed in between, and asks again.

use alloc::vec::Vec;

use cause::{Cause, rollout as causes};
use contract::DeviceId;

use super::shape::Shape;

/// Where a rollout is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Devices are offered the version.
    Running,
    /// A person stopped it for a while.
    Paused,
    /// Every step ended well. Who was offline still gets it, when it comes.
    Done,
    /// Too many failed, or a person ended it: for good.
    Over,
}

/// How many devices of a step are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// Not offered it yet.
    pub waiting: u64,
    /// At work on it.
    pub in_flight: u64,
    /// Run it.
    pub succeeded: u64,
    /// Failed, rolled back or timed out.
    pub failed: u64,
    /// Not to be offered it any more.
    pub cancelled: u64,
}

impl StepCounts {
    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            waiting: self.waiting + other.waiting,
            in_flight: self.in_flight + other.in_flight,
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            cancelled: self.cancelled + other.cancelled,
        }
    }

    /// Whether nobody was offered it, or will be.
    fn is_nobody(&self) -> bool {
        self.waiting + self.in_flight + self.succeeded + self.failed == 0
    }
}

/// A device that waits and can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub device: DeviceId,
    /// Its step.
    pub step: usize,
}

/// What is known of one rollout at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What was asked.
    pub shape: Shape,
    /// The version, as it is said.
    pub version: alloc::string::String,
    /// Where it is.
    pub life: Life,
    /// The step that it is in, counted from 0.
    pub step: usize,
    /// How many steps are open: whose devices are looked for among those that can be reached.
    pub opened: usize,
    /// Until when the step is watched, once its devices have ended.
    pub soak_until: Option<i64>,
    /// Why its version must not be offered, if so.
    pub blocked: Option<Cause>,
    /// Of each step.
    pub counts: Vec<StepCounts>,
    /// Some of the devices of open steps that wait and can be reached; none only if there are none.
    pub candidates: Vec<Candidate>,
    /// Whether those who are there had the time to say so: after a start of the server, or of its broker, nobody is there at
    /// first.
    pub is_presence_known: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Look for the devices of this step among those that can be reached; with the last step, for those that have joined since the
    /// start.
    Open(usize),
    /// Offer it to these.
    Offer(Vec<DeviceId>),
    /// The devices of the step have ended: it is watched until then.
    Soak(i64),
    /// Go on with this step.
    Enter(usize),
    /// Nobody who waits is offered it any more, and why.
    CancelWaiting(Cause),
    /// End it: it fails, or must not be offered.
    Halt(Cause),
    /// End it: nothing failed, and it does not get any further.
    Abort(Cause),
    /// Every step has ended well.
    Finish,
}

/// What is to be done now, in this order.
pub fn plan(now: &Snapshot, time: i64) -> Vec<Action> {
    match now.life {
        Life::Over => Vec::new(),
        Life::Done => of_rest(now, time),
        Life::Running | Life::Paused => halt(now).map_or_else(
            || if now.life == Life::Paused { Vec::new() } else { of_running(now, time) },
            |why| alloc::vec![Action::Halt(why)],
        ),
    }
}

fn halt(now: &Snapshot) -> Option<Cause> {
    let ended: Vec<_> = now.counts.iter().map(|step| (step.succeeded, step.failed)).collect();
    now.blocked.clone().or_else(|| now.shape.halt_at.verdict(&now.version, &ended))
}

/// Of one that is done: those who were offline.
fn of_rest(now: &Snapshot, time: i64) -> Vec<Action> {
    if now.counts.iter().all(|step| step.waiting == 0) {
        return Vec::new();
    }
    // It may turn out to be a bad one only now.
    let why = halt(now).or_else(|| is_expired(now, time).then(|| expired(now)));
    why.map_or_else(|| offer(now, time).into_iter().collect(), |why| alloc::vec![Action::CancelWaiting(why)])
}

fn of_running(now: &Snapshot, time: i64) -> Vec<Action> {
    let (steps, is_last) = (now.shape.steps.len(), now.step + 1 >= now.shape.steps.len());
    if now.opened <= now.step {
        return alloc::vec![Action::Open(now.step)];
    }
    if is_expired(now, time) {
        let waits = now.counts.iter().any(|step| step.waiting > 0);
        match (is_last, waits) {
            (false, _) => {
                let cause = causes::EXPIRED.with("step", now.step as u64 + 1);
                return alloc::vec![Action::Abort(cause.with("steps", steps as u64))];
            }
            (true, true) => return alloc::vec![Action::CancelWaiting(expired(now))],
            (true, false) => {}
        }
    }
    let mut actions: Vec<Action> = offer(now, time).into_iter().collect();
    // A step holds those before it, too.
    let so_far = now.counts.iter().take(now.step + 1).fold(StepCounts::default(), StepCounts::and);
    let goes_on = so_far.in_flight > 0 || (so_far.waiting > 0 && !now.is_presence_known);
    let soak_s = now.shape.steps.get(now.step).map_or(0, |step| step.soak_s);
    actions.extend(match now.soak_until {
        Some(until) if time < until => None,
        // Who was well may have fallen back since.
        Some(_) => next(now, so_far, is_last),
        None if goes_on || !now.candidates.is_empty() || !actions.is_empty() => None,
        // A step that adds nobody has nothing to be watched.
        None if soak_s == 0 || now.counts.get(now.step).is_none_or(StepCounts::is_nobody) => {
            next(now, so_far, is_last)
        }
        None if so_far.succeeded == 0 => next(now, so_far, is_last),
        None => Some(Action::Soak(time + i64::from(soak_s) * 1000)),
    });
    actions
}

fn next(now: &Snapshot, so_far: StepCounts, is_last: bool) -> Option<Action> {
    let StepCounts { waiting, in_flight, succeeded, failed, .. } = so_far;
    match (succeeded, failed) {
        // The first one that comes back says more.
        (0, _) if waiting + in_flight > 0 => None,
        (0, 1..) => Some(none_succeeded(now)),
        (0, 0) if is_last => Some(Action::Abort(causes::NOBODY_LEFT.with("version", now.version.as_str()))),
        _ if is_last => Some(Action::Finish),
        _ => Some(Action::Enter(now.step + 1)),
    }
}

fn none_succeeded(now: &Snapshot) -> Action {
    let cause = causes::NONE_SUCCEEDED.with("version", now.version.as_str());
    Action::Halt(cause.with("step", now.step as u64 + 1))
}

fn expired(now: &Snapshot) -> Cause {
    causes::LEFT_OUT_EXPIRED.with("version", now.version.as_str())
}

fn is_expired(now: &Snapshot, time: i64) -> bool {
    now.shape.expires_at.is_some_and(|at| time >= at)
}

/// Offers it to as many as may be at work at once.
fn offer(now: &Snapshot, time: i64) -> Option<Action> {
    let is_open = now.shape.window.as_ref().is_none_or(|window| window.is_open(time));
    let in_flight: u64 = now.counts.iter().map(|step| step.in_flight).sum();
    let room = u64::from(now.shape.max_in_flight).saturating_sub(in_flight);
    if !is_open || room == 0 {
        return None;
    }
    let candidates = now.candidates.iter().filter(|candidate| candidate.step <= now.step);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let devices: Vec<DeviceId> = candidates.take(room).map(|candidate| candidate.device.clone()).collect();
    (!devices.is_empty()).then_some(Action::Offer(devices))
}

#[cfg(test)]
mod tests;
