//! When what could not be sent is tried again: after a pause that doubles. Only how a batch ended, or a sweep that failed, changes it.

use std::collections::HashMap;
use std::time::Duration;

use contract::ProductName;
use tokio::time::Instant;

/// How often it is looked for devices that are there and wait: of those that were missed.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// The first pause.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What failed: a product's triggers; `None`, the database.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    failed: HashMap<Option<ProductName>, Retry>,
    /// When one that was left out was well again: what was dropped meanwhile is to be found.
    well_at: Option<Instant>,
}

#[derive(Debug)]
struct Retry {
    pause: Duration,
    at: Instant,
    is_left_out: bool,
}

impl Retries {
    /// `Ok(false)`: some were not sent. An error: none could be, so that the product is left out until it is tried again, and
    /// nobody waits for its store meanwhile.
    pub(super) fn note(&mut self, what: Option<ProductName>, result: &anyhow::Result<bool>, now: Instant) {
        if matches!(result, Ok(true)) {
            if self.failed.remove(&what).is_some_and(|retry| retry.is_left_out && what.is_some()) {
                self.well_at = Some(now);
            }
            return;
        }
        let pause = self.failed.get(&what).map_or(AGAIN_AFTER, |retry| (retry.pause * 2).min(SWEEP_EVERY));
        let retry = Retry { pause, at: now + pause, is_left_out: result.is_err() };
        self.failed.insert(what, retry);
    }

    pub(super) fn is_left_out(&self, product: &ProductName, now: Instant) -> bool {
        let retry = self.failed.get(&Some(product.clone()));
        retry.is_some_and(|retry| retry.is_left_out && now < retry.at)
    }

    /// When the next sweep is due, after one that began then.
    pub(super) fn sweep_at(&self, swept: Instant) -> Instant {
        let due = self.failed.values().map(|retry| retry.at).chain(self.well_at).filter(|at| *at > swept);
        due.fold(swept + SWEEP_EVERY, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_until_a_batch_succeeds_however_many_sweeps_there_are() {
        let mut retries = Retries::default();
        let lamp: ProductName = "lamp".parse().expect("a product");
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            retries.note(Some(lamp.clone()), &Err(anyhow::anyhow!("it hangs")), now);
            retries.note(None, &Ok(true), now);
            assert!(retries.is_left_out(&lamp, now));
            let due = retries.sweep_at(now);
            assert_eq!(due - now, Duration::from_secs(seconds));
            assert!(!retries.is_left_out(&lamp, due));
            now = due;
        }
        assert_eq!(retries.sweep_at(now), now + SWEEP_EVERY, "a sweep that has begun is not due again");
        retries.note(Some(lamp.clone()), &Ok(true), now);
        assert_eq!(
            retries.sweep_at(now - Duration::from_secs(1)),
            now,
            "what was dropped meanwhile is found"
        );
        retries.note(Some(lamp.clone()), &Ok(false), now);
        assert!(!retries.is_left_out(&lamp, now), "some of it was sent");
        assert_eq!(retries.sweep_at(now), now + Duration::from_secs(1));
        for seconds in [1, 2, 4] {
            retries.note(None, &Err(anyhow::anyhow!("no database")), now);
            now += Duration::from_secs(seconds);
        }
        assert_eq!(retries.sweep_at(now - Duration::from_secs(1)), now, "a failed sweep counts");
    }
}
