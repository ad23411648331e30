//! What does not answer, and since when.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::check::STORE_PATIENCE;
use super::{App, now_ms, time};
use crate::mqtt::LinkState;

/// An answer of the store is believed so long.
const FRESH: Duration = Duration::from_secs(5);

/// What the store last answered.
#[derive(Debug, Default)]
pub(super) struct Health {
    store: Mutex<StoreHealth>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct StoreHealth {
    asked: Option<Instant>,
    /// Since when it does not answer, and what it says.
    problem: Option<(i64, String)>,
}

/// A time as a person reads it.
fn clock(time: DateTime<Utc>) -> impl Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}

impl App {
    /// None if store and broker answer; else one sentence per thing that does not, with since when.
    pub async fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some((since, what)) = self.store_problem().await {
            problems.push(format!("The store has not answered since {}: {what}", clock(time(since))));
        }
        match self.mqtt().map(|mqtt| mqtt.link().borrow().clone()) {
            None => problems.push("The server is still connecting to its broker.".to_owned()),
            Some(LinkState::Down { since, reason }) => {
                problems.push(format!("The broker has not answered since {}: {reason}", clock(since)));
            }
            Some(LinkState::CatchingUp | LinkState::Up) => {}
        }
        if let Err(error) = self.db().alive().await {
            problems.push("The database does not answer; the log says why.".to_owned());
            tracing::error!(%error, "the database does not answer");
        }
        problems
    }

    /// Since when the store does not answer, and what it says; `None` if it answers.
    pub(crate) async fn store_problem(&self) -> Option<(i64, String)> {
        let _asking = self.inner.health.asking.lock().await;
        let known = self.inner.health.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return known.problem;
        }
        let answer = match timeout(STORE_PATIENCE, self.store().check()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} seconds", STORE_PATIENCE.as_secs())),
        };
        self.note_store(answer)
    }

    /// Notes how the store answered, to whichever question.
    pub(crate) fn note_store(&self, problem: Option<String>) -> Option<(i64, String)> {
        let mut known = self.inner.health.store.lock().unwrap_or_else(PoisonError::into_inner);
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
            self.announce().health();
        }
        known.problem.clone()
    }
}
