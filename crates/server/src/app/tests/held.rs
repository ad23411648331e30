//! A bucket that can be made to wait, and what becomes of those who wait for it and of those who leave.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use image::{Chip, build::Build};
use object_store::memory::InMemory;
use store::testing::{Fate, FaultyStore, Kind, Operation};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api;
use crate::router::{UPLOADS_MAX, Web};

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
}

/// What a bucket in memory waits for, and what came to it.
#[derive(Debug)]
struct Held {
    hold: watch::Sender<Hold>,
    is_published: AtomicBool,
    /// Images that came.
    images: AtomicUsize,
    /// Writes that came while all were held.
    writes: AtomicUsize,
}

impl Held {
    async fn wait(&self, what: Hold) {
        self.hold.subscribe().wait_for(|hold| *hold != what).await.expect("the sender is here");
    }

    async fn before(self: Arc<Self>, Operation { kind, key }: Operation) -> Fate {
        let hold = || *self.hold.borrow();
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
            }
            Kind::Folders => {
                if self.is_published.load(Ordering::Relaxed) {
                    self.wait(Hold::Listings).await;
                }
                if let Hold::Product(held) = hold()
                    && key.split('/').next() == Some(held)
                {
                    self.wait(Hold::Product(held)).await;
                }
            }
            Kind::Get | Kind::List => {}
        }
        Fate::Done
    }
}

/// An App on such a bucket, which is S3 to it: there writers do not wait for each other.
async fn held_app() -> (tempfile::TempDir, App, Arc<Held>) {
    let held = Arc::new(Held {
        hold: watch::Sender::new(Hold::Nothing),
        is_published: AtomicBool::default(),
        images: AtomicUsize::default(),
        writes: AtomicUsize::default(),
    });
    let between = Arc::clone(&held);
    let (folder, app) = handed("").await;
    let store = Store::open("s3://bucket?region=eu-central-1", store::Options::default());
    let store = store.await.expect("opens").through(move |_| {
        FaultyStore::before(Arc::new(InMemory::new()), move |operation| {
            Arc::clone(&between).before(operation)
        })
    });
    let parts = Parts {
        config: app.config().clone(),
        public_url: app.public_url().clone(),
        db: app.db().clone(),
        store,
        url_key: [1; 32],
    };
    (folder, App::new(parts), held)
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

/// What the API does with an upload.
async fn upload(web: Web, version: String) -> u16 {
    let query = serde_json::from_value(json!({ "version": version, "allow": "lower-version" }));
    let answer = api::releases::publish(
        State(web),
        api::extract::Path(lamp()),
        api::extract::Query(query.expect("a query")),
        axum::extract::Request::new(an_image(&version).into()),
    );
    answer.await.into_response().status().as_u16()
}

#[tokio::test]
async fn an_image_keeps_its_place_for_as_long_as_anybody_has_it() {
    let (_folder, app, held) = held_app().await;
    let web = Web::new(app, CancellationToken::new());
    held.hold.send_replace(Hold::Images);
    let places = || web.uploads.available_permits();
    let mut clients: Vec<_> =
        (0..UPLOADS_MAX).map(|n| tokio::spawn(upload(web.clone(), format!("1.{n}.0")))).collect();
    rig::until("as many images as may be are on their way", || async {
        held.images.load(Ordering::Relaxed) == UPLOADS_MAX
    })
    .await;
    for client in clients.drain(..) {
        client.abort();
        assert!(client.await.expect_err("it left").is_cancelled());
    }
    assert_eq!(places(), 0, "who sent them has left, and the store has them still");
    let late: Vec<_> =
        (0..UPLOADS_MAX).map(|n| tokio::spawn(upload(web.clone(), format!("2.{n}.0")))).collect();
    held.hold.send_replace(Hold::Nothing);
    for client in late {
        assert_eq!(client.await.expect("answered"), 201);
    }
    rig::until("all places are free again", || async { places() == UPLOADS_MAX }).await;
}

#[tokio::test]
async fn what_takes_long_goes_on_and_is_not_said_to_have_failed() {
    let (_folder, app, held) = held_app().await;
    let upload = Upload { version: Some(version("1.0.0")), ..Upload::default() };
    app.publish(&lamp(), &upload, an_image("1.0.0")).await.expect("published");
    let (production, product) = (contract::ChannelName::production(), lamp());
    held.hold.send_replace(Hold::Writes);
    let soon = || tokio::time::Instant::now() + Duration::from_millis(50);
    let (promoting, version) = (app.clone(), version("1.0.0"));
    let answer = app.see_through(soon(), "promoting 1.0.0".to_owned(), async move {
        promoting.promote(&lamp(), &version, &contract::ChannelName::production()).await
    });
    let error = answer.await.expect_err("it is not known yet");
    assert!(matches!(error, AppError::GoesOn(_)), "{error:?}");
    assert!(error.to_string().contains("over promoting 1.0.0. It goes on: look again"), "{error}");
    // Who asks and leaves has it done too.
    let blocking = app.clone();
    let block = tokio::spawn(async move {
        blocking.block(&lamp(), &"0.9.0".parse().expect("a version"), "it loops").await
    });
    rig::until("both are being written", || async { held.writes.load(Ordering::Relaxed) == 2 }).await;
    block.abort();
    assert!(block.await.expect_err("it left").is_cancelled());
    held.hold.send_replace(Hold::Nothing);
    rig::until("it is promoted", || async {
        app.store().channel(&product, &production).await.expect("answers").is_some()
    })
    .await;
    rig::until("it is blocked, and shown", || async {
        !app.blocked(&product).await.expect("read").items.is_empty()
    })
    .await;
}

/// Each has an image in memory.
#[tokio::test]
async fn releases_are_promoted_a_few_at_a_time_whoever_leaves() {
    let (_folder, app, held) = held_app().await;
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let upload = Upload { version: version.parse().ok(), ..Upload::default() };
        app.publish(&lamp(), &upload, an_image(version)).await.expect("published");
    }
    let published = held.images.load(Ordering::Relaxed);
    held.hold.send_replace(Hold::Images);
    let promote = |version: &'static str| {
        let app = app.clone();
        tokio::spawn(async move {
            app.promote(&lamp(), &version.parse().expect("a version"), &"beta".parse().expect("a name")).await
        })
    };
    let hasty = [promote("1.0.0"), promote("1.1.0")];
    rig::until("two are being copied", || async { held.images.load(Ordering::Relaxed) == published + 2 })
        .await;
    for client in hasty {
        client.abort();
        assert!(client.await.expect_err("it left").is_cancelled());
    }
    assert_eq!(app.inner.promotions.available_permits(), 0, "they are being copied still");
    let late = promote("1.2.0");
    held.hold.send_replace(Hold::Nothing);
    late.await.expect("ends").expect("promoted");
    rig::until("all are done", || async {
        app.inner.promotions.available_permits() == firmware::PROMOTIONS_MAX
    })
    .await;
}

/// What tells the server of a change has to be answered, whatever else is being read just then.
#[tokio::test]
async fn one_product_is_read_anew_whatever_the_others_take() {
    let (_folder, app, held) = held_app().await;
    let upload = Upload { version: Some(version("1.0.0")), ..Upload::default() };
    let slow = "slow".parse().expect("a product");
    for product in [&lamp(), &slow] {
        app.publish(product, &upload, an_image("1.0.0")).await.expect("published");
    }
    held.hold.send_replace(Hold::Product("slow"));
    let all = app.clone();
    let all = tokio::spawn(async move { all.catalog().refresh_all().await });
    rig::until("the other one is being read", || async { held.hold.receiver_count() == 1 }).await;
    let by_another =
        store::Publication { version: Some(version("1.1.0")), ..store::Publication::new(lamp()) };
    app.store().publish(&by_another, an_image("1.1.0"), &|_| {}).await.expect("published");
    app.refresh(&lamp()).await.expect("at once");
    let shown = app.releases(&lamp()).await.expect("known");
    assert_eq!(shown.first().map(|release| &release.version), Some(&version("1.1.0")));
    let error = app.refresh(&slow).await.expect_err("this one takes its time");
    assert!(matches!(error, AppError::GoesOn(_)), "{error}");
    held.hold.send_replace(Hold::Nothing);
    all.await.expect("ends").expect("all is read");
    app.refresh(&slow).await.expect("now it answers");
    let error = app.refresh(&"lmap".parse().expect("a product")).await.expect_err("misspelt");
    assert!(matches!(error, AppError::NotFound(_)), "{error}");
}

/// What another program does to the others has to be shown meanwhile.
#[tokio::test]
async fn a_product_that_hangs_holds_up_no_other() {
    let (_folder, first, held) = held_app().await;
    let upload = Upload { version: Some(version("1.0.0")), ..Upload::default() };
    let slow = "slow".parse().expect("a product");
    for product in [&lamp(), &slow] {
        first.publish(product, &upload, an_image("1.0.0")).await.expect("published");
    }
    // Another process, which has read nothing yet.
    let app = App::new(Parts {
        config: first.config().clone(),
        public_url: first.public_url().clone(),
        db: first.db().clone(),
        store: first.store().clone(),
        url_key: [1; 32],
    });
    held.hold.send_replace(Hold::Product("slow"));
    let pass = async || {
        let pass = tokio::time::timeout(Duration::from_secs(20), app.catalog().refresh_all());
        pass.await.expect("a pass ends").expect("nothing failed")
    };
    pass().await;
    assert_eq!(app.releases(&lamp()).await.expect("known").len(), 1);
    let nowhere = app.releases(&"nowhere".parse().expect("a product")).await;
    assert!(matches!(nowhere, Err(AppError::NotFound(_))), "{nowhere:?}");
    let said = app.releases(&slow).await.expect_err("it hangs").to_string();
    assert!(said.contains("still being read"), "{said}");
    let waiting = held.hold.receiver_count();
    let by_another =
        store::Publication { version: Some(version("1.1.0")), ..store::Publication::new(lamp()) };
    app.store().publish(&by_another, an_image("1.1.0"), &|_| {}).await.expect("published");
    pass().await;
    assert_eq!(app.releases(&lamp()).await.expect("known").len(), 2);
    assert_eq!(held.hold.receiver_count(), waiting, "what is being read is not begun again");
    held.hold.send_replace(Hold::Nothing);
    rig::until("it is shown", || async { app.releases(&slow).await.is_ok_and(|list| list.len() == 1) }).await;
    assert_eq!(pass().await, crate::catalog::Refreshed::Done);
}

#[tokio::test]
async fn a_product_that_was_published_here_is_never_unknown() {
    let (_folder, app, held) = held_app().await;
    app.catalog().refresh_all().await.expect("nothing there");
    held.hold.send_replace(Hold::Listings);
    let upload = Upload { version: Some(version("1.0.0")), ..Upload::default() };
    app.publish(&lamp(), &upload, an_image("1.0.0")).await.expect("published");
    for _ in 0..2 {
        let error = app.releases(&lamp()).await.expect_err("the bucket does not tell");
        assert!(matches!(error, AppError::StoreUnavailable(_)), "{error}");
    }
    app.block(&lamp(), &version("1.0.0"), "it loops").await.expect("whatever the bucket tells");
    held.hold.send_replace(Hold::Nothing);
    rig::until("it is shown", || async { app.releases(&lamp()).await.is_ok_and(|list| list.len() == 1) })
        .await;
    assert!(app.release(&lamp(), &version("1.0.0")).await.expect("known").blocked);
}
