//! Work that many ask for and one does at a time, and what came of it last.
//!
//! It is done in a task of its own, so that whoever leaves stops nothing, and the task keeps its flight: a [`Keyed`] one is not
//! forgotten while it is in the air. How old an answer may be, and how long nobody asks
//! again after a failure, is said by who asks: the last answer does, or there is a new one.

mod keyed;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

pub use keyed::Keyed;

/// One thing that is done again and again, by one at a time.
pub struct Flight<T> {
    last: RwLock<Option<Answer<T>>>,
    /// Locked by the work that goes on.
    flying: Arc<Mutex<()>>,
}

/// What came of it, and when.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What came of it.
    pub value: T,
    /// When the work began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
}

impl<T> Answer<T> {
    /// How long the work took.
    pub fn took(&self) -> Duration {
        self.ended - self.begun
    }

    /// How long it has been over.
    pub fn age(&self) -> Duration {
        self.ended.elapsed()
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// What came of it last. Waits for nobody.
    pub fn last(&self) -> Option<Answer<T>> {
        self.last.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what somebody else found out just now.
    pub fn note(&self, value: T) {
        self.land(value, Instant::now());
    }

    /// Whether it is being done.
    pub fn is_flying(&self) -> bool {
        self.flying.try_lock().is_err()
    }

    /// The last answer if it `does`, maybe after waiting for the work that goes on, else a new one. `None` if the work broke
    /// off: it panicked, or the process stops.
    pub async fn get(
        self: &Arc<Self>,
        does: impl Fn(&Answer<T>) -> bool,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        if let Some(last) = self.last().filter(&does) {
            return Some(last.value);
        }
        let flying = Arc::clone(&self.flying).lock_owned().await;
        match self.last().filter(does) {
            Some(last) => Some(last.value),
            None => self.begin(flying, work).await.ok(),
        }
    }

    /// The answer of work that began after this was asked for: that of before may have passed by what was changed since.
    pub async fn fresh(self: &Arc<Self>, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let asked = Instant::now();
        self.get(|last| last.begun > asked, work).await
    }

    /// The answer of the work that goes on, or of new work.
    pub async fn join(self: &Arc<Self>, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let asked = Instant::now();
        self.get(|last| last.ended >= asked, work).await
    }

    /// Begins it and does not wait, unless it is being done.
    pub fn renew(self: &Arc<Self>, work: impl Future<Output = T> + Send + 'static) {
        if let Ok(flying) = Arc::clone(&self.flying).try_lock_owned() {
            self.begin(flying, work);
        }
    }

    fn begin(
        self: &Arc<Self>,
        flying: OwnedMutexGuard<()>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let flight = Arc::clone(self);
        tokio::spawn(async move {
            let begun = Instant::now();
            let value = work.await;
            flight.land(value.clone(), begun);
            drop(flying);
            value
        })
    }

    fn land(&self, value: T, begun: Instant) {
        let answer = Answer { value, begun, ended: Instant::now() };
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { last: RwLock::default(), flying: Arc::default() }
    }
}

impl<T> fmt::Debug for Flight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
