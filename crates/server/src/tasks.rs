//! Tasks that live as long as the server: one that ends before it is told to, or panics, ends the server, and one that gets
//! nowhere is named.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than the database and the store may take for anything.
const STUCK_AFTER: Duration = Duration::from_mins(3);

/// Clones begin tasks that end together.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    /// Cancelled by one that ended before it was told to.
    failed: CancellationToken,
    working: Arc<Mutex<Vec<Working>>>,
}

impl Tasks {
    /// Others, told to end at another time; that one of them failed, or gets nowhere, these say too.
    pub(crate) fn beside(&self) -> Self {
        let (tracker, stopping) = Default::default();
        Self { tracker, stopping, failed: self.failed.clone(), working: Arc::clone(&self.working) }
    }

    /// Begins one that ends once [`Tasks::stopping`] is cancelled. Its name goes on with "ended …".
    pub(crate) fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let ended = Ended { name, tasks: self.clone() };
        self.tracker.spawn(async move {
            let _ended = ended;
            task.await;
        });
    }

    /// What says that one of them gets nowhere.
    pub(crate) fn working(&self, name: &'static str) -> Working {
        let working = Working { name, since: Arc::default() };
        self.working.lock().unwrap_or_else(PoisonError::into_inner).push(working.clone());
        working
    }

    /// The names of those that get nowhere.
    pub(crate) fn stuck(&self) -> Vec<&'static str> {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        working
            .iter()
            .filter(|working| working.is_stuck(Instant::now()))
            .map(|working| working.name)
            .collect()
    }

    /// Cancelled when they are to end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Tells them to end.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
    }

    /// Returns once they have ended; they must have been told to.
    pub(crate) async fn ended(&self) {
        self.tracker.wait().await;
    }

    /// Returns once one of them has ended without being told to.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }
}

/// Dropped when a task ends, however it ends.
struct Ended {
    name: &'static str,
    tasks: Tasks,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if !self.tasks.stopping.is_cancelled() {
            tracing::error!("{} ended, and should not have: the server stops", self.name);
            self.tasks.failed.cancel();
        }
    }
}

/// How long a task has been at one piece of its work.
#[derive(Clone)]
pub(crate) struct Working {
    name: &'static str,
    since: Arc<Mutex<Option<Instant>>>,
}

impl Working {
    /// Does a piece of work that is expected to succeed, maybe after it failed and was begun again.
    pub(crate) async fn on<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.since().get_or_insert_with(Instant::now);
        let done = work.await;
        if done.is_ok() {
            *self.since() = None;
        }
        done
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.since().is_some_and(|since| now.saturating_duration_since(since) > STUCK_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn one_that_ends_or_panics_before_it_is_told_to_has_failed() {
        for is_panicking in [false, true] {
            let tasks = Tasks::default();
            tasks.spawn("a test's task", Box::pin(async move { assert!(!is_panicking) }));
            tokio::time::timeout(Duration::from_secs(9), tasks.failed()).await.expect("it is noticed");
        }
    }

    #[tokio::test]
    async fn those_that_are_told_to_end_have_not_failed() {
        let tasks = Tasks::default();
        let stopping = tasks.stopping().clone();
        tasks.spawn("a test's task", Box::pin(async move { stopping.cancelled().await }));
        tasks.stop();
        tasks.ended().await;
        assert!(!tasks.failed.is_cancelled());
    }

    #[tokio::test]
    async fn one_that_gets_nowhere_is_named() {
        let tasks = Tasks::default();
        let working = tasks.beside().working("a test's task");
        working.on(ready(Ok::<(), ()>(()))).await.expect("done");
        assert!(working.since().is_none());
        // It hangs, and then it fails: neither gets on.
        tokio::select! {
            biased;
            _ = working.on(pending::<Result<(), ()>>()) => unreachable!("it never ends"),
            () = ready(()) => {}
        }
        let since = *working.since();
        working.on(ready(Err::<(), ()>(()))).await.expect_err("it fails");
        assert!(since.is_some() && since == *working.since());
        assert!(!working.is_stuck(Instant::now()) && working.is_stuck(Instant::now() + 2 * STUCK_AFTER));
        assert!(tasks.stuck().is_empty());
    }
}
