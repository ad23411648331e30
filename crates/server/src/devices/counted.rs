//! How many devices were online when that was last counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use contract::ProductName;

/// Counting takes at most one twentieth of the time.
const COUNTING_SHARE: u32 = 20;
/// No number is older than this.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Maximum number of products that have a number.
const PRODUCTS_MAX: usize = 256;

/// By product, or of all: the number, and until when it is used again.
#[derive(Debug, Default)]
pub(super) struct Counted(HashMap<Option<ProductName>, (u64, Instant)>);

impl Counted {
    pub(super) fn online(&self, product: Option<&ProductName>) -> Option<u64> {
        let (online, until) = self.0.get(&product.cloned())?;
        (Instant::now() < *until).then_some(*online)
    }

    /// Keeps a number that took so long to count.
    pub(super) fn keep(&mut self, product: Option<&ProductName>, online: u64, took: Duration) {
        if self.0.len() >= PRODUCTS_MAX {
            self.0.clear();
        }
        let until = Instant::now() + (took * COUNTING_SHARE).min(AGE_MAX);
        self.0.insert(product.cloned(), (online, until));
    }
}
