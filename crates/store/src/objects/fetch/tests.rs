use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::store::{Options, Store};
use crate::testing::{Fate, FaultyStore, Kind, Operation};

const KEY: &str = "p/releases/v1.0.0/firmware.bin";

async fn store(hook: impl Fn(Operation) -> Fate + Send + Sync + 'static) -> (tempfile::TempDir, Store) {
    waiting_store(move |operation| std::future::ready(hook(operation))).await
}

async fn waiting_store<F: Future<Output = Fate> + Send + 'static>(
    hook: impl Fn(Operation) -> F + Send + Sync + 'static,
) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(KEY);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(file, [7; 5000]).expect("written");
    let store = Store::open(&format!("file:{}", folder.path().display()), Options::default()).await;
    let store = store.expect("opens").through(|objects| FaultyStore::before(objects, hook));
    (folder, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_many_ask_for_at_once_is_read_once() {
    let asked = Arc::new(AtomicUsize::default());
    let counted = Arc::clone(&asked);
    let (_folder, store) = store(move |operation| {
        counted.fetch_add(usize::from(operation.kind == Kind::Get), Ordering::Relaxed);
        Fate::Done
    })
    .await;
    let devices: Vec<_> = (0..100)
        .map(|_| {
            let bucket = Arc::clone(&store.bucket);
            tokio::spawn(async move { bucket.image(KEY).await.expect("readable").expect("there").1 })
        })
        .collect();
    for device in devices {
        assert_eq!(device.await.expect("ends").expect("in memory").as_ref(), [7; 5000]);
    }
    assert!(
        asked.load(Ordering::Relaxed) <= 101,
        "each looks whether it is still that one, or somebody for it"
    );
}

/// A look that had begun before may have seen what was there before.
#[tokio::test]
async fn a_look_that_began_earlier_answers_nobody() {
    let (go, looks) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::default()));
    let (folder, store) = {
        let (go, looks) = (Arc::clone(&go), Arc::clone(&looks));
        waiting_store(move |_| {
            let (go, looks) = (Arc::clone(&go), Arc::clone(&looks));
            async move {
                looks.fetch_add(1, Ordering::Relaxed);
                go.acquire().await.expect("open").forget();
                Fate::Done
            }
        })
        .await
    };
    let look = || async { store.bucket.look(KEY).await.expect("found").expect("there").size };
    let until_begun = async |count| {
        while looks.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    };
    let first = look();
    let rest = async {
        until_begun(1).await;
        futures_util::future::join_all([look(), look(), look()]).await
    };
    let let_go = async {
        until_begun(1).await;
        go.add_permits(1);
        until_begun(2).await;
        std::fs::write(folder.path().join(KEY), [7; 9]).expect("written");
        go.add_permits(1);
    };
    let (first, rest, ()) = tokio::join!(first, rest, let_go);
    assert_eq!((first, rest, looks.load(Ordering::Relaxed)), (5000, vec![9; 3], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_read_an_image_whole_streams_it() {
    let asked = AtomicUsize::default();
    let (_folder, store) = store(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        1 => Fate::Failed,
        _ => Fate::Done,
    })
    .await;
    assert!(store.bucket.image(KEY).await.expect("found").expect("there").1.is_none());
    assert!(store.bucket.image(KEY).await.expect("found").expect("there").1.is_some(), "next time");
}
