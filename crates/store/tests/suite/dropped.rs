//! Who asked goes away: a request that is dropped, a task that is aborted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use updraft_store::testing::{Fate, FaultyStore, Kind};
use updraft_store::{Blocked, Publication, Store};

use crate::place::{Place, product, publish, s3_image, until, v};

/// Writes that have begun, and those that took place.
struct Writes {
    begun: Arc<Semaphore>,
    ended: Arc<Semaphore>,
}

/// The same place, where writes take a while, and take place whether anybody waits for them or not.
async fn slow(place: &Place) -> (Store, Writes) {
    let (begun, ended) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let writes = Writes { begun: Arc::clone(&begun), ended: Arc::clone(&ended) };
    let hook = move |operation: updraft_store::testing::Operation| {
        let mut fate = Fate::Done;
        if operation.kind == Kind::Put {
            begun.add_permits(1);
            fate = Fate::Detached { after: Duration::from_millis(300), ended: Arc::clone(&ended) };
        }
        async move { fate }
    };
    (place.again().await.through(|objects| FaultyStore::before(objects, hook)), writes)
}

/// What was begun is finished before the next one begins, so that neither is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_dropped_in_mid_write_undoes_nobody_else_s() {
    let place = Place::folder().await;
    let (first, writes) = slow(&place).await;
    let task = tokio::spawn(async move { first.block(&product(), &v("1.0.0"), "dropped").await });
    writes.begun.acquire().await.expect("open").forget();
    task.abort();
    let _ = task.await;
    place.store.block(&product(), &v("2.0.0"), "kept").await.expect("undisturbed");
    writes.ended.acquire().await.expect("open").forget();
    let Blocked::List(list) = place.store.blocked(&product()).await.expect("read") else {
        panic!("readable")
    };
    assert_eq!(list.keys().map(contract::Version::as_str).collect::<Vec<_>>(), ["1.0.0", "2.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_recorded_and_dropped_in_mid_write_undoes_nobody_else_s() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"slot_bytes":3000000}"#).await;
    let (first, writes) = slow(&place).await;
    let task = tokio::spawn(async move { first.record_slot(&product(), 2_000_000, &[]).await });
    writes.begun.acquire().await.expect("open").forget();
    task.abort();
    let _ = task.await;
    assert!(place.store.record_slot(&product(), 1_000_000, &[]).await.expect("undisturbed"));
    writes.ended.acquire().await.expect("open").forget();
    assert_eq!(place.store.product_file(&product()).await.expect("read").slot_bytes, Some(1_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_or_promote_that_is_dropped_in_mid_write_is_finished_first() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    // At each of its three writes.
    for stop in 1..=3 {
        let version = format!("1.{stop}.0");
        let (image, other) = (s3_image(&version, 1), s3_image(&version, 2));
        let ((first, writes), text) = (slow(&place).await, version.clone());
        let task = tokio::spawn(async move { publish(&first, &text, &image).await.map(drop) });
        writes.begun.acquire_many(stop).await.expect("open").forget();
        task.abort();
        let _ = task.await;
        // The other one comes when that has ended, and the version is taken.
        place.publish(&version, &other).await.expect_err("it was published");
        let ((first, writes), text) = (slow(&place).await, version.clone());
        let task =
            tokio::spawn(
                async move { first.promote(&product(), &v(&text), &crate::place::production()).await },
            );
        writes.begun.acquire_many(stop).await.expect("open").forget();
        task.abort();
        let _ = task.await;
        place.store.block(&product(), &v("0.1.0"), &version).await.expect("afterwards");
        assert_eq!(place.text("esp32s3/production/version.txt").await, format!("{version}\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_to_a_bucket_that_is_dropped_is_finished() {
    let place = Place::moto().await;
    let (store, writes) = slow(&place).await;
    store.prepare_to_write().await.expect("it answers");
    writes.begun.forget_permits(10);
    let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
    let task =
        tokio::spawn(
            async move { store.publish(&publication, s3_image("1.0.0", 1), &|_| ()).await.map(drop) },
        );
    writes.begun.acquire().await.expect("open").forget();
    task.abort();
    let _ = task.await;
    until("it is finished", async || place.get("esp32s3/releases/v1.0.0/version.txt").await.is_some()).await;
    place.promote("1.0.0").await.expect("whole");
}
