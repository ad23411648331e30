//! Which images this server has served, and when last: a device that says SUCCESS of one that nobody fetched since it was offered
//! speaks of an earlier update. Which device fetched an image is not in its URL, so that somebody's fetch counts for all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Maximum number of images of which it is known.
const IMAGES_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Fetched {
    /// Whether devices fetch from this server.
    is_served_here: bool,
    served: Mutex<Served>,
}

#[derive(Debug)]
struct Served {
    /// Nothing is known of what was before.
    since: i64,
    last: HashMap<String, i64>,
}

impl Fetched {
    pub(super) fn new(is_served_here: bool, now: i64) -> Self {
        Self { is_served_here, served: Mutex::new(Served { since: now, last: HashMap::new() }) }
    }

    pub(super) fn note(&self, key: &str, now: i64) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = served.last.get_mut(key) {
            *last = now;
            return;
        }
        if served.last.len() >= IMAGES_MAX {
            *served = Served { since: now, last: HashMap::new() };
        }
        served.last.insert(key.to_owned(), now);
    }

    /// Whether this image can have been fetched since then. Where the clock was set back since, nothing is known.
    pub(super) fn is_possible(&self, key: &str, since: i64, now: i64) -> bool {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_served_here
            || since < served.since
            || since > now
            || served.last.get(key).is_some_and(|last| *last >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_served_since_was_not_fetched_and_what_is_not_known_may_have_been() {
        let fetched = Fetched::new(true, 10);
        assert!(fetched.is_possible("a", 9, 20), "before the start");
        assert!(!fetched.is_possible("a", 10, 20));
        assert!(fetched.is_possible("a", 10, 9), "the clock was set back");
        fetched.note("a", 12);
        assert!(
            fetched.is_possible("a", 12, 20)
                && !fetched.is_possible("a", 13, 20)
                && !fetched.is_possible("b", 11, 20)
        );
        assert!(Fetched::new(false, 10).is_possible("a", 11, 20), "a bucket serves it");
    }

    #[test]
    fn it_remembers_so_many_images_at_most() {
        let fetched = Fetched::new(true, 0);
        for n in 0..=IMAGES_MAX {
            fetched.note(&n.to_string(), 5);
        }
        assert_eq!(fetched.served.lock().expect("whole").last.len(), 1);
        assert!(fetched.is_possible("0", 4, 20) && !fetched.is_possible("0", 5, 20));
    }
}
