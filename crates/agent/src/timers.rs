//! The agent's timers in one table, and the time by which they run.
//!
//! Time is a value: it stands still until the port says how late it is.

/// What a timer is for; at most one of each kind runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The phase ends, or what it waits for is given up.
    Phase,
    /// The crashes of the running image are forgotten.
    Stable,
    /// Connection settings that are on trial are given up.
    Move,
    /// Until then no further progress is published.
    Progress,
    /// The connection is judged by how much it brought.
    Pace,
}

/// The first kinds are those that the port wakes the agent for.
const WAKING: usize = Timer::Move as usize + 1;
const KINDS: usize = Timer::Pace as usize + 1;
/// The end of time is no time.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Timers {
    pub(crate) now_ms: u64,
    ends_ms: [u64; KINDS],
}

impl Timers {
    pub(crate) const NEW: Self = Self { now_ms: 0, ends_ms: [NEVER; KINDS] };

    /// Starts a timer, in place of one of its kind that runs.
    #[inline(never)]
    pub(crate) fn start(&mut self, timer: Timer, after_ms: u32) {
        self.ends_ms[timer as usize] = self.now_ms + u64::from(after_ms);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.ends_ms[timer as usize] = NEVER;
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.end_ms(timer).is_some()
    }

    /// When it ends, or ended; `None`: it was not started, or was stopped.
    pub(crate) fn end_ms(&self, timer: Timer) -> Option<u64> {
        Some(self.ends_ms[timer as usize]).filter(|at_ms| *at_ms != NEVER)
    }

    #[inline(never)]
    pub(crate) fn has_ended(&self, timer: Timer) -> bool {
        self.now_ms >= self.ends_ms[timer as usize]
    }

    /// When the first timer ends that the port wakes the agent for.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.ends_ms.iter().copied().take(WAKING).min().filter(|at_ms| *at_ms != NEVER)
    }
}
