//! Servers that do not keep conditional writes: one process alone may write there.

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use tokio::sync::Semaphore;
use updraft_store::{Blocked, Options, Store, StoreError, Writers};

use crate::place::{
    Place, assert_refused, moto_bucket, product, production, publish, s3_image, s3_options, s3_url, until, v,
};
use crate::servers::{Front, Rule, moto, s3_error};

fn is_conditional(parts: &Parts) -> bool {
    parts.method == "PUT"
        && ["if-match", "if-none-match"].iter().any(|name| parts.headers.contains_key(*name))
}

/// A server that writes in any case.
fn ignoring() -> Front {
    Front::before(moto(), |parts| if is_conditional(parts) { Rule::Unconditional } else { Rule::Pass })
}

/// A server that will hear of no condition.
fn refusing() -> Front {
    Front::before(moto(), |parts| {
        if is_conditional(parts) {
            return Rule::Answer(s3_error(501, "NotImplemented", "<Header>If-None-Match</Header>"));
        }
        Rule::Pass
    })
}

/// The one process that writes there, and the place as others see it.
async fn alone(front: &Front) -> (Store, Place) {
    let bucket = moto_bucket().await;
    let options = Options { writers: Writers::One, ..s3_options() };
    let store = Store::open(&s3_url(&front.url, &bucket), options).await.expect("opens");
    (store, Place::behind(&front.url, &bucket).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_conditions_one_process_writes_and_every_other_is_refused() {
    for front in [ignoring(), refusing()] {
        let (store, place) = alone(&front).await;
        let (first, second) = (s3_image("1.0.0", 1), s3_image("1.1.0", 1));
        publish(&store, "1.0.0", &first).await.expect("published");
        assert!(publish(&store, "1.0.0", &first).await.expect("the same again").already_there);
        assert_refused(publish(&store, "1.0.0", &s3_image("1.0.0", 2)).await, "");
        publish(&store, "1.1.0", &second).await.expect("published");
        for version in ["1.0.0", "1.1.0", "1.0.0"] {
            store.promote(&product(), &v(version), &production()).await.expect("promoted");
            assert_eq!(store.channel(&product(), &production()).await.expect("read"), Some(v(version)));
        }
        store.block(&product(), &v("1.1.0"), "why").await.expect("blocked");
        store.block(&product(), &v("1.2.0"), "").await.expect("blocked");
        store.unblock(&product(), &v("1.2.0")).await.expect("unblocked");
        let missing = store.unblock(&product(), &v("1.2.0")).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
        // What was left unfinished is its own, from before it was killed.
        place.put("esp32s3/releases/v1.2.0/firmware.bin", s3_image("1.2.0", 2)).await;
        publish(&store, "1.2.0", &s3_image("1.2.0", 1)).await.expect("published");
        front.asked();
        let writes = [
            place.publish("1.3.0", &s3_image("1.3.0", 1)).await.map(drop),
            place.promote("1.1.0").await,
            place.store.block(&product(), &v("1.0.0"), "why").await.map(|_| ()),
        ];
        for refused in writes {
            let error = refused.expect_err("others write too");
            assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
            assert!(error.cause().is(cause::store::NO_CONDITIONS), "{error}");
            assert!(error.to_string().contains("only one program may write to it"), "{error}");
        }
        let written = front.asked().into_iter().filter(|line| line.starts_with("PUT"));
        assert!(written.into_iter().all(|line| line.contains("updraft-probe")), "nothing else is written");
        assert_eq!(place.store.releases(&product()).await.expect("reading is for all").len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_conditions_the_tasks_of_the_one_process_lose_nothing() {
    let (store, _place) = alone(&ignoring()).await;
    let product = product();
    for round in 0..3 {
        let (a, b) = (v(&format!("1.{round}.0")), v(&format!("2.{round}.0")));
        let (x, y) = tokio::join!(store.block(&product, &a, "left"), store.block(&product, &b, "right"));
        x.expect("blocked");
        y.expect("blocked");
    }
    let Blocked::List(list) = store.blocked(&product).await.expect("read") else { panic!("readable") };
    assert_eq!(list.len(), 6);
    let images = [s3_image("5.0.0", 1), s3_image("5.0.0", 2)];
    let (x, y) = tokio::join!(publish(&store, "5.0.0", &images[0]), publish(&store, "5.0.0", &images[1]));
    assert!(x.is_ok() != y.is_ok(), "{x:?} {y:?}");
    store.promote(&product, &v("5.0.0"), &production()).await.expect("whole");
}

/// Blocking is what is done in an emergency: it waits for no upload, whosever it is.
#[tokio::test(flavor = "multi_thread")]
async fn without_conditions_a_block_waits_for_no_upload_that_hangs() {
    let uploads = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&uploads);
    let front = Front::before(moto(), move |parts| {
        if parts.method == "PUT" && parts.uri.path().ends_with("/firmware.bin") {
            return Rule::PassWhen(Arc::clone(&permits));
        }
        if is_conditional(parts) { Rule::Unconditional } else { Rule::Pass }
    });
    let (store, _place) = alone(&front).await;
    store.prepare_to_write().await.expect("it answers");
    front.asked();
    let publisher = store.clone();
    let upload = tokio::spawn(async move { publish(&publisher, "1.0.0", &s3_image("1.0.0", 1)).await });
    let is_upload = |line: &String| line.starts_with("PUT") && line.ends_with("/firmware.bin");
    until("the upload begins", async || front.asked().iter().any(is_upload)).await;
    let (of, version) = (product(), v("0.9.0"));
    let block = store.block(&of, &version, "Boot loop");
    let blocked = tokio::time::timeout(Duration::from_secs(20), block).await;
    blocked.expect("it does not wait").expect("blocked");
    assert!(!upload.is_finished());
    uploads.add_permits(1);
    upload.await.expect("no panic").expect("published");
    let Blocked::List(list) = store.blocked(&product()).await.expect("read") else { panic!("readable") };
    assert_eq!(list.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_reads_is_not_made_to_write() {
    let front = Front::before(moto(), |parts| {
        if parts.method == "PUT" { Rule::Answer(s3_error(403, "AccessDenied", "")) } else { Rule::Pass }
    });
    let bucket = moto_bucket().await;
    Place::behind(moto(), &bucket).await.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let place = Place::behind(&front.url, &bucket).await;
    assert_eq!(place.store.releases(&product()).await.expect("listed").len(), 1);
    assert!(front.asked().iter().all(|line| line.starts_with("GET") || line.starts_with("HEAD")));
    let error = place.publish("1.1.0", &s3_image("1.1.0", 1)).await.expect_err("forbidden").to_string();
    assert!(error.contains("cannot write updraft-probe") && error.contains("allow s3:PutObject"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_conditions_is_asked_once() {
    let front = Front::before(moto(), |_| Rule::Pass);
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    let probes = front.asked().into_iter().filter(|line| line.contains("updraft-probe"));
    assert_eq!(probes.count(), 5);
}

#[tokio::test]
async fn a_server_that_is_down_is_not_one_without_conditional_writes() {
    // The digits of a status in its port; nobody listens there.
    let url = "s3://b?endpoint=http://127.0.0.1:5013&path_style=true&region=us-east-1";
    let store = Store::open(url, s3_options()).await.expect("the store opens");
    let error = store.prepare_to_write().await.expect_err("nobody answers");
    assert!(error.cause().is(cause::store::SILENT), "{error}");
}
