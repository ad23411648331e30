//! Small objects as they were last read, so that what has not changed is not sent again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use contract::Sha256;

use crate::objects::object::Fetched;

/// What is kept of small objects.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// By key, or by another name for what was found out about an object.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    objects: HashMap<String, Fetched>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn get(&self, key: &str) -> Option<Fetched> {
        self.kept().objects.get(key).cloned()
    }

    pub(crate) fn forget(&self, key: &str) {
        self.kept().forget(key);
    }

    /// Keeps what a read gave. An empty tag names nothing.
    pub(crate) fn keep(&self, key: &str, fetched: &Fetched) {
        if !fetched.tag.0.is_empty() {
            self.kept().keep(key, fetched);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl Kept {
    fn forget(&mut self, key: &str) {
        if let Some(old) = self.objects.remove(key) {
            self.bytes -= weight(key, &old);
        }
    }

    fn keep(&mut self, key: &str, fetched: &Fetched) {
        self.forget(key);
        let bytes = weight(key, fetched);
        if self.bytes + bytes > MAX_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
        self.objects.insert(key.to_owned(), fetched.clone());
    }
}

fn weight(key: &str, fetched: &Fetched) -> usize {
    key.len() + fetched.bytes.len() + fetched.mark.map_or(0, |_| size_of::<Sha256>())
}
