//! Processes that are stopped before any of their operations, and go on or are killed there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;
use updraft_store::Store;

use crate::place::Place;

/// Lets operations through as long as there are permits; after that it waits for more, or fails for good.
#[derive(Debug)]
struct Gate {
    objects: Arc<dyn ObjectStore>,
    permits: Arc<Semaphore>,
    asked: Arc<AtomicI64>,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, behind a gate", self.objects)
    }
}

impl Gate {
    async fn pass(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.permits.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(Error::Generic { store: "test", source: "killed".into() }),
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.pass().await?;
        self.objects.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass().await?;
        self.objects.get_opts(from, options).await
    }

    fn delete_stream(&self, all: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

/// A process whose operations are let through one by one.
pub(crate) struct Stopped {
    pub(crate) store: Store,
    pub(crate) permits: Arc<Semaphore>,
    asked: Arc<AtomicI64>,
}

impl Stopped {
    pub(crate) async fn new(place: &Place, patience: Duration) -> Self {
        let (permits, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicI64::new(0)));
        let gate = (Arc::clone(&permits), Arc::clone(&asked));
        let store = place.again().await.with_unfinished_timeout(patience).through(|objects| {
            Arc::new(Gate { objects, permits: gate.0, asked: gate.1 }) as Arc<dyn ObjectStore>
        });
        // Whether the server has conditions is found out before.
        permits.add_permits(10);
        store.prepare_to_write().await.expect("it answers");
        permits.forget_permits(10);
        asked.store(0, Ordering::Relaxed);
        Self { store, permits, asked }
    }

    /// Waits until it stands before its next operation, or has ended.
    pub(crate) async fn stands_at(&self, operation: usize, run: &tokio::task::JoinHandle<impl Sized>) {
        let operation = i64::try_from(operation).expect("small");
        while self.asked.load(Ordering::Relaxed) <= operation && !run.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
