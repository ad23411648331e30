//! Who asked goes away: a request that is dropped, a task that is aborted. The write that is under way takes place, and
//! nobody else writes before that; what would have come after it is as after a kill.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use updraft_store::testing::{Fate, FaultyStore, Kind};
use updraft_store::{Blocked, Slot, Store};

use crate::place::{Place, product, production, publish, s3_image, v};

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
            fate = Fate::Detached { after: Duration::from_millis(100), ended: Arc::clone(&ended) };
        }
        async move { fate }
    };
    (place.again().await.through(|objects| FaultyStore::before(objects, hook)), writes)
}

/// Runs until so many writes have begun, and goes away.
async fn dropped_at<F: Future + Send + 'static>(
    place: &Place,
    write: u32,
    job: impl FnOnce(Store) -> F,
) -> Writes
where
    F::Output: Send,
{
    let (store, writes) = slow(place).await;
    let task = tokio::spawn(job(store));
    writes.begun.acquire_many(write).await.expect("open").forget();
    task.abort();
    let _ = task.await;
    writes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_dropped_in_mid_write_undoes_nobody_else_s() {
    let place = Place::folder().await;
    let block = |store: Store| async move { store.block(&product(), &v("1.0.0"), "dropped").await };
    let writes = dropped_at(&place, 1, block).await;
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
    let slot = |bytes| Slot { bytes, device: None };
    let writes =
        dropped_at(&place, 1, |store| async move { store.record_slot(&product(), &slot(2)).await }).await;
    assert!(place.store.record_slot(&product(), &slot(1)).await.expect("undisturbed"));
    writes.ended.acquire().await.expect("open").forget();
    assert!(place.text("esp32s3/_slots.json").await.contains("\"slot_bytes\":1,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_or_promote_that_is_dropped_in_mid_write_is_as_one_that_was_killed() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    // At each of its three writes.
    for stop in 1..=3 {
        let version = format!("1.{stop}.0");
        let images = [s3_image(&version, 1), s3_image(&version, 2)];
        let (text, image) = (version.clone(), images[0].clone());
        dropped_at(&place, stop, |store| async move { publish(&store, &text, &image).await.map(drop) }).await;
        // The other one comes when the write has ended: of the third, the version is taken.
        let said = place.publish(&version, &images[1]).await;
        assert_eq!(said.is_ok(), stop < 3, "{said:?}");
        let winner = &images[usize::from(stop < 3)];
        assert_eq!(
            place.get(&format!("esp32s3/releases/v{version}/firmware.bin")).await.as_ref(),
            Some(winner)
        );
        let text = version.clone();
        dropped_at(
            &place,
            stop,
            |store| async move { store.promote(&product(), &v(&text), &production()).await },
        )
        .await;
        place.promote(&version).await.expect("run again");
        assert_eq!(place.get("esp32s3/production/firmware.bin").await.as_ref(), Some(winner));
        assert_eq!(place.text("esp32s3/production/version.txt").await, format!("{version}\n"));
    }
}
