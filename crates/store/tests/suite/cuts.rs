//! A process that is killed between any two operations, or right after one whose answer it never saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use updraft_store::testing::{Fate, FaultyStore, Kind, Operation};
use updraft_store::{Blocked, Store};

use crate::place::{Place, product, production, publish, s3_image, v};

/// Whether the last operation before the cut takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Before,
    After,
    /// Nothing is cut, but the first image or metadata that is written arrives in half, without an error.
    Torn(&'static str),
}

/// The place as a process sees it that lives for `operations` more.
async fn mortal(place: &Place, operations: i64, cut: Cut) -> Store {
    let left = Arc::new(AtomicI64::new(operations));
    let hook = move |Operation { kind, key }: Operation| {
        let is_write = kind == Kind::Put;
        let fate = match cut {
            Cut::Torn(name) if is_write && key.ends_with(name) && left.swap(-1, Ordering::Relaxed) > 0 => {
                Fate::Torn
            }
            Cut::Torn(_) => Fate::Done,
            Cut::Before | Cut::After if kind == Kind::List => Fate::Done,
            Cut::Before | Cut::After => match left.fetch_sub(1, Ordering::Relaxed) {
                1.. => Fate::Done,
                0 if is_write && cut == Cut::After => Fate::AnswerLost,
                _ => Fate::Failed,
            },
        };
        async move { fate }
    };
    place.again().await.through(|objects| FaultyStore::before(objects, hook))
}

/// No `version.txt` without the whole image beside it.
async fn assert_whole(place: &Place, folder: &str, images: &[&Bytes]) {
    if place.get(&format!("{folder}/version.txt")).await.is_some() {
        let image = place.get(&format!("{folder}/firmware.bin")).await.expect("version.txt names an image");
        assert!(images.contains(&&image), "{folder}: a torn image");
    }
}

pub(crate) async fn a_publish_cut_anywhere_completes_when_run_again(place: &Place) {
    let mut cuts = 0;
    for cut in [Cut::Before, Cut::After] {
        for operations in 0.. {
            let version = format!("{}.{operations}.0", 1 + u8::from(cut == Cut::After));
            let (image, folder) = (s3_image(&version, 1), format!("esp32s3/releases/v{version}"));
            let done = publish(&mortal(place, operations, cut).await, &version, &image).await.is_ok();
            assert_whole(place, &folder, &[&image]).await;
            let again = place.publish(&version, &image).await.expect("run again");
            assert_eq!(again.release.size, image.len() as u64);
            assert_whole(place, &folder, &[&image]).await;
            assert_eq!(place.text(&format!("{folder}/version.txt")).await, format!("{version}\n"));
            place.promote(&version).await.expect("whole");
            if done {
                break;
            }
            cuts += 1;
            assert!(operations < 100, "it never ends");
        }
    }
    assert!(cuts > 12, "only {cuts} cuts: is the hook in place?");
}

pub(crate) async fn a_publish_cut_anywhere_gives_way_to_other_bytes(place: &Place) {
    for cut in [Cut::Before, Cut::After] {
        for operations in 0.. {
            let version = format!("{}.{operations}.0", 1 + u8::from(cut == Cut::After));
            let (first, second) = (s3_image(&version, 1), s3_image(&version, 2));
            let folder = format!("esp32s3/releases/v{version}");
            let done = publish(&mortal(place, operations, cut).await, &version, &first).await.is_ok();
            let committed = place.get(&format!("{folder}/version.txt")).await.is_some();
            let other = place.publish(&version, &second).await;
            assert_eq!(other.is_err(), committed, "{version}: {other:?}");
            let expected = if committed { &first } else { &second };
            assert_eq!(place.get(&format!("{folder}/firmware.bin")).await.as_ref(), Some(expected));
            place.promote(&version).await.expect("whole");
            if done {
                break;
            }
        }
    }
}

pub(crate) async fn a_promote_cut_anywhere_completes_when_run_again(place: &Place) {
    let (first, second) = (s3_image("1.0.0", 1), s3_image("2.0.0", 1));
    place.publish("1.0.0", &first).await.expect("published");
    place.publish("2.0.0", &second).await.expect("published");
    let mut cuts = 0;
    for cut in [Cut::Before, Cut::After] {
        for operations in 0.. {
            place.promote("1.0.0").await.expect("promoted");
            let store = mortal(place, operations, cut).await;
            let done = store.promote(&product(), &v("2.0.0"), &production()).await.is_ok();
            assert_whole(place, "esp32s3/production", &[&first, &second]).await;
            // Until the commit the old version stands, and its bytes come from the release.
            let version = place.store.channel(&product(), &production()).await.expect("read").expect("there");
            match place.store.artifact(&product(), &production(), &version).await {
                Ok(artifact) => assert!(artifact.expect("there").key.contains("releases/v")),
                Err(error) => assert!(error.to_string().contains("differ"), "{error}"),
            }
            place.promote("2.0.0").await.expect("run again");
            assert_eq!(place.get("esp32s3/production/firmware.bin").await.as_ref(), Some(&second));
            assert_eq!(place.text("esp32s3/production/version.txt").await, "2.0.0\n");
            assert!(place.text("esp32s3/production/metadata.json").await.contains("\"2.0.0\""));
            if done {
                break;
            }
            cuts += 1;
            assert!(operations < 100, "it never ends");
        }
    }
    assert!(cuts > 16, "only {cuts} cuts: is the hook in place?");
}

pub(crate) async fn a_block_cut_anywhere_completes_when_run_again(place: &Place) {
    for cut in [Cut::Before, Cut::After] {
        for operations in 0.. {
            let version = v(&format!("1.{operations}.{}", u8::from(cut == Cut::After)));
            let store = mortal(place, operations, cut).await;
            let done = store.block(&product(), &version, "why").await.is_ok();
            place.store.block(&product(), &version, "why").await.expect("run again");
            let Blocked::List(list) = place.store.blocked(&product()).await.expect("read") else { panic!() };
            assert_eq!(list[&version].as_deref(), Some("why"));
            if done {
                break;
            }
        }
    }
}

pub(crate) async fn a_torn_write_is_seen_before_the_commit(place: &Place) {
    for (number, name) in ["firmware.bin", "metadata.json"].into_iter().enumerate() {
        let version = format!("1.{number}.0");
        let (image, folder) = (s3_image(&version, 1), format!("esp32s3/releases/v{version}"));
        let store = mortal(place, i64::MAX, Cut::Torn(name)).await;
        publish(&store, &version, &image).await.expect("written again");
        assert_whole(place, &folder, &[&image]).await;
        let release = place.release(&version).await.expect("there");
        assert!(release.sha256.is_some(), "the metadata is whole");
        let store = mortal(place, i64::MAX, Cut::Torn(name)).await;
        store.promote(&product(), &v(&version), &production()).await.expect("written again");
        assert_whole(place, "esp32s3/production", &[&image]).await;
    }
}
