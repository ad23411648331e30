//! Reading the bucket into its mirror in the database, in the background: nobody who asks waits long for a bucket that does
//! not answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cause::{Cause, service as causes};
use contract::ProductName;
use flight::{Flight, Keyed};
use futures_util::stream::{self, StreamExt};
use store::{Store, StoreError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::snapshot::read;
use crate::clock::now_ms;
use crate::db::Db;
use crate::db::mirror::{Mirrored, Snapshot, listing_error};
use crate::error::Error;
use crate::events::Events;

/// How long somebody who asked waits until a product has been read; the reading continues.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long reading one product may take, with all of its small files.
const READ_TIMEOUT: Duration = Duration::from_mins(5);
/// Nobody who promotes writes nothing to a channel for so long. A channel is looked at as often.
const QUIET: Duration = Duration::from_mins(5);
/// How many products a pass over all of them waits for at a time.
const READS_AT_ONCE: usize = 4;

/// Reads the bucket. Clones are the same.
#[derive(Clone)]
pub(crate) struct Mirror(Arc<Inner>);

struct Inner {
    db: Db,
    store: Store,
    events: Events,
    /// By product: what is being read.
    readings: Keyed<Flight<Outcome>>,
    /// When a product that is not known was last looked for.
    looked_for: Mutex<Option<Instant>>,
    /// By product: when its channels were last looked at.
    repaired: Mutex<HashMap<ProductName, Instant>>,
    /// Told of each reading that changed something.
    changes: watch::Sender<()>,
}

type Outcome = Result<(), Arc<Error>>;

/// What came of a refresh in the time that somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refreshed {
    Done,
    /// The bucket takes its time. What it holds is shown as soon as it has answered.
    GoesOn,
}

impl Mirror {
    pub(crate) fn new(db: Db, store: Store, events: Events) -> Self {
        let (readings, looked_for, repaired, changes) = Default::default();
        Self(Arc::new(Inner { db, store, events, readings, looked_for, repaired, changes }))
    }

    /// Changes as soon as a reading has changed something.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Reads everything again, unless some server of this database has begun to since `pause`.
    pub(crate) async fn refresh_all_after(&self, pause: Duration) -> Result<Option<Refreshed>, Arc<Error>> {
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let is_ours = self.0.db.claim_pass(now_ms(), pause_ms).await.map_err(Error::from)?;
        if is_ours { self.refresh_all().await.map(Some) } else { Ok(None) }
    }

    /// Reads everything again. One product that cannot be read keeps what was known of it, and one that takes its time is read
    /// on beside: it holds up neither the others nor the next pass. Afterwards each product that lies in the bucket has been
    /// read once, or it is noted why not.
    pub(crate) async fn refresh_all(&self) -> Result<Refreshed, Arc<Error>> {
        let number = self.0.db.begin_reading().await.map_err(Error::from)?;
        let listed = self.0.store.products().await;
        let products = match &listed {
            Ok(names) => self.0.db.note_listed(names).await,
            Err(error) => self.0.db.note_unlisted(error.cause()).await.map(|()| Vec::new()),
        };
        listed.map_err(Error::from)?;
        let reading = stream::iter(products.map_err(Error::from)?)
            .map(async |product| {
                // What an earlier pass did not wait for is not begun again.
                let goes_on = self.0.readings.of(product.as_str()).is_flying();
                if goes_on { Ok(Refreshed::GoesOn) } else { self.refresh_as(&product, Some(number)).await }
            })
            .buffer_unordered(READS_AT_ONCE);
        reading.fold(Ok(Refreshed::Done), async |so_far, next| Ok(Ord::max(so_far?, next?))).await
    }

    /// Reads one product again, or waits for a reading that has not begun.
    pub(crate) async fn refresh(&self, product: &ProductName) -> Result<Refreshed, Arc<Error>> {
        self.refresh_as(product, None).await
    }

    /// With the number of a pass, or one of its own.
    async fn refresh_as(&self, product: &ProductName, number: Option<i64>) -> Result<Refreshed, Arc<Error>> {
        let (inner, product) = (Arc::clone(&self.0), product.clone());
        // Whoever leaves has changed something, maybe, that the reading that goes on has passed by.
        let reading = tokio::spawn(async move {
            inner.readings.of(product.as_str()).fresh(Arc::clone(&inner).read(product, number)).await
        });
        match timeout(REFRESH_TIMEOUT, reading).await {
            Ok(Ok(Some(read))) => read.map(|()| Refreshed::Done),
            // The server stops, or it takes longer.
            _ => Ok(Refreshed::GoesOn),
        }
    }

    /// Looks for a product that was not read yet, at most once in `every`, whatever names are asked for: else a listing could
    /// be had for the asking. One that this server wrote to is looked for each time. The error says why the bucket, or this
    /// product, is not known.
    pub(crate) async fn look_for(
        &self,
        product: &ProductName,
        known: Mirrored,
        every: Duration,
    ) -> Result<(), Error> {
        if known.is_expected || self.is_due(every) {
            return match self.refresh(product).await {
                Ok(Refreshed::Done) => Ok(()),
                Ok(Refreshed::GoesOn) => Err(Error::StoreUnavailable(too_slow())),
                Err(error) => Err(unavailable(&error)),
            };
        }
        let why = match known.error {
            None => listing_error(&self.0.db).await?,
            why => why,
        };
        why.map_or(Ok(()), |why| Err(Error::StoreUnavailable(why)))
    }

    fn is_due(&self, every: Duration) -> bool {
        let mut looked_for = self.0.looked_for.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = looked_for.is_none_or(|last| last.elapsed() >= every);
        if is_due {
            *looked_for = Some(Instant::now());
        }
        is_due
    }
}

/// What is said to somebody who cannot wait longer.
pub(crate) fn too_slow() -> Cause {
    causes::STORE_READING.with("seconds", REFRESH_TIMEOUT.as_secs())
}

/// The same for each who waited.
pub(crate) fn unavailable(error: &Error) -> Error {
    match error.cause() {
        Some(cause) => Error::StoreUnavailable(cause.clone()),
        None => Error::Internal(anyhow::anyhow!("{error:?}")),
    }
}

fn too_long(product: &ProductName) -> StoreError {
    let cause = cause::store::TOO_SLOW.naming("product", product);
    let cause = cause.with("minutes", READ_TIMEOUT.as_secs() / 60);
    tracing::warn!("{}", cause.sentence());
    StoreError::Unavailable { cause, source: None }
}

impl Inner {
    /// Undoes what a promote that was killed left in a channel. Each process looks for it every five minutes.
    async fn repair(&self, product: &ProductName, found: &Snapshot) {
        if !self.is_repair_due(product) {
            return;
        }
        for (channel, version) in &found.channels {
            let Some(version) = version else { continue };
            match self.store.repair_channel(product, channel, version, QUIET).await {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(%product, %channel, %version, "a promote was not finished, and is undone");
                }
                Err(error) => {
                    tracing::warn!(%product, %channel, %version, "a promote was not finished, and cannot be undone: {error}");
                }
            }
        }
    }

    fn is_repair_due(&self, product: &ProductName) -> bool {
        let mut repaired = self.repaired.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = repaired.get(product).is_none_or(|last| last.elapsed() >= QUIET);
        if is_due {
            repaired.insert(product.clone(), Instant::now());
        }
        is_due
    }

    /// Killed anywhere, what was read before stays.
    async fn read(self: Arc<Self>, product: ProductName, number: Option<i64>) -> Outcome {
        let number = match number {
            Some(number) => number,
            None => self.db.begin_reading().await.map_err(Error::from)?,
        };
        let found = timeout(READ_TIMEOUT, read(&self.store, &product)).await;
        match found.unwrap_or_else(|_| Err(too_long(&product))) {
            Ok(found) => {
                if let Some(found) = &found {
                    Box::pin(self.repair(&product, found)).await;
                }
                if self.db.write_reading(&product, number, found.as_ref()).await.map_err(Error::from)? {
                    self.events.product(&product);
                    self.changes.send_replace(());
                }
                Ok(())
            }
            Err(error) => {
                self.db.note_failed(&product, number, error.cause()).await.map_err(Error::from)?;
                Err(Arc::new(error.into()))
            }
        }
    }
}
