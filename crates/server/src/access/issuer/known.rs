//! What is known of an issuer's keys, and what to do about one that is needed. No clock, no network.

use std::time::{Duration, Instant};

use oidc::{Algorithm, Key};

use super::fetched::Fetched;

/// How long keys are believed beyond their time while the issuer does not answer.
const STALE_MAX: Duration = Duration::from_hours(6);
/// How often a key that is not known has the issuer asked again.
const UNKNOWN_PAUSE: Duration = Duration::from_mins(1);
/// How long an issuer that did not answer is left alone.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

#[derive(Default, Clone)]
pub(super) struct Known {
    keys: Vec<(String, Key)>,
    fetched: Option<(Instant, Duration)>,
    failed: Option<(Instant, String)>,
    asked_for_unknown: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Step {
    Use(Key),
    Fetch,
    Unknown,
    Unavailable(String),
}

impl Known {
    /// Decides it. Pure, so that hours are a number.
    pub(super) fn step(&self, id: &str, algorithm: Algorithm, now: Instant) -> Step {
        let since = |then: Instant| now.saturating_duration_since(then);
        let failure =
            self.failed.as_ref().filter(|(at, _)| since(*at) < FAILURE_PAUSE).map(|(_, why)| why.clone());
        let age = self.fetched.map(|(at, fresh)| (since(at), fresh));
        match (age, failure) {
            (None, Some(why)) => Step::Unavailable(why),
            (None, None) => Step::Fetch,
            (Some((age, fresh)), Some(why)) if age > fresh + STALE_MAX => Step::Unavailable(why),
            (Some((age, fresh)), None) if age > fresh => Step::Fetch,
            (Some(_), failure) => {
                let found = self.keys.iter().find(|(known, key)| known == id && key.fits(algorithm));
                let asked = self.asked_for_unknown.is_some_and(|at| since(at) < UNKNOWN_PAUSE);
                match found {
                    Some((_, key)) => Step::Use(key.clone()),
                    None if asked || failure.is_some() => Step::Unknown,
                    None => Step::Fetch,
                }
            }
        }
    }

    pub(super) fn note(&mut self, answer: Result<Fetched, String>, now: Instant) {
        if self.fetched.is_some_and(|(at, fresh)| now.saturating_duration_since(at) <= fresh) {
            self.asked_for_unknown = Some(now);
        }
        match answer {
            Ok(Fetched { keys, fresh }) => {
                (self.keys, self.fetched, self.failed) = (keys, Some((now, fresh)), None);
            }
            Err(why) => self.failed = Some((now, why)),
        }
    }
}
