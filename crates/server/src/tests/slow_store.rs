//! A bucket that can be made to wait, and what becomes of those who wait for it and of those who leave.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use image::Chip;
use image::build::Build;
use object_store::memory::InMemory;
use store::Store;
use store::testing::{Fate, FaultyStore, Kind, Operation};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::rig::BY;
use super::without_broker::{Handed, handed};
use super::*;
use crate::error::Error;
use crate::releases::{PROMOTIONS_MAX, Refreshed, detached};
use crate::web::Web;
use crate::web::api::releases;
use crate::web::caller::Caller;
use crate::web::guard::{Own, Permitted};
use crate::web::limits::UPLOADS_MAX;

/// What waits until it is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Nothing,
    /// Images on their way into the bucket.
    Images,
    /// Every write.
    Writes,
    /// Every listing, from the first `version.txt` on.
    Listings,
    /// Every listing of this product.
    Product(&'static str),
    /// Whatever is done to this product.
    AllOf(&'static str),
}

/// What a bucket in memory waits for, and what came to it.
#[derive(Debug)]
struct SlowStore {
    hold: watch::Sender<Hold>,
    is_published: AtomicBool,
    /// Images that came.
    images: AtomicUsize,
    /// Writes that came while all of them waited.
    writes: AtomicUsize,
    /// Whether the writes by which something is done take place and are answered with an error.
    loses_answers: AtomicBool,
}

impl SlowStore {
    async fn wait(&self, what: Hold) {
        self.hold.subscribe().wait_for(|hold| *hold != what).await.expect("the sender is here");
    }

    async fn before(self: Arc<Self>, Operation { kind, key }: Operation) -> Fate {
        let hold = || *self.hold.borrow();
        if let Hold::AllOf(name) = hold()
            && key.split('/').next() == Some(name)
        {
            self.wait(Hold::AllOf(name)).await;
        }
        match kind {
            Kind::Put => {
                if key.ends_with("/firmware.bin") {
                    self.images.fetch_add(1, Ordering::Relaxed);
                    self.wait(Hold::Images).await;
                }
                if hold() == Hold::Writes {
                    self.writes.fetch_add(1, Ordering::Relaxed);
                    self.wait(Hold::Writes).await;
                }
                self.is_published.fetch_or(key.ends_with("/version.txt"), Ordering::Relaxed);
                let is_commit = key.ends_with("/version.txt") || key.ends_with("/blocked_versions.json");
                if is_commit && self.loses_answers.load(Ordering::Relaxed) {
                    return Fate::AnswerLost;
                }
            }
            Kind::Folders => {
                if self.is_published.load(Ordering::Relaxed) {
                    self.wait(Hold::Listings).await;
                }
                if let Hold::Product(name) = hold()
                    && key.split('/').next() == Some(name)
                {
                    self.wait(Hold::Product(name)).await;
                }
            }
            Kind::Get | Kind::List => {}
        }
        Fate::Done
    }
}

/// Services on such a bucket, which is S3 to it: there writers do not wait for each other.
async fn slow_app() -> (tempfile::TempDir, Handed, Arc<SlowStore>) {
    let slow = Arc::new(SlowStore {
        hold: watch::Sender::new(Hold::Nothing),
        is_published: AtomicBool::default(),
        images: AtomicUsize::default(),
        writes: AtomicUsize::default(),
        loses_answers: AtomicBool::default(),
    });
    let between = Arc::clone(&slow);
    let (folder, app) = handed("").await;
    let store = Store::open("s3://bucket?region=eu-central-1", store::Options::default());
    let store = store.await.expect("opens").through(move |_| {
        FaultyStore::before(Arc::new(InMemory::new()), move |operation| {
            Arc::clone(&between).before(operation)
        })
    });
    let app = app.again(app.config.clone(), store).await;
    (folder, app, slow)
}

fn lamp() -> contract::ProductName {
    "lamp".parse().expect("a product")
}

fn version(text: &str) -> contract::Version {
    text.parse().expect("a version")
}

fn an_image(version: &str) -> Bytes {
    Build::new(Chip::Esp32S3, version).bytes().into()
}

async fn publish(app: &crate::services::Services, product: &contract::ProductName, text: &str) {
    let publication =
        store::Publication { version: Some(version(text)), ..store::Publication::new(product.clone()) };
    app.releases.publish(&BY, publication, None, an_image(text)).await.expect("published");
}

async fn by_another_program(app: &crate::services::Services, product: &contract::ProductName, text: &str) {
    let publication =
        store::Publication { version: Some(version(text)), ..store::Publication::new(product.clone()) };
    app.releases.store().publish(&publication, an_image(text)).await.expect("published");
}

/// What the API does with an upload.
async fn upload(web: Web, version: String) -> u16 {
    let query: api::Publication =
        serde_json::from_value(json!({ "version": version, "allow": "lower-version" })).expect("a query");
    let answer = releases::publish(
        Caller::in_a_test(&BY),
        State(FromRef::from_ref(&web)),
        State(FromRef::from_ref(&web)),
        Own(lamp()),
        Permitted(query),
        axum::extract::Request::new(an_image(&version).into()),
    );
    answer.await.into_response().status().as_u16()
}

#[tokio::test]
async fn an_image_keeps_its_place_for_as_long_as_anybody_has_it() {
    let (_folder, app, bucket) = slow_app().await;
    let stop = CancellationToken::new();
    let web = Web::new(app.deref().clone(), &app.config, &app.public_url, Arc::default(), stop);
    bucket.hold.send_replace(Hold::Images);
    let places = || web.uploads.0.available_permits();
    let mut clients: Vec<_> =
        (0..UPLOADS_MAX).map(|n| tokio::spawn(upload(web.clone(), format!("1.{n}.0")))).collect();
    rig::until("as many images as may be are on their way", || async {
        bucket.images.load(Ordering::Relaxed) == UPLOADS_MAX
    })
    .await;
    for client in clients.drain(..) {
        client.abort();
        assert!(client.await.expect_err("it left").is_cancelled());
    }
    assert_eq!(places(), 0, "who sent them has left, and the store has them still");
    let late: Vec<_> =
        (0..UPLOADS_MAX).map(|n| tokio::spawn(upload(web.clone(), format!("2.{n}.0")))).collect();
    bucket.hold.send_replace(Hold::Nothing);
    for client in late {
        assert_eq!(client.await.expect("answered"), 201);
    }
    rig::until("all places are free again", || async { places() == UPLOADS_MAX }).await;
}

#[tokio::test]
async fn what_takes_long_goes_on_and_is_not_said_to_have_failed() {
    let (_folder, app, bucket) = slow_app().await;
    publish(&app, &lamp(), "1.0.0").await;
    let (production, product) = (contract::ChannelName::production(), lamp());
    bucket.hold.send_replace(Hold::Writes);
    let soon = || tokio::time::Instant::now() + Duration::from_millis(50);
    let (promoting, version) = (app.clone(), version("1.0.0"));
    let answer = detached(soon(), "promoting 1.0.0".to_owned(), async move {
        promoting.releases.promote(&BY, &lamp(), &version, &contract::ChannelName::production()).await
    });
    let error = Box::pin(answer).await.expect_err("it is not known yet");
    assert!(matches!(error, Error::GoesOn(_)), "{error:?}");
    assert!(error.to_string().contains("over promoting 1.0.0. It goes on: look again"), "{error}");
    // Who asks and leaves has it done too.
    let blocking = app.clone();
    let block = tokio::spawn(async move {
        blocking.releases.block(&BY, &lamp(), &"0.9.0".parse().expect("a version"), "it loops").await
    });
    rig::until("both are being written", || async { bucket.writes.load(Ordering::Relaxed) == 2 }).await;
    block.abort();
    assert!(block.await.expect_err("it left").is_cancelled());
    bucket.hold.send_replace(Hold::Nothing);
    rig::until("it is promoted", || async {
        app.releases.store().channel(&product, &production).await.expect("answers").is_some()
    })
    .await;
    rig::until("it is blocked, and shown", || async {
        !app.releases.blocked(&product).await.expect("read").items.is_empty()
    })
    .await;
}

/// Each has an image in memory.
#[tokio::test]
async fn releases_are_promoted_a_few_at_a_time_whoever_leaves() {
    let (_folder, app, bucket) = slow_app().await;
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        publish(&app, &lamp(), version).await;
    }
    let published = bucket.images.load(Ordering::Relaxed);
    bucket.hold.send_replace(Hold::Images);
    let promote = |version: &'static str| {
        let app = app.clone();
        tokio::spawn(async move {
            app.releases
                .promote(&BY, &lamp(), &version.parse().expect("a version"), &"beta".parse().expect("a name"))
                .await
        })
    };
    let hasty = [promote("1.0.0"), promote("1.1.0")];
    rig::until("two are being copied", || async { bucket.images.load(Ordering::Relaxed) == published + 2 })
        .await;
    for client in hasty {
        client.abort();
        assert!(client.await.expect_err("it left").is_cancelled());
    }
    assert_eq!(app.releases.promotions_free(), 0, "they are being copied still");
    let late = promote("1.2.0");
    bucket.hold.send_replace(Hold::Nothing);
    late.await.expect("ends").expect("promoted");
    rig::until("all are done", || async { app.releases.promotions_free() == PROMOTIONS_MAX }).await;
}

/// What tells the server of a change has to be answered, whatever else is being read just then.
#[tokio::test]
async fn one_product_is_read_anew_whatever_the_others_take() {
    let (_folder, app, bucket) = slow_app().await;
    let slow = "slow".parse().expect("a product");
    for product in [&lamp(), &slow] {
        publish(&app, product, "1.0.0").await;
    }
    bucket.hold.send_replace(Hold::Product("slow"));
    let all = app.clone();
    let all = tokio::spawn(async move { all.releases.mirror().refresh_all().await });
    rig::until("the other one is being read", || async { bucket.hold.receiver_count() == 1 }).await;
    by_another_program(&app, &lamp(), "1.1.0").await;
    app.releases.refresh(&lamp()).await.expect("at once");
    let shown = app.releases.list(&lamp()).await.expect("known");
    assert_eq!(shown.first().map(|release| &release.version), Some(&version("1.1.0")));
    let error = app.releases.refresh(&slow).await.expect_err("this one takes its time");
    assert!(matches!(error, Error::GoesOn(_)), "{error}");
    bucket.hold.send_replace(Hold::Nothing);
    all.await.expect("ends").expect("all is read");
    app.releases.refresh(&slow).await.expect("now it answers");
    let error = app.releases.refresh(&"lmap".parse().expect("a product")).await.expect_err("misspelt");
    assert!(matches!(error, Error::NotFound(_)), "{error}");
}

/// What another program does to the others has to be shown meanwhile.
#[tokio::test]
async fn a_product_that_hangs_holds_up_no_other() {
    let (_folder, app, bucket) = slow_app().await;
    let slow = "slow".parse().expect("a product");
    for product in [&lamp(), &slow] {
        by_another_program(&app, product, "1.0.0").await;
    }
    bucket.hold.send_replace(Hold::Product("slow"));
    let pass = async || {
        let pass = tokio::time::timeout(Duration::from_secs(20), app.releases.mirror().refresh_all());
        pass.await.expect("a pass ends").expect("nothing failed")
    };
    pass().await;
    assert_eq!(app.releases.list(&lamp()).await.expect("known").len(), 1);
    let nowhere = app.releases.list(&"nowhere".parse().expect("a product")).await;
    assert!(matches!(nowhere, Err(Error::NotFound(_))), "{nowhere:?}");
    let said = app.releases.list(&slow).await.expect_err("it hangs").to_string();
    assert!(said.contains("still being read"), "{said}");
    let waiting = bucket.hold.receiver_count();
    by_another_program(&app, &lamp(), "1.1.0").await;
    pass().await;
    assert_eq!(app.releases.list(&lamp()).await.expect("known").len(), 2);
    assert_eq!(bucket.hold.receiver_count(), waiting, "what is being read is not begun again");
    bucket.hold.send_replace(Hold::Nothing);
    rig::until("it is shown", || async { app.releases.list(&slow).await.is_ok_and(|list| list.len() == 1) })
        .await;
    assert_eq!(pass().await, Refreshed::Done);
}

#[tokio::test]
async fn a_product_that_was_published_here_is_never_unknown() {
    let (_folder, app, bucket) = slow_app().await;
    app.releases.mirror().refresh_all().await.expect("nothing there");
    bucket.hold.send_replace(Hold::Listings);
    publish(&app, &lamp(), "1.0.0").await;
    for _ in 0..2 {
        let error = app.releases.list(&lamp()).await.expect_err("the bucket does not tell");
        assert!(matches!(error, Error::StoreUnavailable(_)), "{error}");
    }
    app.releases.block(&BY, &lamp(), &version("1.0.0"), "it loops").await.expect("whatever the bucket tells");
    bucket.hold.send_replace(Hold::Nothing);
    rig::until("it is shown", || async {
        app.releases.list(&lamp()).await.is_ok_and(|list| list.len() == 1)
    })
    .await;
    assert!(app.releases.show(&lamp(), &version("1.0.0")).await.expect("known").blocked);
}

/// Of all acts on the bucket. Who did it is told that it failed, and so says its entry in the audit.
#[tokio::test]
async fn what_was_done_and_not_answered_is_shown_at_once() {
    let (_folder, app, bucket) = slow_app().await;
    publish(&app, &lamp(), "1.0.0").await;
    bucket.loses_answers.store(true, Ordering::Relaxed);
    let (one, beta) = (version("1.0.0"), "beta".parse().expect("a channel"));
    let blocked = async || app.releases.show(&lamp(), &one).await.expect("known").blocked;
    let lost = app.releases.block(&BY, &lamp(), &one, "it loops").await.expect_err("nobody knows");
    assert!(blocked().await);
    outcome_is(&app, "version.block", &lost).await;
    let lost = app.releases.unblock(&BY, &lamp(), &one).await.expect_err("nobody knows");
    assert!(!blocked().await);
    outcome_is(&app, "version.unblock", &lost).await;
    let lost = app.releases.promote(&BY, &lamp(), &one, &beta).await.expect_err("nobody knows");
    assert_eq!(app.releases.channels(&lamp()).await.expect("known")[0].version, Some(one));
    outcome_is(&app, "channel.promote", &lost).await;
    let two = store::Publication { version: Some(version("1.1.0")), ..store::Publication::new(lamp()) };
    let lost = app.releases.publish(&BY, two, None, an_image("1.1.0")).await.expect_err("nobody knows");
    app.releases.show(&lamp(), &version("1.1.0")).await.expect("known");
    outcome_is(&app, "release.publish", &lost).await;
}

/// The last entry of an act says how it ended.
async fn outcome_is(app: &crate::services::Services, action: &str, error: &Error) {
    let query = api::AuditQuery { action: Some(action.to_owned()), limit: Some(2), ..Default::default() };
    let entries = app.access.audit(&query).await.expect("read").items;
    let outcomes = entries.iter().map(|entry| entry.after.as_ref().expect("a detail")["outcome"].clone());
    let code = error.cause().map(|cause| cause.code.clone());
    assert_eq!(outcomes.collect::<Vec<_>>(), [json!("begun"), json!(code)], "{action}: {error}");
}

#[tokio::test]
async fn what_was_blocked_before_stands_in_the_audit() {
    let (_folder, app, _bucket) = slow_app().await;
    publish(&app, &lamp(), "1.0.0").await;
    let one = version("1.0.0");
    for reason in ["it loops", "it burns"] {
        app.releases.block(&BY, &lamp(), &one, reason).await.expect("blocked");
    }
    app.releases.unblock(&BY, &lamp(), &one).await.expect("unblocked");
    let query = api::AuditQuery { after: Some(0), ..Default::default() };
    let entries = app.access.audit(&query).await.expect("read").items;
    let done = entries.iter().filter(|entry| entry.after.as_ref().expect("a detail")["outcome"] == "done");
    let before: Vec<_> =
        done.filter(|entry| entry.action.starts_with("version.")).map(|entry| entry.before.clone()).collect();
    let blocked = |why: &str| Some(json!({ "blocked": true, "reason": why }));
    let free = Some(json!({ "blocked": false, "reason": null }));
    assert_eq!(before, [free, blocked("it loops"), blocked("it burns")]);
}

#[tokio::test]
async fn a_product_whose_store_hangs_holds_up_no_publishing_of_another() {
    let (_folder, app, bucket) = slow_app().await;
    let slow = "slow".parse().expect("a product");
    publish(&app, &lamp(), "1.0.0").await;
    bucket.hold.send_replace(Hold::AllOf("slow"));
    let hanging = app.clone();
    let hangs = tokio::spawn(async move { publish(&hanging, &slow, "1.0.0").await });
    rig::until("it hangs", || async { bucket.hold.receiver_count() == 1 }).await;
    let both = async {
        publish(&app, &lamp(), "1.1.0").await;
        app.releases.promote(&BY, &lamp(), &version("1.1.0"), &contract::ChannelName::production()).await
    };
    tokio::time::timeout(Duration::from_secs(5), both).await.expect("at once").expect("promoted");
    assert!(!hangs.is_finished());
    bucket.hold.send_replace(Hold::Nothing);
    hangs.await.expect("published");
}

#[test]
fn a_server_that_is_killed_in_mid_reading_leaves_the_reading_before() {
    let process = || tokio::runtime::Runtime::new().expect("starts");
    let killed = process();
    let (_folder, app, bucket) = killed.block_on(async {
        let (folder, app, bucket) = slow_app().await;
        publish(&app, &lamp(), "1.0.0").await;
        by_another_program(&app, &lamp(), "1.1.0").await;
        bucket.hold.send_replace(Hold::Product("lamp"));
        let reading = app.clone();
        tokio::spawn(async move { reading.releases.refresh(&lamp()).await });
        rig::until("it is being read", || async { bucket.hold.receiver_count() == 1 }).await;
        (folder, app, bucket)
    });
    // Each of its tasks ends where it waits.
    killed.shutdown_background();
    bucket.hold.send_replace(Hold::Nothing);
    process().block_on(async {
        let next = app.beside().await;
        let shown = async || next.releases.list(&lamp()).await.expect("known").len();
        assert_eq!(shown().await, 1);
        next.releases.mirror().refresh_all().await.expect("read");
        assert_eq!(shown().await, 2);
    });
}
