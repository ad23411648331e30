//! Processes that are stopped before any of their operations, and go on or are killed there.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use updraft_store::Store;
use updraft_store::testing::{Fate, FaultyStore, Kind, Operation};

use crate::place::Place;

/// Tries the first stops of a first process, some at a time, until it ends by itself. Each try tells how many stops the
/// second had, and whether the first had ended.
pub(crate) async fn try_all(try_first: impl AsyncFn(usize) -> (usize, bool)) {
    const AT_ONCE: usize = 5;
    let mut tried = 0;
    for firsts in (0..60).step_by(AT_ONCE) {
        let results = join_all((firsts..firsts + AT_ONCE).map(async |first| try_first(first).await)).await;
        tried += results.iter().map(|(seconds, _)| seconds).sum::<usize>();
        if results.iter().any(|(_, has_ended)| *has_ended) {
            assert!(firsts > 4 && tried > 100, "only {tried} pairs: is the gate in place?");
            return;
        }
    }
    panic!("it never ends");
}

/// What has been asked by a process that has ended.
const ENDED: usize = usize::MAX;

/// What becomes of a process after it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    GoesOn,
    Killed,
}

/// A process whose operations are let through one by one.
pub(crate) struct Stopped {
    store: Store,
    permits: Arc<Semaphore>,
    asked: watch::Sender<usize>,
}

impl Stopped {
    /// Reads and writes go through as long as there are permits; then they wait for more, or fail once there never will
    /// be any.
    pub(crate) async fn new(place: &Place) -> Self {
        let (permits, asked) = (Arc::new(Semaphore::new(0)), watch::Sender::new(0));
        let (gate, counted) = (Arc::clone(&permits), asked.clone());
        let hook = move |operation: Operation| {
            let (gate, counted) = (Arc::clone(&gate), counted.clone());
            async move {
                if !matches!(operation.kind, Kind::Put | Kind::Get) {
                    return Fate::Done;
                }
                counted.send_modify(|count| *count += 1);
                gate.acquire().await.map_or(Fate::Failed, |permit| {
                    permit.forget();
                    Fate::Done
                })
            }
        };
        let store = place.again().await.through(|objects| FaultyStore::before(objects, hook));
        Self { store, permits, asked }
    }

    pub(crate) fn start<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        job: impl FnOnce(Store) -> F,
    ) -> JoinHandle<T> {
        let (job, asked) = (job(self.store.clone()), self.asked.clone());
        tokio::spawn(async move {
            let said = job.await;
            asked.send_replace(ENDED);
            said
        })
    }

    /// Lets it do so much more.
    pub(crate) fn permit(&self, operations: usize) {
        self.permits.add_permits(operations);
    }

    /// Waits until it stands before an operation, which is counted from the start; whether it has ended instead.
    pub(crate) async fn stops_at(&self, operation: usize) -> bool {
        let mut asked = self.asked.subscribe();
        *asked.wait_for(|asked| *asked > operation).await.expect("it is here") == ENDED
    }

    pub(crate) fn goes_on_or_dies(&self, after: After) {
        match after {
            After::GoesOn => self.permits.add_permits(10_000),
            After::Killed => self.permits.close(),
        }
    }
}
