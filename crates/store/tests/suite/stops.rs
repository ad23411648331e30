//! Processes that are stopped before any of their operations, and go on or are killed there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use updraft_store::Store;
use updraft_store::testing::{Fate, FaultyStore, Kind, Operation};

use crate::place::{Place, until};

/// A process whose operations are let through one by one.
pub(crate) struct Stopped {
    pub(crate) store: Store,
    pub(crate) permits: Arc<Semaphore>,
    asked: Arc<AtomicI64>,
}

impl Stopped {
    /// Reads and writes go through as long as there are permits; then they wait for more, or fail once there never will
    /// be any.
    pub(crate) async fn new(place: &Place, unfinished_timeout: Duration) -> Self {
        let (permits, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicI64::new(0)));
        let (gate, counted) = (Arc::clone(&permits), Arc::clone(&asked));
        let hook = move |operation: Operation| {
            let (gate, counted) = (Arc::clone(&gate), Arc::clone(&counted));
            async move {
                if !matches!(operation.kind, Kind::Put | Kind::Get) {
                    return Fate::Done;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.map_or(Fate::Failed, |permit| {
                    permit.forget();
                    Fate::Done
                })
            }
        };
        let store = place.again().await.with_unfinished_timeout(unfinished_timeout);
        let store = store.through(|objects| FaultyStore::before(objects, hook));
        // Whether the server has conditions is found out before.
        permits.add_permits(10);
        store.prepare_to_write().await.expect("it answers");
        permits.forget_permits(10);
        asked.store(0, Ordering::Relaxed);
        Self { store, permits, asked }
    }

    /// Waits until it stands before its next operation, or has ended.
    pub(crate) async fn stops_at(&self, operation: usize, run: &tokio::task::JoinHandle<impl Sized>) {
        let operation = i64::try_from(operation).expect("small");
        let is_there = async || self.asked.load(Ordering::Relaxed) > operation || run.is_finished();
        until("it comes to its next operation", is_there).await;
    }
}

/// The same store, and how often it has read or written this key.
pub(crate) fn counted(store: Store, key: &str) -> (Store, Arc<AtomicUsize>) {
    let (count, key) = (Arc::new(AtomicUsize::new(0)), key.to_owned());
    let counted = Arc::clone(&count);
    let hook = move |operation: Operation| {
        counted.fetch_add(usize::from(operation.key == key), Ordering::Relaxed);
        async { Fate::Done }
    };
    (store.through(|objects| FaultyStore::before(objects, hook)), count)
}
