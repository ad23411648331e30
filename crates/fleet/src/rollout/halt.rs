//! When a rollout stops by itself.
//!
//! The default is a sequential test of two failure rates (Wald): the evidence is the logarithm of how much likelier the counts
//! are at the unacceptable rate than at the tolerated one. At the tolerated rate it ever exceeds ln(1/p) with a
//! probability of p at most (Ville), however often it is looked at, so that there is no minimum to wait for and no last look. Three
//! questions share [`FALSE_HALTS`]: whether it fails since the first step; since a later one, since what the many before
//! confirmed would outweigh what begins there; and whether it fails on every second device, which three tell.
//! `updraft bench halt` simulates it.

use alloc::string::String;

use cause::{Cause, rollout as causes};
use serde::{Deserialize, Serialize};

use super::percent::Percent;

/// How often a release that fails at the tolerated rate is halted, at most.
const FALSE_HALTS: f64 = 0.005;
/// A release that fails on half of the devices fails.
const SEVERE_RATE: f64 = 0.5;
/// A release that fails on so many, and succeeds on none, fails everywhere.
const EVERYWHERE: u64 = 3;

/// When it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum HaltAt {
    /// As soon as the counts tell the second rate from the first.
    Rates {
        /// So many may fail.
        tolerated: Percent,
        /// So many may not.
        unacceptable: Percent,
    },
    /// As soon as so many of those that ended have failed.
    Fixed {
        /// Of the attempts that ended.
        failed: Percent,
        /// Not before so many have failed.
        min_count: u64,
    },
}

impl Default for HaltAt {
    fn default() -> Self {
        Self::Rates { tolerated: Percent::whole(3), unacceptable: Percent::whole(10) }
    }
}

impl HaltAt {
    /// Why a rollout of `version` is to stop, if so. `ended`: how many succeeded and how many failed, of each step.
    pub fn verdict(&self, version: &str, ended: &[(u64, u64)]) -> Option<Cause> {
        let (succeeded, failed) = sum(ended);
        let cause = match *self {
            Self::Fixed { failed: limit, min_count } => {
                let is_reached = failed >= min_count.max(1) && limit.is_reached(failed, succeeded + failed);
                is_reached.then(|| causes::FAILED_PERCENT.naming("limit", limit))?
            }
            Self::Rates { .. } if succeeded == 0 && failed >= EVERYWHERE => causes::FAILS_EVERYWHERE.cause(),
            Self::Rates { tolerated, unacceptable } => fails(tolerated.rate(), unacceptable.rate(), ended)
                .then(|| causes::FAILS.naming("tolerated", tolerated).naming("unacceptable", unacceptable))?,
        };
        let cause = cause.with("version", version).with("failed", failed).with("ended", succeeded + failed);
        Some(cause.with("percent", percent(failed, succeeded + failed)))
    }
}

/// Whether the higher rate is the likelier one, by far.
fn fails(low: f64, high: f64, ended: &[(u64, u64)]) -> bool {
    // Certain failure would be ruled out by a single success.
    let (all, high) = (sum(ended), high.min(0.999));
    let limit = |share: f64| -(FALSE_HALTS * share).ln();
    let later = u32::try_from(ended.len().saturating_sub(1).max(1)).unwrap_or(u32::MAX);
    let of_later = limit(0.25 / f64::from(later));
    evidence(low, high, all) >= limit(0.5)
        || (1..ended.len()).any(|step| evidence(low, high, sum(&ended[step..])) >= of_later)
        || (high < SEVERE_RATE && evidence(low, SEVERE_RATE, all) >= limit(0.125))
}

fn sum(ended: &[(u64, u64)]) -> (u64, u64) {
    ended.iter().fold((0, 0), |(succeeded, failed), step| (succeeded + step.0, failed + step.1))
}

/// How much likelier the counts are at the higher rate, as a logarithm.
#[expect(clippy::cast_precision_loss, reason = "counts of devices")]
fn evidence(low: f64, high: f64, (succeeded, failed): (u64, u64)) -> f64 {
    failed as f64 * (high / low).ln() + succeeded as f64 * ((1.0 - high) / (1.0 - low)).ln()
}

/// With one decimal.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (part * 1000 + whole / 2).checked_div(whole).unwrap_or_default();
    alloc::format!("{}.{}", tenths / 10, tenths % 10)
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerated_percent: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unacceptable_percent: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_percent: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_count: Option<u64>,
}

impl TryFrom<Written> for HaltAt {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { tolerated_percent, unacceptable_percent, failed_percent, min_count } = written;
        let is_test = tolerated_percent.is_some() || unacceptable_percent.is_some();
        match failed_percent {
            Some(_) if is_test => Err("halt_at has two rates, or failed_percent and min_count, not both"),
            Some(failed) => Ok(Self::Fixed { failed, min_count: min_count.unwrap_or(3) }),
            None if min_count.is_some() => Err("min_count goes with failed_percent"),
            None => {
                let tolerated = tolerated_percent.unwrap_or(Percent::whole(3));
                let unacceptable = unacceptable_percent.unwrap_or(Percent::whole(10));
                let is_apart = tolerated < unacceptable;
                is_apart.then_some(Self::Rates { tolerated, unacceptable }).ok_or(
                    "the tolerated percent (3 if not said) is less than the unacceptable one (10 if not said)",
                )
            }
        }
    }
}

impl From<HaltAt> for Written {
    fn from(halt_at: HaltAt) -> Self {
        match halt_at {
            HaltAt::Rates { tolerated, unacceptable } => Self {
                tolerated_percent: Some(tolerated),
                unacceptable_percent: Some(unacceptable),
                ..Self::default()
            },
            HaltAt::Fixed { failed, min_count } => {
                Self { failed_percent: Some(failed), min_count: Some(min_count), ..Self::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests;
