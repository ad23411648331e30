//! Products, releases, channels and the blocked list, as they are shown.

use std::collections::BTreeMap;

use api::{BlockedList, BlockedVersion, Channel, Product, Release};
use cause::service as causes;
use contract::{ProductName, Version};
use store::Blocked;

use super::service::Releases;
use super::snapshot::shown;
use crate::db::mirror::{self, Wanted};
use crate::error::Error;

impl Releases {
    /// Every product that the store holds or a device belongs to.
    #[crate::boxed]
    pub async fn products(&self) -> Result<Vec<Product>, Error> {
        let read = mirror::products(&self.0.db).await?.into_iter();
        let mut products: BTreeMap<ProductName, Product> = read
            .map(|mirror::Shown { name, production, error }| {
                let stale = error.map(|error| error.sentence());
                (name.clone(), Product { name, devices: 0, production, stale })
            })
            .collect();
        for (name, devices) in self.0.db.figures().await?.products() {
            let new = || Product { name: name.clone(), devices, production: None, stale: None };
            products.entry(name.clone()).or_insert_with(new).devices = devices;
        }
        Ok(products.into_values().collect())
    }

    /// Highest version first. Unknown product: NotFound.
    #[crate::boxed]
    pub async fn list(&self, product: &ProductName) -> Result<Vec<Release>, Error> {
        let snapshot = self.snapshot(product, Wanted::All).await?;
        Ok(snapshot
            .iter()
            .flat_map(|snapshot| {
                snapshot.releases.iter().map(|release| shown(&snapshot.channels, &snapshot.blocked, release))
            })
            .collect())
    }

    /// One release.
    #[crate::boxed]
    pub async fn show(&self, product: &ProductName, version: &Version) -> Result<Release, Error> {
        let snapshot = self.snapshot(product, Wanted::One(version)).await?;
        let release = snapshot.as_ref().and_then(|snapshot| {
            Some(shown(&snapshot.channels, &snapshot.blocked, snapshot.release(version)?))
        });
        release.ok_or_else(|| {
            Error::NotFound(causes::NO_RELEASE.naming("product", product).naming("version", version))
        })
    }

    /// The channels of a product.
    #[crate::boxed]
    pub async fn channels(&self, product: &ProductName) -> Result<Vec<Channel>, Error> {
        let snapshot = self.snapshot(product, Wanted::None).await?;
        let channels = snapshot.iter().flat_map(|snapshot| snapshot.channels.iter().cloned());
        Ok(channels.map(|(name, version)| Channel { name, version }).collect())
    }

    /// The versions of a product that are never offered.
    #[crate::boxed]
    pub async fn blocked(&self, product: &ProductName) -> Result<BlockedList, Error> {
        let snapshot = self.snapshot(product, Wanted::None).await?;
        let (items, unreadable) = match snapshot.map(|snapshot| snapshot.blocked.clone()) {
            None => (Vec::new(), None),
            Some(Blocked::Unreadable(cause)) => (Vec::new(), Some(cause.sentence())),
            Some(Blocked::List(versions)) => {
                let items =
                    versions.into_iter().rev().map(|(version, reason)| BlockedVersion { version, reason });
                (items.collect(), None)
            }
        };
        Ok(BlockedList { items, unreadable, next: None })
    }
}
