//! What is blocked, as it was read last: images that this server may have to refuse.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use cause::Cause;
use contract::{ProductName, Version};
use store::Blocked;

#[derive(Debug, Default)]
pub(super) struct Closed(RwLock<HashMap<ProductName, Blocked>>);

impl Closed {
    pub(super) fn set(&self, lists: &HashMap<ProductName, Blocked>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(lists);
    }

    /// Of what an object is the image, and why it is closed, if it is. A list that cannot be read closes nothing.
    pub(super) fn cause(&self, key: &str) -> Option<(ProductName, Version, Cause)> {
        let closed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if closed.is_empty() {
            return None;
        }
        let product: ProductName = key.split('/').next()?.parse().ok()?;
        let version = store::release_of(key)?;
        match closed.get(&product)? {
            Blocked::Unreadable(_) => None,
            list => list.cause(&version).map(|cause| (product, version, cause)),
        }
    }
}
