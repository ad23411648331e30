//! The service's state, and what is known of one product.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use cause::service as causes;
use contract::ProductName;
use flight::{Flight, Keyed};
use sea_orm::DbErr;
use store::{Inspection, Slot, Store};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

use super::health::STORE_TIMEOUT;
use super::mirror::Mirror;
use crate::config::Config;
use crate::db::mirror::{self, Snapshot, Wanted};
use crate::db::{Db, Query, device_list};
use crate::error::Error;
use crate::events::Events;

/// Maximum number of releases that are copied into channels at a time: each is kept in memory meanwhile.
pub(crate) const PROMOTIONS_MAX: usize = 2;

/// Releases, channels and blocked versions. Clones are the same service.
#[derive(Clone)]
pub struct Releases(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) store: Store,
    pub(super) mirror: Mirror,
    pub(super) promotions: Arc<Semaphore>,
    /// By key: images that are being read, and what came of it; `None` if one has gone.
    pub(super) images: Keyed<Flight<Result<Option<Inspection>, Arc<Error>>>>,
    pub(super) public_url: Url,
    refresh: Duration,
    default_product: Option<ProductName>,
}

impl Releases {
    pub(crate) fn new(config: &Config, public_url: Url, db: Db, store: Store, events: Events) -> Self {
        Self(Arc::new(Inner {
            mirror: Mirror::new(db.clone(), store.clone(), events),
            db,
            store,
            promotions: Arc::new(Semaphore::new(PROMOTIONS_MAX)),
            images: Keyed::default(),
            public_url,
            refresh: Duration::from_secs(config.store.refresh_s.into()),
            default_product: config.fleet.default_product.clone(),
        }))
    }

    pub(crate) fn mirror(&self) -> &Mirror {
        &self.0.mirror
    }

    /// The bucket.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    #[cfg(test)]
    pub(crate) fn promotions_free(&self) -> usize {
        self.0.promotions.available_permits()
    }

    /// For devices whose product nobody names: the configured one, or the only one there is.
    pub(crate) async fn default_product(&self, query: &impl Query) -> Result<Option<ProductName>, DbErr> {
        match &self.0.default_product {
            None => mirror::only_product(query).await,
            configured => Ok(configured.clone()),
        }
    }

    /// The smallest slot that the product's devices report, of those that can be one.
    pub(super) async fn smallest_slot(&self, product: &ProductName) -> Result<Option<Slot>, Error> {
        let smallest = device_list::smallest_slot(&self.0.db, product, &SLOT_SIZES).await?;
        Ok(smallest.map(|(device, bytes)| Slot { bytes, device: Some(device.as_str().to_owned()) }))
    }

    /// Refuses names that neither the store nor a device has. Asks the store where nobody here knows it: for those who may
    /// change what it holds, and may have it looked at.
    pub(super) async fn require_product(&self, product: &ProductName) -> Result<(), Error> {
        let is_known = mirror::of_product(&self.0.db, product, Wanted::None).await?.is_there()
            || device_list::is_of_any(&self.0.db, product).await?
            || timeout(STORE_TIMEOUT, self.0.store.product_exists(product)).await.map_err(|_| {
                let cause = causes::PRODUCT_UNSURE.naming("product", product);
                Error::StoreUnavailable(cause.with("seconds", STORE_TIMEOUT.as_secs()))
            })??;
        if is_known { Ok(()) } else { Err(unknown(product)) }
    }

    /// Refuses names that nobody knows.
    pub(crate) async fn require_known(&self, product: &ProductName) -> Result<(), Error> {
        self.snapshot(product, Wanted::None).await.map(|_| ())
    }

    /// What is known of a product, with the releases that are wanted; `None` if only devices speak of it so far. A name that is not known is looked for in the
    /// store once in a while, whoever asks.
    pub(super) async fn snapshot(
        &self,
        product: &ProductName,
        releases: Wanted<'_>,
    ) -> Result<Option<Snapshot>, Error> {
        let known = mirror::of_product(&self.0.db, product, releases).await?;
        if known.snapshot.is_some() {
            return Ok(known.snapshot);
        }
        // Published a moment ago by somebody else, maybe.
        let looked = self.0.mirror.look_for(product, known, self.0.refresh).await;
        let known = mirror::of_product(&self.0.db, product, releases).await?;
        if known.snapshot.is_some() {
            return Ok(known.snapshot);
        }
        looked?;
        if !device_list::is_of_any(&self.0.db, product).await? {
            return Err(unknown(product));
        }
        Ok(None)
    }
}

fn unknown(product: &ProductName) -> Error {
    Error::NotFound(causes::NO_PRODUCT.naming("product", product))
}

/// Partitions for applications lie on borders of 64 KiB, so that no slot is smaller, and no flash that these chips run from
/// has more than 16 MiB: a device that reports anything else is wrong, and must not keep every image from being published.
pub(crate) const SLOT_SIZES: RangeInclusive<u32> = 0x1_0000..=0x100_0000;
