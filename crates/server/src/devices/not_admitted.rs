//! Ids that were heard of and are not admitted: at most 1,000, of the last week, the oldest replaced. Kept in memory: who is still
//! there comes again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cause::Cause;

use crate::clock::{now_ms, time};

/// Maximum number of ids that are remembered.
const IDS_MAX: usize = 1_000;
/// Maximum number of characters of one; a device id has at most 64.
const ID_MAX_CHARS: usize = 100;
const AGE_MAX_MS: i64 = 7 * 24 * 3_600_000;

/// Clones know the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct NotAdmitted(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Debug)]
struct Entry {
    attempt: Attempt,
    count: u64,
    first_at: i64,
    last_at: i64,
}

/// What was wrong, and what is known beside it.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) cause: Cause,
    pub(crate) address: Option<String>,
    pub(crate) said: Option<String>,
}

impl Attempt {
    pub(crate) fn of(cause: Cause) -> Self {
        Self { cause, address: None, said: None }
    }
}

impl NotAdmitted {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, id: &str, attempt: Attempt) {
        self.note_at(id, attempt, now_ms());
    }

    fn note_at(&self, id: &str, attempt: Attempt, now: i64) {
        let id: String = id.chars().take(ID_MAX_CHARS).collect();
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(&id) {
            let address = attempt.address.or(entry.attempt.address.take());
            (entry.attempt, entry.last_at) = (Attempt { address, ..attempt }, now);
            entry.count += 1;
            return;
        }
        if entries.len() >= IDS_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.last_at).map(|(id, _)| id.clone());
            oldest.and_then(|id| entries.remove(&id));
        }
        entries.insert(id, Entry { attempt, count: 1, first_at: now, last_at: now });
    }

    /// From where the last attempt of an id came.
    pub(crate) fn note_address(&self, id: &str, address: IpAddr) {
        if let Some(entry) = self.entries().get_mut(id) {
            entry.attempt.address = Some(address.to_string());
        }
    }

    /// It is admitted now.
    pub(crate) fn forget(&self, id: &str) {
        self.entries().remove(id);
    }

    /// The newest first.
    pub(crate) fn list(&self) -> Vec<api::NotAdmitted> {
        self.list_at(now_ms())
    }

    fn list_at(&self, now: i64) -> Vec<api::NotAdmitted> {
        let mut entries = self.entries();
        entries.retain(|_, entry| now - entry.last_at <= AGE_MAX_MS);
        let shown = |(id, Entry { attempt, count, first_at, last_at }): (&String, &Entry)| api::NotAdmitted {
            id: id.clone(),
            reason: attempt.cause.sentence(),
            cause: attempt.cause.clone(),
            count: *count,
            first_at: time(*first_at),
            last_at: time(*last_at),
            address: attempt.address.clone(),
            said: attempt.said.clone(),
        };
        let mut list: Vec<_> = entries.iter().map(shown).collect();
        list.sort_unstable_by(|a, b| (b.last_at, &a.id).cmp(&(a.last_at, &b.id)));
        list
    }
}

#[cfg(test)]
mod tests {
    use cause::admission as causes;

    use super::*;

    #[test]
    fn ids_are_bounded_by_number_length_and_age_and_the_oldest_go() {
        let ids = NotAdmitted::default();
        let wrong = || Attempt::of(causes::NOT_REGISTERED.cause());
        for n in 0..=1_000 {
            ids.note_at(&format!("d{n}"), wrong(), n);
        }
        ids.note_at("d1", Attempt::of(causes::WRONG_PASSWORD.cause()), 2_000);
        ids.note_at(&"x".repeat(5_000), wrong(), 3_000);
        let list = ids.list_at(3_000);
        assert_eq!((list.len(), list[0].id.len()), (1_000, 100));
        assert_eq!((list[1].id.as_str(), list[1].count, &*list[1].cause.code), ("d1", 2, "wrong_password"));
        assert!(list.iter().all(|one| one.id != "d0" && one.id != "d2"), "they were the oldest");
        ids.forget("d1");
        assert!(ids.list_at(3_000).iter().all(|one| one.id != "d1"));
        assert!(ids.list_at(3_001 + AGE_MAX_MS).is_empty());
    }
}
