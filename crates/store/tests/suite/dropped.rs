//! Who asked goes away: a request that is dropped, a task that is aborted.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;
use updraft_store::{Blocked, Publication, Store};

use crate::place::{Place, product, publish, s3_image, v};

/// Writes as a blocking thread does: what was begun takes place, whether anybody waits for it or not, and takes a while.
#[derive(Debug)]
struct Slow {
    objects: Arc<dyn ObjectStore>,
    begun: Arc<Semaphore>,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, slowly", self.objects)
    }
}

#[async_trait]
impl ObjectStore for Slow {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (objects, to) = (Arc::clone(&self.objects), to.clone());
        let write = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            objects.put_opts(&to, payload, options).await
        });
        self.begun.add_permits(1);
        write.await.expect("no panic")
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
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

/// The same place, where writes are slow, and how many of them have begun.
async fn slow(place: &Place) -> (Store, Arc<Semaphore>) {
    let begun = Arc::new(Semaphore::new(0));
    let counted = Arc::clone(&begun);
    let store = place.again().await;
    (store.through(|objects| Arc::new(Slow { objects, begun: counted }) as Arc<dyn ObjectStore>), begun)
}

/// What was begun is finished before the next one's turn, so that neither is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_dropped_in_mid_write_undoes_nobody_else_s() {
    let place = Place::folder().await;
    let (first, begun) = slow(&place).await;
    let task = tokio::spawn(async move { first.block(&product(), &v("1.0.0"), "dropped").await });
    begun.acquire().await.expect("open").forget();
    task.abort();
    let _ = task.await;
    place.store.block(&product(), &v("2.0.0"), "kept").await.expect("undisturbed");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let Blocked::List(list) = place.store.blocked(&product()).await.expect("read") else {
        panic!("readable")
    };
    assert_eq!(list.keys().map(contract::Version::as_str).collect::<Vec<_>>(), ["1.0.0", "2.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_learnt_and_dropped_in_mid_write_undoes_nobody_else_s() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"slot_bytes":3000000}"#).await;
    let (first, begun) = slow(&place).await;
    let task = tokio::spawn(async move { first.learn_slot(&product(), 2_000_000, &[]).await });
    begun.acquire().await.expect("open").forget();
    task.abort();
    let _ = task.await;
    assert!(place.store.learn_slot(&product(), 1_000_000, &[]).await.expect("undisturbed"));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(place.store.product_file(&product()).await.expect("read").slot_bytes, Some(1_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_or_promote_that_is_dropped_in_mid_write_is_finished_in_its_turn() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    // At each of its three writes.
    for stop in 1..=3 {
        let version = format!("1.{stop}.0");
        let (image, other) = (s3_image(&version, 1), s3_image(&version, 2));
        let ((first, begun), text) = (slow(&place).await, version.clone());
        let task = tokio::spawn(async move { publish(&first, &text, &image).await.map(drop) });
        begun.acquire_many(stop).await.expect("open").forget();
        task.abort();
        let _ = task.await;
        // The other one comes when the turn is over, and the version is taken.
        place.publish(&version, &other).await.expect_err("it was published");
        let ((first, begun), text) = (slow(&place).await, version.clone());
        let task =
            tokio::spawn(
                async move { first.promote(&product(), &v(&text), &crate::place::production()).await },
            );
        begun.acquire_many(stop).await.expect("open").forget();
        task.abort();
        let _ = task.await;
        place.store.block(&product(), &v("0.1.0"), &version).await.expect("in its turn");
        assert_eq!(place.text("esp32s3/production/version.txt").await, format!("{version}\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_to_a_bucket_that_is_dropped_is_finished() {
    let place = Place::moto().await;
    let (store, begun) = slow(&place).await;
    store.prepare_to_write().await.expect("it answers");
    begun.forget_permits(10);
    let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
    let task =
        tokio::spawn(
            async move { store.publish(&publication, s3_image("1.0.0", 1), &|_| ()).await.map(drop) },
        );
    begun.acquire().await.expect("open").forget();
    task.abort();
    let _ = task.await;
    let began = Instant::now();
    while place.get("esp32s3/releases/v1.0.0/version.txt").await.is_none() {
        assert!(began.elapsed() < Duration::from_mins(1), "it is not finished");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.promote("1.0.0").await.expect("whole");
}
