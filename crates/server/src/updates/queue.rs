//! The updates whose triggers are to be sent now: each once, in the order of their numbers. Lost with the process, and what finds no
//! room is no loss: the rows say what waits, and the sweep finds it.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Maximum number of updates in the queue.
const UPDATES_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    pushed: Notify,
    done: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<i64>,
    sending: BTreeSet<i64>,
    /// Of those that are being sent: given to the broker, which may have acknowledged it.
    published: HashSet<i64>,
    is_overfull: bool,
}

impl State {
    fn is_open(&self, update: i64) -> bool {
        self.waiting.contains(&update) || self.sending.contains(&update)
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, updates: impl IntoIterator<Item = i64>) {
        let mut state = self.state();
        for update in updates {
            if state.waiting.len() >= UPDATES_MAX {
                state.is_overfull = true;
                break;
            }
            state.waiting.insert(update);
        }
        drop(state);
        self.pushed.notify_one();
    }

    /// The next ones, as soon as there are some. For one task, which calls [`Queue::finish`] for all of them before it asks again.
    pub(super) async fn next(&self, most: usize) -> Vec<i64> {
        loop {
            let updates = self.take(most);
            if !updates.is_empty() {
                return updates;
            }
            self.pushed.notified().await;
        }
    }

    fn take(&self, most: usize) -> Vec<i64> {
        let mut state = self.state();
        let updates: Vec<i64> = state.waiting.iter().copied().take(most).collect();
        if let Some(last) = updates.last() {
            state.waiting = state.waiting.split_off(&(last + 1));
            state.sending.extend(&updates);
        }
        updates
    }

    /// These were sent, or could not be.
    pub(super) fn finish(&self, updates: impl IntoIterator<Item = i64>) {
        let mut state = self.state();
        for update in updates {
            state.sending.remove(&update);
            state.published.remove(&update);
        }
        drop(state);
        self.done.send_replace(());
    }

    /// Whether some found no room since this was asked last, and there is room now.
    pub(super) fn has_missed(&self) -> bool {
        let mut state = self.state();
        state.waiting.is_empty() && std::mem::take(&mut state.is_overfull)
    }

    /// It is given to the broker.
    pub(super) fn note_published(&self, update: i64) {
        self.state().published.insert(update);
    }

    /// Which of these may have reached their devices, and are not noted as sent.
    pub(super) fn published(&self, updates: impl IntoIterator<Item = i64>) -> HashSet<i64> {
        let state = self.state();
        updates.into_iter().filter(|update| state.published.contains(update)).collect()
    }

    /// Returns once all of these were sent or could not be, or when the time is over.
    pub(super) async fn wait(&self, updates: &[i64], time: Duration) {
        let mut done = self.done.subscribe();
        let is_done = |()| {
            let state = self.state();
            !updates.iter().any(|update| state.is_open(*update))
        };
        let _ = timeout(time, done.wait_for(|()| is_done(()))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_update_is_taken_once_and_what_finds_no_room_is_said_to_be_missing() {
        let queue = Queue::default();
        queue.push([3, 1, 3, 2]);
        assert_eq!(queue.next(2).await, [1, 2]);
        queue.push([1]);
        queue.finish([1, 2]);
        assert!(!queue.has_missed());
        assert_eq!(queue.next(9).await, [1, 3], "1 is to be sent again: it was pushed after it was taken");
        queue.push(0..=i64::try_from(UPDATES_MAX).expect("small"));
        assert!(!queue.has_missed(), "there is no room yet");
        assert_eq!(queue.next(usize::MAX).await.len(), UPDATES_MAX);
        assert!(queue.has_missed());
        assert!(!queue.has_missed(), "it is said once");
    }

    #[tokio::test]
    async fn who_waits_is_told_when_all_of_theirs_are_done() {
        let queue = Queue::default();
        queue.push([1, 2]);
        let long = Duration::from_secs(60);
        let sends = async {
            for _ in 0..2 {
                let taken = queue.next(1).await;
                tokio::task::yield_now().await;
                queue.finish(taken);
            }
        };
        timeout(long, async { tokio::join!(queue.wait(&[1, 2, 9], long), sends) }).await.expect("told");
    }
}
