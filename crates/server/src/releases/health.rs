//! Whether the store answers, and since when not.

use std::sync::Arc;
use std::time::Duration;

use flight::Flight;
use store::Store;
use tokio::time::timeout;

use crate::clock::now_ms;
use crate::events::Events;

/// How long the store may take to answer all that a decision asks, or whether it answers at all.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer of the store is used again.
const FRESH: Duration = Duration::from_secs(5);

/// Since when it does not answer, and what it says.
type Problem = Option<(i64, String)>;

#[derive(Clone)]
pub(crate) struct StoreHealth {
    store: Store,
    events: Events,
    known: Arc<Flight<Problem>>,
}

impl StoreHealth {
    pub(crate) fn new(store: Store, events: Events) -> Self {
        Self { store, events, known: Arc::default() }
    }

    /// Since when the store does not answer, and what it says; `None` if it answers.
    pub(crate) async fn problem(&self) -> Problem {
        let health = self.clone();
        let ask = async move {
            health.noted(match timeout(STORE_TIMEOUT, health.store.check()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {} seconds", STORE_TIMEOUT.as_secs())),
            })
        };
        let answer = self.known.get(|last| last.age() < FRESH, ask).await;
        answer.unwrap_or_else(|| Some((now_ms(), "asking it broke off".to_owned())))
    }

    /// Notes that the store answered, to whichever question.
    pub(crate) fn answers(&self) {
        self.known.note(self.noted(None));
    }

    /// The same since when, if it did not answer before either.
    fn noted(&self, said: Option<String>) -> Problem {
        let before = self.known.last().and_then(|last| last.value);
        let problem = said.map(|said| (before.as_ref().map_or_else(now_ms, |(since, _)| *since), said));
        match (&before, &problem) {
            (None, Some((_, said))) => tracing::warn!("the store does not answer: {said}"),
            (Some(_), None) => tracing::info!("the store answers again"),
            _ => return problem,
        }
        self.events.health();
        problem
    }
}
