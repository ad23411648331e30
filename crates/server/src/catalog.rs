//! What the store holds, for showing: per product its releases, channels and blocked list, read in the
//! background. A decision never looks here.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use contract::{ChannelName, ProductName, Version};
use store::{Blocked, Release, Store, StoreError};

use crate::events::Events;

/// What is known of all products.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Store,
    events: Events,
    products: RwLock<BTreeMap<ProductName, Arc<Shelf>>>,
    /// Two refreshes at once could put the older answer over the newer.
    refreshing: tokio::sync::Mutex<()>,
}

/// What is known of one product.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shelf {
    /// Highest version first.
    pub(crate) releases: Vec<Release>,
    pub(crate) channels: Vec<(ChannelName, Option<Version>)>,
    pub(crate) blocked: Blocked,
}

impl Shelf {
    /// What production points to.
    pub(crate) fn production(&self) -> Option<&Version> {
        let production = ChannelName::production();
        self.channels.iter().find(|(name, _)| *name == production).and_then(|(_, version)| version.as_ref())
    }
}

impl Catalog {
    pub(crate) fn new(store: Store, events: Events) -> Self {
        Self { store, events, products: RwLock::default(), refreshing: tokio::sync::Mutex::default() }
    }

    /// Every product that the store holds.
    pub(crate) fn products(&self) -> BTreeMap<ProductName, Arc<Shelf>> {
        self.products.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One product, if it was there when last looked.
    pub(crate) fn product(&self, product: &ProductName) -> Option<Arc<Shelf>> {
        self.products.read().unwrap_or_else(PoisonError::into_inner).get(product).cloned()
    }

    /// The product, if the store holds exactly one.
    pub(crate) fn only_product(&self) -> Option<ProductName> {
        let products = self.products.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = products.keys();
        names.next().filter(|_| names.next().is_none()).cloned()
    }

    /// Reads everything anew. One product that cannot be read keeps what was known of it.
    pub(crate) async fn refresh_all(&self) -> Result<(), StoreError> {
        let _refreshing = self.refreshing.lock().await;
        let names = self.store.products().await?;
        let gone: Vec<ProductName> =
            self.products().into_keys().filter(|known| !names.contains(known)).collect();
        for product in gone {
            self.put(&product, None);
        }
        let mut failure = None;
        for product in names {
            if let Err(error) = self.read(&product).await {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Reads one product anew.
    pub(crate) async fn refresh(&self, product: &ProductName) -> Result<(), StoreError> {
        let _refreshing = self.refreshing.lock().await;
        self.read(product).await
    }

    async fn read(&self, product: &ProductName) -> Result<(), StoreError> {
        if !self.store.product_exists(product).await? {
            self.put(product, None);
            return Ok(());
        }
        let mut releases = self.store.releases(product).await?;
        releases.sort_by(|a, b| b.version.cmp(&a.version));
        let channels = self.store.channels(product).await?;
        let blocked = self.store.blocked(product).await?;
        self.put(product, Some(Shelf { releases, channels, blocked }));
        Ok(())
    }

    fn put(&self, product: &ProductName, shelf: Option<Shelf>) {
        let mut products = self.products.write().unwrap_or_else(PoisonError::into_inner);
        if products.get(product).map(AsRef::as_ref) == shelf.as_ref() {
            return;
        }
        match shelf {
            Some(shelf) => products.insert(product.clone(), Arc::new(shelf)),
            None => products.remove(product),
        };
        drop(products);
        self.events.product(product);
    }
}
