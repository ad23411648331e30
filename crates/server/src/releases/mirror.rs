//! The mirror of the bucket, for showing: per product its releases, channels and blocked list, read in the background. A
//! decision never looks here, and nobody who asks waits long for a bucket that does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use cause::{Cause, service as causes};
use contract::ProductName;
use futures_util::stream::{self, StreamExt};
use store::{Store, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::snapshot::Snapshot;
use crate::events::Events;

/// How long somebody who asked waits until a product has been read; the reading continues.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long reading one product may take, with all of its small files.
const READ_TIMEOUT: Duration = Duration::from_mins(5);
/// How many products a pass over all of them waits for at a time.
const READS_AT_ONCE: usize = 4;

/// What is known of all products. Clones are the same mirror.
#[derive(Debug, Clone)]
pub(crate) struct Mirror(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    events: Events,
    products: RwLock<BTreeMap<ProductName, Arc<Snapshot>>>,
    /// Two passes over all of it would only ask for everything twice.
    passing: tokio::sync::Mutex<()>,
    /// Who reads a product just now: two at once could put the older answer over the newer.
    readers: Mutex<BTreeMap<ProductName, Arc<tokio::sync::Mutex<()>>>>,
    /// Refreshes that have not begun: who asks meanwhile waits for the same one.
    waiting: Mutex<BTreeMap<ProductName, watch::Receiver<Outcome>>>,
    /// Readings that a pass over all of it did not wait for.
    late: Mutex<BTreeMap<ProductName, watch::Receiver<Outcome>>>,
    /// Why the bucket, or a product that lies in it, could not be read last.
    errors: Mutex<BTreeMap<Option<ProductName>, Cause>>,
    /// When a product that is not known was last looked for.
    looked_for: Mutex<Option<Instant>>,
    /// Products that this server has written to, and not read since.
    expected: Mutex<BTreeSet<ProductName>>,
}

/// `None` until it is done.
type Outcome = Option<Result<(), Arc<StoreError>>>;

/// What came of a refresh in the time that somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refreshed {
    Done,
    /// The bucket takes its time. What it holds is shown as soon as it has answered.
    GoesOn,
}

impl Mirror {
    pub(crate) fn new(store: Store, events: Events) -> Self {
        Self(Arc::new(Inner {
            store,
            events,
            products: RwLock::default(),
            passing: tokio::sync::Mutex::default(),
            readers: Mutex::default(),
            waiting: Mutex::default(),
            late: Mutex::default(),
            errors: Mutex::new([(None, causes::STORE_NOT_READ.cause())].into()),
            looked_for: Mutex::default(),
            expected: Mutex::default(),
        }))
    }

    pub(crate) fn products(&self) -> BTreeMap<ProductName, Arc<Snapshot>> {
        self.0.products.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn product(&self, product: &ProductName) -> Option<Arc<Snapshot>> {
        self.0.products.read().unwrap_or_else(PoisonError::into_inner).get(product).cloned()
    }

    pub(crate) fn only_product(&self) -> Option<ProductName> {
        let products = self.0.products.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = products.keys();
        names.next().filter(|_| names.next().is_none()).cloned()
    }

    /// Reads everything again. One product that cannot be read keeps what was known of it, and one that takes its time is read
    /// on beside: it holds up neither the others nor the next pass. Afterwards each product that lies in the bucket has been
    /// read once, or it is noted why not.
    pub(crate) async fn refresh_all(&self) -> Result<Refreshed, Arc<StoreError>> {
        let _passing = self.0.passing.lock().await;
        let names = self.0.store.products().await;
        if let Err(error) = &names {
            self.0.note(None, Some(error));
        }
        let names = names?;
        // Read as the others are: one of them may have come since.
        let gone: Vec<ProductName> =
            self.products().into_keys().filter(|known| !names.contains(known)).collect();
        let is_there = |product: &Option<ProductName>| product.as_ref().is_none_or(|p| names.contains(p));
        locked(&self.0.errors).retain(|product, _| is_there(product));
        locked(&self.0.late).retain(|product, _| names.contains(product) || gone.contains(product));
        let reading = stream::iter(names.into_iter().chain(gone))
            .map(async |product| self.pass_by(&product).await)
            .buffer_unordered(READS_AT_ONCE);
        let worst = |worst: Result<Refreshed, _>, next: Result<Refreshed, _>| match (worst, next) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(Refreshed::Done), Ok(Refreshed::Done)) => Ok(Refreshed::Done),
            (Ok(_), Ok(_)) => Ok(Refreshed::GoesOn),
        };
        let passed = reading.fold(Ok(Refreshed::Done), async |so_far, next| worst(so_far, next)).await;
        // Not before: until then nobody knows what is not there.
        self.0.note(None, None);
        passed
    }

    /// Reads one product in a pass over all of them, or finds what came of a reading that an earlier pass did not wait for.
    /// Errors are noted here only, where the name is one that lies in the bucket: so that there are not any number of them.
    async fn pass_by(&self, product: &ProductName) -> Result<Refreshed, Arc<StoreError>> {
        let late = locked(&self.0.late).remove(product);
        let mut outcome = match late {
            Some(outcome) if outcome.borrow().as_ref().is_some_and(Result::is_err) => outcome,
            Some(outcome) if outcome.borrow().is_none() && outcome.has_changed().is_ok() => {
                locked(&self.0.late).insert(product.clone(), outcome);
                return Ok(Refreshed::GoesOn);
            }
            _ => {
                // Before it begins, as it takes the note away again.
                let mut errors = locked(&self.0.errors);
                errors.entry(Some(product.clone())).or_insert_with(|| causes::STORE_NOT_READ.cause());
                drop(errors);
                self.begin(product)
            }
        };
        let passed = in_time(&mut outcome).await;
        match &passed {
            Ok(Refreshed::Done) => {}
            Ok(Refreshed::GoesOn) => {
                locked(&self.0.late).insert(product.clone(), outcome);
            }
            Err(error) => self.0.note(Some(product), Some(error)),
        }
        passed
    }

    /// Reads one product again, or waits for a reading that has not begun.
    pub(crate) async fn refresh(&self, product: &ProductName) -> Result<Refreshed, Arc<StoreError>> {
        in_time(&mut self.begin(product)).await
    }

    /// Begins to read a product, or finds who is about to.
    fn begin(&self, product: &ProductName) -> watch::Receiver<Outcome> {
        let mut waiting = locked(&self.0.waiting);
        if let Some(outcome) = waiting.get(product) {
            return outcome.clone();
        }
        let (done, outcome) = watch::channel(None);
        waiting.insert(product.clone(), outcome.clone());
        drop(waiting);
        let (inner, product) = (Arc::clone(&self.0), product.clone());
        tokio::spawn(async move {
            let reader = inner.reader(&product);
            let _reader = reader.lock().await;
            // Whoever asks from here on may have changed something that this reading has passed by.
            locked(&inner.waiting).remove(&product);
            let read = inner.read(&product).await;
            done.send_replace(Some(read.map_err(Arc::new)));
        });
        outcome
    }

    /// Notes that a product was written to, and what it holds now could not be read yet: it is looked for whenever it is
    /// asked for.
    pub(crate) fn expect(&self, product: &ProductName) {
        if self.product(product).is_none() {
            locked(&self.0.expected).insert(product.clone());
        }
    }

    pub(crate) fn is_expected(&self, product: &ProductName) -> bool {
        locked(&self.0.expected).contains(product)
    }

    /// Looks for a product that is not known, at most once in `every`, whatever names are asked for: else a listing could
    /// be had for the asking. The error says why the bucket, or this product, is not known.
    pub(crate) async fn look_for(&self, product: &ProductName, every: Duration) -> Result<(), Cause> {
        let now = Instant::now();
        let is_due = self.is_expected(product) || {
            let mut looked_for = locked(&self.0.looked_for);
            let is_due = looked_for.is_none_or(|last| now - last >= every);
            if is_due {
                *looked_for = Some(now);
            }
            is_due
        };
        if is_due {
            return match self.refresh(product).await {
                Ok(Refreshed::Done) => Ok(()),
                Ok(Refreshed::GoesOn) => Err(too_slow()),
                Err(error) => Err(error.cause().clone()),
            };
        }
        let errors = locked(&self.0.errors);
        let why = errors.get(&Some(product.clone())).or_else(|| errors.get(&None));
        why.map_or(Ok(()), |why| Err(why.clone()))
    }
}

/// What comes of a reading in the time that somebody waits for it.
async fn in_time(outcome: &mut watch::Receiver<Outcome>) -> Result<Refreshed, Arc<StoreError>> {
    match timeout(REFRESH_TIMEOUT, outcome.wait_for(Option::is_some)).await {
        Ok(Ok(outcome)) => {
            outcome.clone().map_or(Ok(Refreshed::GoesOn), |done| done.map(|()| Refreshed::Done))
        }
        // The server stops, or it takes longer.
        Ok(Err(_)) | Err(_) => Ok(Refreshed::GoesOn),
    }
}

/// What is said to somebody who cannot wait longer.
pub(crate) fn too_slow() -> Cause {
    causes::STORE_READING.with("seconds", REFRESH_TIMEOUT.as_secs())
}

fn too_long(product: &ProductName) -> StoreError {
    let cause = cause::store::TOO_SLOW.naming("product", product);
    let cause = cause.with("minutes", READ_TIMEOUT.as_secs() / 60);
    StoreError::Unavailable { cause, source: Some("it takes too long".into()) }
}

impl Inner {
    /// The lock of those who read a product. Only those that somebody has, or waits for, are kept.
    fn reader(&self, product: &ProductName) -> Arc<tokio::sync::Mutex<()>> {
        let mut readers = locked(&self.readers);
        readers.retain(|_, reader| Arc::strong_count(reader) > 1);
        Arc::clone(readers.entry(product.clone()).or_default())
    }

    async fn read(&self, product: &ProductName) -> Result<(), StoreError> {
        let snapshot = timeout(READ_TIMEOUT, Snapshot::read(&self.store, product))
            .await
            .unwrap_or_else(|_| Err(too_long(product)));
        self.put(product, snapshot?);
        locked(&self.expected).remove(product);
        self.note(Some(product), None);
        Ok(())
    }

    fn note(&self, product: Option<&ProductName>, error: Option<&StoreError>) {
        let mut errors = locked(&self.errors);
        match error {
            Some(error) => errors.insert(product.cloned(), error.cause().clone()),
            None => errors.remove(&product.cloned()),
        };
    }

    fn put(&self, product: &ProductName, snapshot: Option<Snapshot>) {
        let mut products = self.products.write().unwrap_or_else(PoisonError::into_inner);
        if products.get(product).map(AsRef::as_ref) == snapshot.as_ref() {
            return;
        }
        match snapshot {
            Some(snapshot) => products.insert(product.clone(), Arc::new(snapshot)),
            None => products.remove(product),
        };
        drop(products);
        self.events.product(product);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
