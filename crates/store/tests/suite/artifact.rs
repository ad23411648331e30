//! What a decision asks for: how often, and what it is told.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use updraft_store::testing::{Fate, FaultyStore, Kind, Operation};
use updraft_store::{Artifact, StoreError};

use crate::place::{Place, product, production, publish, s3_image, v};

/// Counts what is read. Each read is answered the second time it is polled, so that the polls until a future is done are
/// the round trips that it takes.
fn counted(objects: Arc<dyn ObjectStore>, reads: &Arc<AtomicUsize>) -> Arc<dyn ObjectStore> {
    let reads = Arc::clone(reads);
    FaultyStore::before(objects, move |Operation { kind, .. }| {
        assert!(!matches!(kind, Kind::List | Kind::Folders), "nothing is listed here");
        if kind == Kind::Get {
            reads.fetch_add(1, Ordering::Relaxed);
        }
        let mut is_answered = kind != Kind::Get;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut is_answered, true) {
                return Poll::Ready(Fate::Done);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    })
}

/// How many round trips it takes, and what came of it.
fn rounds<T>(future: impl Future<Output = T>) -> (usize, T) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for rounds in 0..100 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return (rounds, value);
        }
    }
    panic!("it never ends")
}

#[tokio::test]
async fn an_artifact_takes_two_round_trips_and_no_listing() {
    let place = Place::folder().await;
    let memory = Arc::new(InMemory::new());
    let metadata = r#"{"version":"1.2.0","size":5,"chip":"esp32s3"}"#;
    for folder in ["esp32s3/releases/v1.2.0", "esp32s3/production"] {
        for (name, text) in [("firmware.bin", "12345"), ("metadata.json", metadata), ("version.txt", "1.2.0")]
        {
            memory.put(&Path::from(format!("{folder}/{name}")), text.into()).await.expect("written");
        }
    }
    let reads = Arc::new(AtomicUsize::new(0));
    let store = place.again().await.through(|_| counted(memory, &reads));
    for _ in 0..2 {
        reads.store(0, Ordering::Relaxed);
        let (product, production, version) = (product(), production(), v("1.2.0"));
        let (rounds, artifact) = rounds(store.artifact(&product, &production, &version));
        assert_eq!(artifact.expect("read").expect("there").key, "esp32s3/releases/v1.2.0/firmware.bin");
        assert_eq!((rounds, reads.load(Ordering::Relaxed)), (2, 6));
    }
}

async fn artifact(place: &Place, version: &str) -> Result<Artifact, StoreError> {
    let artifact = place.store.artifact(&product(), &production(), &v(version)).await?;
    Ok(artifact.expect("there"))
}

/// The mark that S3 keeps with a release says what it was created for; a folder's writers wait for each other, and keep none.
pub(crate) async fn a_release_that_metadata_contradicts_offers_nothing_until_it_is_published_again(
    place: &Place,
) {
    let image = s3_image("1.2.0", 1);
    let published = place.publish("1.2.0", &image).await.expect("published").release.sha256;
    place.promote("1.2.0").await.expect("promoted");
    assert!(published.is_some());
    assert_eq!(artifact(place, "1.2.0").await.expect("read").sha256, published);

    let metadata = "esp32s3/releases/v1.2.0/metadata.json";
    place.put(metadata, r#"{"version":"1.2.0"}"#).await;
    let marked = published.filter(|_| place.is_s3());
    for _ in 0..2 {
        let silent = artifact(place, "1.2.0").await.expect("read");
        assert_eq!(silent.sha256, marked, "what is not sent again keeps its mark");
    }
    let listed = place.store.releases(&product()).await.expect("listed");
    assert_eq!(listed[0].sha256, marked);
    if !place.is_s3() {
        return;
    }
    place.put(metadata, format!(r#"{{"version":"1.2.0","sha256":"{}"}}"#, "0".repeat(64))).await;
    let error = artifact(place, "1.2.0").await.expect_err("it contradicts itself");
    assert!(error.is_corrupt(), "{error:?}");
    let said = error.to_string();
    let sha256 = published.expect("said").to_string();
    assert!(said.contains(&sha256) && said.contains("publish the image with"), "{said}");
    assert!(place.publish("1.2.0", &image).await.expect("repaired").already_there);
    assert_eq!(artifact(place, "1.2.0").await.expect("repaired").sha256, published);
}

pub(crate) async fn a_release_that_was_deleted_and_published_again_is_known_by_its_new_image(place: &Place) {
    for seed in 1..=3 {
        // By another program, so that this one is told nothing.
        let image = s3_image("1.2.0", seed);
        let published = publish(&place.again().await, "1.2.0", &image).await.expect("published");
        place.promote("1.2.0").await.expect("promoted");
        let sha256 = published.release.sha256;
        assert!(sha256.is_some());
        assert_eq!(artifact(place, "1.2.0").await.expect("read").sha256, sha256, "image {seed}");
        let release = place.release("1.2.0").await.expect("there");
        assert_eq!(release.sha256, sha256, "image {seed}");
        let listed = place.store.releases(&product()).await.expect("listed");
        assert_eq!(listed[0].sha256, sha256, "image {seed}");
        for folder in ["production", "releases/v1.2.0"] {
            for file in ["version.txt", "metadata.json", "firmware.bin"] {
                place.delete(&format!("esp32s3/{folder}/{file}")).await;
            }
        }
    }
}

pub(crate) async fn releases_between_two_versions_are_listed_highest_first(place: &Place) {
    for version in ["1.0.0", "1.1.0", "1.3.0", "1.2.0", "2.0.0"] {
        place.publish(version, &s3_image(version, 1)).await.expect("published");
    }
    place.put("esp32s3/releases/v1.3.0/version.txt", "1.4.0").await;
    let between = place.again().await;
    let between = between.releases_between(&product(), &v("1.0.0"), &v("2.0.0")).await.expect("listed");
    let versions: Vec<_> = between.iter().map(|release| release.version.as_str()).collect();
    assert_eq!(versions, ["1.2.0", "1.1.0"]);
}
