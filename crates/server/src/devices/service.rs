//! The service's state, and one device's row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::Embedded;
use cause::service as causes;
use contract::{DeviceId, ProductName};
use tokio::sync::RwLock;

use super::presence::Presence;
use crate::db::Db;
use crate::db::device::{self, DeviceRow};
use crate::error::Error;
use crate::events::Events;
use crate::mqtt::Publisher;
use crate::releases::Releases;

/// The broker in this process, until it is stopped; `None` where another one is configured.
pub(crate) type Broker = Arc<RwLock<Option<Embedded>>>;

/// Devices: registered, changed, removed, shown. Clones are the same service.
#[derive(Clone)]
pub struct Devices(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) events: Events,
    pub(super) presence: Presence,
    pub(super) publisher: Publisher,
    pub(super) broker: Broker,
    pub(super) releases: Releases,
    /// Locked while it is counted, so that many who look at once count once.
    pub(super) counted: tokio::sync::Mutex<Counted>,
}

impl Devices {
    pub(crate) fn new(
        db: Db,
        events: Events,
        presence: Presence,
        publisher: Publisher,
        broker: Broker,
        releases: Releases,
    ) -> Self {
        let counted = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { db, events, presence, publisher, broker, releases, counted }))
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.0.presence
    }

    /// A device as the database has it; NotFound.
    pub(crate) async fn row(&self, id: &DeviceId) -> Result<DeviceRow, Error> {
        device::by_id(&self.0.db, id).await?.ok_or_else(|| unknown(id))
    }
}

pub(crate) fn unknown(id: &DeviceId) -> Error {
    Error::NotFound(causes::NO_DEVICE.naming("device", id))
}

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

    pub(super) fn keep(&mut self, product: Option<&ProductName>, online: u64, took: Duration) {
        if self.0.len() >= PRODUCTS_MAX {
            self.0.clear();
        }
        let until = Instant::now() + (took * COUNTING_SHARE).min(AGE_MAX);
        self.0.insert(product.cloned(), (online, until));
    }
}
