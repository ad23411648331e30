//! What is asked of a rollout: its steps and its limits.

use alloc::vec::Vec;

use cause::{Cause, rollout as causes};

use super::halt::HaltAt;
use super::percent::Percent;
use super::window::Window;
use serde::{Deserialize, Serialize};

/// Maximum number of steps.
const STEPS_MAX: usize = 50;
/// The longest soak: 90 days.
const SOAK_MAX_S: u32 = 90 * 86_400;

/// A part of the devices, and how long it is watched before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Up to and with this step, of all devices.
    pub percent: Percent,
    /// How long it is watched after its devices have ended, in seconds.
    #[serde(default)]
    pub soak_s: u32,
}

/// What does not change while a rollout runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Increasing, up to 100 %.
    pub steps: Vec<Step>,
    /// At most so many devices are at work on it at once.
    pub max_in_flight: u32,
    /// When it stops by itself.
    pub halt_at: HaltAt,
    /// When devices are offered it; always, if it has none.
    pub window: Option<Window>,
    /// Who was not offered it by then is not offered it any more, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

impl Shape {
    /// Why it cannot be, if so.
    pub fn refusal(&self, now: i64) -> Option<Cause> {
        let percents = || self.steps.iter().map(|step| step.percent);
        let is_increasing = percents().zip(percents().skip(1)).all(|(one, next)| one < next);
        if self.steps.is_empty() || self.steps.len() > STEPS_MAX {
            return Some(causes::STEPS.with("most", STEPS_MAX as u64));
        }
        if !is_increasing || percents().next_back() != Some(Percent::ALL) {
            return Some(causes::STEPS_ORDER.cause());
        }
        if self.steps.iter().any(|step| step.soak_s > SOAK_MAX_S) {
            return Some(causes::SOAK.with("most", SOAK_MAX_S));
        }
        if self.max_in_flight == 0 {
            return Some(causes::MAX_IN_FLIGHT.cause());
        }
        self.expires_at.is_some_and(|at| at <= now).then(|| causes::EXPIRES_BEFORE.cause())
    }
}
