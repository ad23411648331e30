//! Servers that do not keep conditional writes.

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use tokio::sync::Semaphore;
use updraft_store::{Blocked, StoreError};

use crate::place::{Place, moto_bucket, product, production, publish, s3_image, until, v};
use crate::servers::{Front, Rule, moto, s3_error};

fn is_conditional(parts: &Parts) -> bool {
    matches!(parts.method.as_str(), "PUT" | "POST")
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

#[tokio::test(flavor = "multi_thread")]
async fn without_conditions_everything_works_and_is_warned_of() {
    for front in [ignoring(), refusing()] {
        let place = Place::behind(&front.url, &moto_bucket().await).await;
        let (first, second) = (s3_image("1.0.0", 1), s3_image("1.1.0", 1));
        place.publish("1.0.0", &first).await.expect("published");
        let warning = place.store.warning().expect("a warning");
        assert!(warning.sentence().contains("does not keep conditional writes"), "{warning}");
        assert!(warning.sentence().contains("let only one write at a time"), "{warning}");
        assert!(place.publish("1.0.0", &first).await.expect("the same again").already_there);
        let other = place.publish("1.0.0", &s3_image("1.0.0", 2)).await;
        assert!(matches!(other, Err(StoreError::Refused(_))), "{other:?}");
        place.publish("1.1.0", &second).await.expect("published");
        for version in ["1.0.0", "1.1.0", "1.0.0"] {
            place.promote(version).await.expect("promoted");
            let points = place.store.channel(&product(), &production()).await.expect("read");
            assert_eq!(points, Some(v(version)));
        }
        place.store.block(&product(), &v("1.1.0"), "why").await.expect("blocked");
        place.store.block(&product(), &v("1.2.0"), "").await.expect("blocked");
        place.store.unblock(&product(), &v("1.2.0")).await.expect("unblocked");
        let missing = place.store.unblock(&product(), &v("1.2.0")).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
        let Blocked::List(list) = place.store.blocked(&product()).await.expect("read") else { panic!() };
        assert_eq!(list.keys().map(contract::Version::as_str).collect::<Vec<_>>(), ["1.1.0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_conditions_writers_of_one_process_still_lose_nothing() {
    let front = ignoring();
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    let (store, product) = (&place.store, product());
    for round in 0..3 {
        let (a, b) = (v(&format!("1.{round}.0")), v(&format!("2.{round}.0")));
        let (x, y) = tokio::join!(store.block(&product, &a, "left"), store.block(&product, &b, "right"));
        x.expect("blocked");
        y.expect("blocked");
    }
    let Blocked::List(list) = store.blocked(&product).await.expect("read") else { panic!("readable") };
    assert_eq!(list.len(), 6);
    let images = [s3_image("5.0.0", 1), s3_image("5.0.0", 2)];
    let (x, y) = tokio::join!(publish(store, "5.0.0", &images[0]), publish(store, "5.0.0", &images[1]));
    assert!(x.is_ok() != y.is_ok(), "{x:?} {y:?}");
    place.promote("5.0.0").await.expect("whole");
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
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    place.store.prepare_to_write().await.expect("it answers");
    front.asked();
    let store = place.store.clone();
    let upload = tokio::spawn(async move { publish(&store, "1.0.0", &s3_image("1.0.0", 1)).await });
    let is_upload = |line: &String| line.starts_with("PUT") && line.ends_with("/firmware.bin");
    until("the upload begins", async || front.asked().iter().any(is_upload)).await;
    let (of, version) = (product(), v("0.9.0"));
    let block = place.store.block(&of, &version, "Boot loop");
    let blocked = tokio::time::timeout(Duration::from_secs(20), block).await;
    blocked.expect("it does not wait").expect("blocked");
    assert!(!upload.is_finished());
    uploads.add_permits(1);
    upload.await.expect("no panic").expect("published");
    let Blocked::List(list) = place.store.blocked(&product()).await.expect("read") else {
        panic!("readable")
    };
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
    // A server that may not write finds nothing out, and has nothing to say.
    place.store.prepare_to_write().await.expect("it answers");
    assert_eq!(place.store.warning(), None);
    let error = place.publish("1.1.0", &s3_image("1.1.0", 1)).await.expect_err("forbidden");
    assert!(error.to_string().contains("s3:PutObject"), "{error}");
}

/// A policy that allows writes below releases only.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_under_which_conditions_cannot_be_found_out_is_warned_of() {
    let front = Front::before(moto(), |parts| {
        if parts.method == "PUT" && parts.uri.path().ends_with("/updraft-probe") {
            return Rule::Answer(s3_error(403, "AccessDenied", ""));
        }
        Rule::Pass
    });
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    place.store.prepare_to_write().await.expect("it answers");
    assert_eq!(place.store.warning(), None, "nothing is written yet");
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let warning = place.store.warning().expect("a warning");
    for part in ["permission denied", "s3:PutObject", "updraft-probe", "let only one write at a time"] {
        assert!(warning.sentence().contains(part), "{warning}");
    }
    front.asked();
    place.promote("1.0.0").await.expect("promoted");
    assert!(!front.asked().iter().any(|line| line.contains("updraft-probe")), "asked once for all writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_conditions_is_asked_once_and_not_warned_of() {
    let front = Front::before(moto(), |_| Rule::Pass);
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    assert_eq!(place.store.warning(), None);
    let probes = front.asked().into_iter().filter(|line| line.contains("updraft-probe"));
    assert_eq!(probes.count(), 3);
}
