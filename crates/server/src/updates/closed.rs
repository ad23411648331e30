//! What is blocked, as it was read last: images that this server may have to refuse.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use cause::Cause;
use contract::{ProductName, Sha256, Version};
use fleet::BlockedImages;
use store::Blocked;

#[derive(Debug, Default)]
pub(super) struct Closed(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lists: HashMap<ProductName, Blocked>,
    /// By key: which blocked version has the same bytes.
    images: HashMap<String, (ProductName, Version)>,
}

impl Inner {
    fn listed(&self, product: ProductName, version: Version) -> Option<(ProductName, Version, Cause)> {
        match self.lists.get(&product)? {
            Blocked::Unreadable(_) => None,
            list @ Blocked::List(_) => list.cause(&version).map(|cause| (product, version, cause)),
        }
    }
}

impl Closed {
    /// `keys`: where images lie that have blocked bytes.
    pub(super) fn set(
        &self,
        lists: &HashMap<ProductName, Blocked>,
        keys: Vec<(String, Sha256)>,
        images: &BlockedImages,
    ) {
        let blocked = |(key, sha256)| {
            images.get(&sha256).map(|blocked| (key, (blocked.product.clone(), blocked.version.clone())))
        };
        let images = keys.into_iter().filter_map(blocked).collect();
        let mut closed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut lists = lists.clone();
        for (product, list) in &mut lists {
            // What was blocked before the list became unreadable stays closed.
            if let (Blocked::Unreadable(_), Some(before)) = (&*list, closed.lists.remove(product)) {
                *list = before;
            }
        }
        *closed = Inner { lists, images };
    }

    /// As what an object is blocked, and why, if it is. A list that cannot be read closes nothing.
    pub(super) fn cause(&self, key: &str) -> Option<(ProductName, Version, Cause)> {
        let closed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if closed.lists.is_empty() {
            return None;
        }
        let by_name = || closed.listed(key.split('/').next()?.parse().ok()?, store::release_of(key)?);
        by_name().or_else(|| {
            let (product, version) = closed.images.get(key)?.clone();
            closed.listed(product, version)
        })
    }
}
