//! What a decision asks of the store, and what becomes of it when the store is corrupt, slow or silent.

use std::collections::HashSet;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use image::{Chip, build::Build};
use object_store::ObjectStore;
use store::testing::{Fate, FaultyStore, Kind, Operation};
use tokio::sync::{Barrier, Semaphore};

use super::rig::BY;
use super::without_broker::{handed, handed_through};
use super::*;
use crate::db::device_list;
use crate::error::Error;
use crate::mqtt::Handler;
use crate::releases::{RecordedSlots, SLOT_SIZES};

/// Between a server and its store: what meets here is asked at once, and where it hangs nothing is answered.
struct Between {
    hangs: Arc<AtomicBool>,
    /// The first read of a key that ends like one of these waits for the first of the other.
    meet: [&'static str; 2],
    met: Mutex<HashSet<String>>,
    barrier: Barrier,
}

impl Between {
    fn before(
        objects: Arc<dyn ObjectStore>,
        hangs: &Arc<AtomicBool>,
        meet: [&'static str; 2],
    ) -> Arc<dyn ObjectStore> {
        let (met, barrier) = (Mutex::default(), Barrier::new(2));
        let between = Arc::new(Self { hangs: Arc::clone(hangs), meet, met, barrier });
        FaultyStore::before(objects, move |operation| Arc::clone(&between).read(operation))
    }

    async fn read(self: Arc<Self>, Operation { kind, key }: Operation) -> Fate {
        if kind == Kind::Get && self.hangs.load(Ordering::Relaxed) && key.contains("/releases/") {
            return std::future::pending().await;
        }
        let meets = kind == Kind::Get
            && self.meet.iter().any(|end| key.ends_with(end))
            && self.met.lock().expect("whole").insert(key);
        if meets {
            self.barrier.wait().await;
        }
        Fate::Done
    }
}

fn product(name: &str) -> contract::ProductName {
    name.parse().expect("a product")
}

fn put(folder: &FilePath, place: &str, version: &str) {
    rig::put(&folder.join("store").join(place), version, "p", json!({}));
}

#[tokio::test]
async fn the_channel_and_the_blocked_list_are_asked_for_at_once() {
    let hangs = Arc::new(AtomicBool::new(false));
    let meet = ["p/production/version.txt", "p/rollback/blocked_versions.json"];
    let (folder, app) = handed_through("", |objects| Between::before(objects, &hangs, meet)).await;
    put(folder.path(), "p/releases/v1.1.0", "1.1.0");
    put(folder.path(), "p/production", "1.1.0");
    let report = r#"{"version":"1.0.0","product":"p"}"#;
    app.messages.messages(&[message("d1", TopicKind::Version, report)]).await.expect("taken");
    let answer = app.updates.check(&BY, &id("d1"), true).await.expect("decides");
    assert_eq!(answer.decision, "offered", "{}", answer.reason);
}

/// Whatever a decision looked at: of another chip or slot, it would be another one.
#[tokio::test]
async fn a_device_that_reports_something_else_meanwhile_is_decided_upon_anew() {
    for (more, expected) in [
        (r#""chip":"esp32c3","slot_bytes":1048576"#, "wrong_chip"),
        (r#""chip":"esp32s3","slot_bytes":4"#, "too_large"),
        (r#""chip":"esp32s3","slot_bytes":1048576,"slot":"ota_1""#, "offered"),
    ] {
        let (asked, answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let gates = (Arc::clone(&asked), Arc::clone(&answer));
        let (folder, app) = handed_through("", move |objects| {
            FaultyStore::before(objects, move |operation| {
                let (asked, answer) = gates.clone();
                async move {
                    if operation.key.ends_with("/production/version.txt") {
                        asked.add_permits(1);
                        answer.acquire().await.expect("open").forget();
                    }
                    Fate::Done
                }
            })
        })
        .await;
        put(folder.path(), "p/releases/v1.1.0", "1.1.0");
        put(folder.path(), "p/production", "1.1.0");
        let report = async |more: &str| {
            let report = format!(r#"{{"version":"1.0.0","product":"p",{more}}}"#);
            app.messages.messages(&[message("d1", TopicKind::Version, &report)]).await.expect("taken");
        };
        report(r#""chip":"esp32s3","slot_bytes":1048576"#).await;
        let updates = app.updates.clone();
        let check = tokio::spawn(async move { updates.check(&BY, &id("d1"), true).await });
        asked.acquire().await.expect("open").forget();
        report(more).await;
        answer.add_permits(10);
        let answer = check.await.expect("ends").expect("decides");
        assert_eq!(answer.decision, expected, "{}", answer.reason);
    }
}

#[tokio::test]
async fn an_image_that_is_not_what_was_published_is_not_offered() {
    let (rig, _device) = ready().await;
    let firmware = rig.folder.path().join("store/p/releases/v1.1.0/firmware.bin");
    let published = std::fs::read(&firmware).expect("read");
    let mut other = published.clone();
    other[0] ^= 1;
    std::fs::write(&firmware, &other).expect("written");
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "store_unavailable", "{}", answer.reason);
    let parts = ["is not the image that was published as 1.1.0", "again, which repairs it"];
    assert!(parts.iter().all(|part| answer.reason.contains(part)), "{}", answer.reason);
    std::fs::write(&firmware, &published).expect("written");
    assert_eq!(rig.decision("d1").await, "offered");
}

#[tokio::test]
async fn a_promote_that_was_killed_half_way_is_undone_by_the_next_server() {
    let (rig, _device) = ready().await;
    let channel = rig.folder.path().join("store/p/production");
    let promoted = std::fs::read(channel.join("firmware.bin")).expect("read");
    let unfinished = || {
        for (name, content) in [("firmware.bin", &b"the next image"[..]), ("metadata.json", b"{}")] {
            std::fs::write(channel.join(name), content).expect("written");
        }
    };
    unfinished();
    assert_eq!(rig.decision("d1").await, "store_unavailable");
    // Somebody may be at it still.
    let rig = rig.restart().await;
    rig.services().releases.mirror().refresh(&"p".parse().expect("a product")).await.expect("read");
    assert_ne!(std::fs::read(channel.join("firmware.bin")).expect("read"), promoted);
    for name in ["firmware.bin", "metadata.json"] {
        let file = std::fs::File::options().write(true).open(channel.join(name)).expect("opened");
        file.set_modified(std::time::SystemTime::now() - Duration::from_mins(6)).expect("set");
    }
    let rig = rig.restart().await;
    rig.services().releases.mirror().refresh(&"p".parse().expect("a product")).await.expect("read");
    assert_eq!(std::fs::read(channel.join("firmware.bin")).expect("read"), promoted);
    let answer = rig.services().updates.check(&BY, &id("d1"), true).await.expect("decides");
    assert_eq!(answer.decision, "offered", "{}", answer.reason);
}

#[tokio::test]
async fn a_corrupt_image_is_named_until_it_is_repaired() {
    let (rig, device) = ready().await;
    let firmware = rig.folder.path().join("store/p/releases/v1.1.0/firmware.bin");
    let published = std::fs::read(&firmware).expect("read");
    let mut other = published.clone();
    other[0] ^= 1;
    std::fs::write(&firmware, &other).expect("written");
    let updated = rig.device("d2", "p").await;
    updated.say(TopicKind::Version, "1.1.0").await;
    rig.until_version("d2", "1.1.0").await;
    assert_eq!(rig.decision("d1").await, "store_unavailable", "found");
    drop(device);
    rig::until("it is offline", || async { !rig.show("d1").await.online }).await;
    for device in ["d1", "d2"] {
        let answer = rig.services().updates.check(&BY, &id(device), false).await.expect("decides");
        assert_eq!(answer.decision, "store_unavailable", "{}", answer.reason);
        assert!(answer.reason.contains("is not the image that was published"), "{}", answer.reason);
    }
    std::fs::write(&firmware, &published).expect("written");
    assert_eq!((rig.decision("d1").await, rig.decision("d2").await), ("offline".into(), "up_to_date".into()));
}

#[tokio::test]
async fn the_highest_step_that_is_whole_and_not_blocked_is_offered() {
    let rig = Rig::start().await;
    rig.release("p", "1.4.0", json!({}));
    rig.release("p", "1.5.0", json!({}));
    rig.release("p", "1.6.0", json!({"requires": "nonsense"}));
    rig.release("p", "1.7.0", json!({"sha256": "0".repeat(64)}));
    rig.release("p", "1.8.0", json!({}));
    rig.release("p", "1.9.0-rc.1", json!({}));
    rig.block("p", r#"{"blocked_versions":["1.8.0"]}"#);
    rig.deploy("p", "2.0.0", json!({"requires": "1.4.0"}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    let version = answer.version.as_ref().map(contract::Version::as_str);
    assert_eq!((answer.decision.as_str(), version), ("offered", Some("1.5.0")), "{}", answer.reason);
    device.until_triggers(1).await;
    assert!(device.triggers()[0].contains("p/releases/v1.5.0/firmware.bin?"));
}

#[tokio::test]
async fn of_many_corrupt_steps_only_the_highest_are_looked_at() {
    let rig = Rig::start().await;
    rig.release("p", "1.1.0", json!({}));
    for minor in 2..9 {
        rig.release("p", &format!("1.{minor}.0"), json!({"sha256": "0".repeat(64)}));
    }
    rig.deploy("p", "2.0.0", json!({"requires": "1.1.0"}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "store_unavailable");
    assert!(
        answer.reason.contains("4 releases on the way to the target are corrupt, 1.4.0"),
        "{}",
        answer.reason
    );
}

#[tokio::test]
async fn what_is_done_stays_done_when_the_store_falls_silent() {
    let hangs = Arc::new(AtomicBool::new(false));
    let (folder, app) = handed_through("", |objects| Between::before(objects, &hangs, ["-", "-"])).await;
    put(folder.path(), "p/releases/v1.0.0", "1.0.0");
    put(folder.path(), "p/production", "1.0.0");
    app.releases.mirror().refresh_all().await.expect("read");
    hangs.store(true, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    let version = "1.0.0".parse().expect("a version");
    app.releases.block(&BY, &product("p"), &version, "it hangs").await.expect("it is blocked");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let file = folder.path().join("store/p/rollback/blocked_versions.json");
    assert!(std::fs::read_to_string(file).expect("written").contains("it hangs"));
    // Asked for by name, it is said that it takes longer.
    let said = app.releases.refresh(&product("p")).await.expect_err("it hangs").to_string();
    assert!(said.contains("still being read"), "{said}");
    // What is known is shown meanwhile.
    assert_eq!(app.releases.list(&product("p")).await.expect("known").len(), 1);
}

#[tokio::test]
async fn names_that_nobody_knows_are_looked_for_once_in_a_while() {
    let (folder, app) = handed("").await;
    let mut config = app.config.clone();
    config.store.refresh_s = 3600;
    let app = app.again(config, app.releases.store().clone()).await;
    app.releases.mirror().refresh_all().await.expect("nothing there");
    put(folder.path(), "early/releases/v1.0.0", "1.0.0");
    put(folder.path(), "late/releases/v1.0.0", "1.0.0");
    assert_eq!(app.releases.list(&product("early")).await.expect("found").len(), 1);
    let late = app.releases.list(&product("late")).await;
    assert!(matches!(late, Err(Error::NotFound(_))), "{late:?}");
    // Blocking is for emergencies, and who may block may look.
    app.releases
        .block(&BY, &product("late"), &"1.0.0".parse().expect("a version"), "it loops")
        .await
        .expect("blocked");
    let nowhere =
        app.releases.block(&BY, &product("nowhere"), &"1.0.0".parse().expect("a version"), "it loops").await;
    assert!(matches!(nowhere, Err(Error::NotFound(_))), "{nowhere:?}");
    assert_eq!(app.releases.list(&product("late")).await.expect("found").len(), 1);
    put(folder.path(), "later/releases/v1.0.0", "1.0.0");
    app.releases.refresh(&product("later")).await.expect("read");
    assert_eq!(app.releases.list(&product("later")).await.expect("found").len(), 1);
}

#[tokio::test]
async fn a_product_of_another_program_is_unblocked_and_promoted_at_once() {
    let (folder, app) = handed("").await;
    app.releases.mirror().refresh_all().await.expect("nothing there");
    app.releases.list(&product("nowhere")).await.expect_err("the look of this while is used up");
    put(folder.path(), "late/releases/v1.0.0", "1.0.0");
    let list = r#"{"blocked_versions":["1.0.0"],"reason":{}}"#;
    let rollback = folder.path().join("store/late/rollback");
    std::fs::create_dir_all(&rollback).expect("made");
    std::fs::write(rollback.join("blocked_versions.json"), list).expect("written");
    let (product, version) = (product("late"), "1.0.0".parse().expect("a version"));
    app.releases.unblock(&BY, &product, &version).await.expect("unblocked");
    rig::put(&folder.path().join("store/other/releases/v1.0.0"), "1.0.0", "other", json!({}));
    let other = "other".parse().expect("a product");
    app.releases
        .promote(&BY, &other, &version, &contract::ChannelName::production())
        .await
        .expect("promoted");
}

#[tokio::test]
async fn of_two_spellings_a_publish_is_answered_with_the_one_that_it_is_about() {
    for (ours, theirs) in [("1.0.0+a", "1.0.0+b"), ("1.0.0+b", "1.0.0+a")] {
        let (folder, app) = handed("").await;
        let image = Bytes::from(Build::new(Chip::Esp32S3, ours).bytes());
        let publication =
            store::Publication { version: ours.parse().ok(), ..store::Publication::new(product("p")) };
        let publish = async || app.releases.publish(&BY, publication.clone(), None, image.clone()).await;
        let published = publish().await.expect("published").release;
        // What an older release or another program put there.
        put(folder.path(), &format!("p/releases/v{theirs}"), theirs);
        app.releases.refresh(&product("p")).await.expect("read");
        let again = publish().await.expect("the same again");
        assert_eq!(again.decision, api::PublishDecision::Unchanged);
        let (version, sha256) = (again.release.version.as_str(), again.release.sha256);
        assert_eq!((version, sha256), (ours, published.sha256));
        for asked in [ours, theirs] {
            let shown =
                app.releases.show(&product("p"), &asked.parse().expect("a version")).await.expect("known");
            assert_eq!(shown.version.as_str(), asked);
        }
    }
}

/// What is recorded of the smallest slot.
fn recorded(folder: &FilePath) -> u64 {
    let file = std::fs::read(folder.join("store/p/_slots.json")).expect("written");
    let file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    file["slot_bytes"].as_u64().expect("a number")
}

#[tokio::test]
async fn the_recorded_slot_grows_again_also_after_a_restart() {
    let (folder, app) = handed("").await;
    put(folder.path(), "p/releases/v1.0.0", "1.0.0");
    app.releases.mirror().refresh_all().await.expect("read");
    let report = |name: &str, slot: u32| {
        let report = format!(r#"{{"version":"1.0.0","product":"p","slot_bytes":{slot}}}"#);
        message(name, TopicKind::Version, &report)
    };
    let reports =
        [report("small", 100_000), report("large", 200_000), report("liar", 1), report("vast", u32::MAX)];
    app.messages.messages(&reports).await.expect("taken");
    app.releases.record_slots(&mut RecordedSlots::default()).await.expect("recorded");
    assert_eq!(recorded(folder.path()), 100_000);
    let write = app.db.write(&BY).await.expect("writes");
    let small = write.lock_device(&id("small")).await.expect("read").expect("there");
    write.remove_device(small).await.expect("removed");
    write.commit().await.expect("committed");
    // Another process, which remembers nothing of its own.
    app.releases.record_slots(&mut RecordedSlots::default()).await.expect("recorded");
    assert_eq!(recorded(folder.path()), 200_000);
    app.messages.messages(&[report("large", 300_000)]).await.expect("taken");
    app.releases.record_slots(&mut RecordedSlots::default()).await.expect("recorded");
    assert_eq!(recorded(folder.path()), 300_000);
    assert!(!folder.path().join("store/p/product.json").exists(), "that is a person's");
    let smallest = device_list::smallest_slot(&app.db, &product("p"), &SLOT_SIZES).await.expect("read");
    assert_eq!(smallest.map(|(_, bytes)| bytes), Some(300_000));
}
