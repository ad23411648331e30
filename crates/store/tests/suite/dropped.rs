//! Who asked goes away: a request that is dropped, a task that is aborted.

use std::time::Duration;

use updraft_store::Blocked;

use crate::place::{Place, product, publish, s3_image, v};

/// What was begun is finished before the next one's turn, and nobody is disturbed by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_dropped_disturbs_nobody_else_s() {
    let place = Place::folder().await;
    let second = place.again().await;
    for round in 0..400_u32 {
        let (dropped, kept) = (v(&format!("1.{round}.1")), v(&format!("1.{round}.2")));
        let first = place.again().await;
        let task = tokio::spawn(async move { first.block(&product(), &dropped, "dropped").await });
        tokio::time::sleep(Duration::from_micros(u64::from(round % 40) * 100)).await;
        task.abort();
        let _ = task.await;
        second.block(&product(), &kept, "kept").await.expect("undisturbed");
    }
    let Blocked::List(list) = second.blocked(&product()).await.expect("read") else { panic!("readable") };
    let kept = list.values().filter(|reason| reason.as_deref() == Some("kept")).count();
    assert_eq!(kept, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_dropped_leaves_a_folder_in_which_others_publish() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    for round in 0..100_u32 {
        let version = format!("1.{round}.0");
        let image = s3_image(&version, 1);
        let (first, text, bytes) = (place.again().await, version.clone(), image.clone());
        let task = tokio::spawn(async move { publish(&first, &text, &bytes).await.map(drop) });
        tokio::time::sleep(Duration::from_micros(u64::from(round % 50) * 200)).await;
        task.abort();
        let _ = task.await;
        place.publish(&version, &image).await.expect("undisturbed");
        place.promote(&version).await.expect("whole");
    }
}

/// The bytes of the image are still on their way when the request is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished() {
    let place = Place::moto().await;
    let store = place.again().await;
    let (told, mut is_told) = tokio::sync::mpsc::channel(8);
    let task = tokio::spawn(async move {
        let publication = updraft_store::Publication {
            version: Some(v("1.0.0")),
            ..updraft_store::Publication::new(product())
        };
        let tell = move |_| drop(told.try_send(()));
        store.publish(&publication, s3_image("1.0.0", 1), &tell).await.map(drop)
    });
    is_told.recv().await.expect("the image is in the store");
    task.abort();
    let _ = task.await;
    let began = std::time::Instant::now();
    while place.get("esp32s3/releases/v1.0.0/version.txt").await.is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "it is not finished");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.promote("1.0.0").await.expect("whole");
}
