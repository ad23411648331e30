//! Whether the store answers, and since when not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::Store;
use tokio::time::timeout;

use crate::clock::now_ms;
use crate::events::Events;

/// How long the store may take to answer all that a decision asks, or whether it answers at all.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer of the store is used again.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct StoreHealth(Arc<Inner>);

struct Inner {
    store: Store,
    events: Events,
    known: Mutex<Known>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default, Clone)]
struct Known {
    asked: Option<Instant>,
    /// Since when it does not answer, and what it says.
    problem: Option<(i64, String)>,
}

impl StoreHealth {
    pub(crate) fn new(store: Store, events: Events) -> Self {
        Self(Arc::new(Inner {
            store,
            events,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Since when the store does not answer, and what it says; `None` if it answers.
    pub(crate) async fn problem(&self) -> Option<(i64, String)> {
        let _asking = self.0.asking.lock().await;
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return known.problem;
        }
        let answer = match timeout(STORE_TIMEOUT, self.0.store.check()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} seconds", STORE_TIMEOUT.as_secs())),
        };
        self.note(answer)
    }

    /// Notes how the store answered, to whichever question.
    pub(crate) fn note(&self, problem: Option<String>) -> Option<(i64, String)> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = known.problem.is_some() != problem.is_some();
        let since = known.problem.as_ref().map_or_else(now_ms, |(since, _)| *since);
        known.asked = Some(Instant::now());
        known.problem = problem.map(|what| (since, what));
        if changed {
            if let Some((_, what)) = &known.problem {
                tracing::warn!("the store does not answer: {what}");
            } else {
                tracing::info!("the store answers again");
            }
            self.0.events.health();
        }
        known.problem.clone()
    }
}
