//! Whether the broker delivers what it lets this server subscribe to. Clones know the same; a new connection forgets it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

/// What the broker was found not to deliver.
#[derive(Debug, Clone, Default)]
pub struct Delivery(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Topics that we may not write: whether they are delivered cannot be found out.
    unwritable: BTreeSet<String>,
    /// Filters that the broker refuses.
    refused: BTreeSet<String>,
    /// Filters of which nothing comes.
    missing: BTreeSet<String>,
    since: Option<DateTime<Utc>>,
}

impl State {
    fn undelivered(&self) -> Vec<&str> {
        self.refused.union(&self.missing).map(String::as_str).collect()
    }
}

impl Delivery {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self) {
        *self.state() = State::default();
    }

    /// The broker refuses the subscription.
    pub(super) fn refuse(&self, filter: &str) {
        let mut state = self.state();
        state.refused.insert(filter.to_owned());
        state.since.get_or_insert_with(Utc::now);
    }

    pub(super) fn cannot_write(&self, topic: &str) {
        self.state().unwritable.insert(topic.to_owned());
    }

    pub(super) fn can_write(&self, topic: &str) -> bool {
        !self.state().unwritable.contains(topic)
    }

    /// What was said on topics of these filters did not come back; on all others it did, or was not said.
    pub(super) fn note_missing(&self, missing: BTreeSet<String>) {
        let mut state = self.state();
        if state.missing == missing {
            return;
        }
        state.missing = missing;
        let topics = state.undelivered().join(", ");
        if topics.is_empty() {
            state.since = None;
            tracing::info!("the MQTT broker delivers what we subscribed to");
        } else {
            state.since.get_or_insert_with(Utc::now);
            tracing::error!(
                %topics,
                "the MQTT broker has taken our subscriptions and delivers nothing on these topics; allow this user to read \
                 them, or what devices say there is not heard"
            );
        }
    }

    /// Whether the devices' words on their updates are not heard, so that nobody may be called silent.
    pub(crate) fn is_deaf(&self) -> bool {
        let spared = ["/ota/progress", "/ota/request", "/presence"];
        self.state().undelivered().iter().any(|filter| !spared.iter().any(|end| filter.ends_with(end)))
    }

    /// The topics of which nothing is heard, and since when that is known.
    pub fn problem(&self) -> Option<(DateTime<Utc>, String)> {
        let state = self.state();
        let topics = state.undelivered().join(", ");
        state.since.filter(|_| !topics.is_empty()).map(|since| (since, topics))
    }
}
