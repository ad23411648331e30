//! One of a kind for each name, for as long as anybody has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// By name. There are no more of them than are in use, and one.
#[derive(Debug)]
pub struct Keyed<V>(Mutex<HashMap<String, Arc<V>>>);

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Default> Keyed<V> {
    /// The one of this name. Whoever works with it keeps it meanwhile, and so does the work of a [`Flight`](crate::Flight).
    pub fn of(&self, name: &str) -> Arc<V> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(name) {
            return Arc::clone(known);
        }
        all.retain(|_, one| Arc::strong_count(one) > 1);
        Arc::clone(all.entry(name.to_owned()).or_default())
    }
}
