//! Real processes that are ended by SIGKILL: this test's own program, run again as a child that publishes and promotes.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use updraft_store::{Options, Store};

use crate::place::{Place, moto_bucket, product, production, publish, s3_image, s3_options, s3_url, v};
use crate::servers::{Front, Rule, moto, strict};

/// What a child is told: the store, and the version it publishes and promotes.
const STORE: &str = "UPDRAFT_TEST_CHILD_STORE";
const VERSION: &str = "UPDRAFT_TEST_CHILD_VERSION";

/// What the children of the tests below run, in the store they are told; run by itself, in a folder of its own.
#[tokio::test(flavor = "multi_thread")]
async fn left_alone_it_publishes_and_promotes() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = std::env::var(STORE).unwrap_or_else(|_| format!("file:{}", folder.path().display()));
    let version = std::env::var(VERSION).unwrap_or_else(|_| "1.0.0".to_owned());
    let store = Store::open(&url, Options::default()).await.expect("opens");
    publish(&store, &version, &s3_image(&version, 1)).await.expect("published");
    store.promote(&product(), &v(&version), &production()).await.expect("promoted");
    assert_eq!(store.channel(&product(), &production()).await.expect("read"), Some(v(&version)));
}

pub(crate) fn start(store: &str, version: &str, environment: &BTreeMap<String, String>) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "killed::left_alone_it_publishes_and_promotes", "--test-threads=1"])
        .env(STORE, store)
        .env(VERSION, version)
        .envs(environment)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// After a child was killed: nothing names what is not there, whoever looks undoes what is half done, and running it again completes it.
async fn assert_recovers(place: &Place, version: &str) {
    if let Some(named) = place.store.channel(&product(), &production()).await.expect("read") {
        let repair = async |quiet| {
            place.store.repair_channel(&product(), &production(), &named, quiet).await.expect("looked at")
        };
        let offered = place.store.artifact(&product(), &production(), &named).await;
        assert!(!repair(Duration::from_mins(5)).await, "somebody may be at it still");
        assert_eq!(repair(Duration::ZERO).await, offered.is_err(), "after {version}");
        let image = place.get("esp32s3/production/firmware.bin").await;
        assert_eq!(image, Some(s3_image(named.as_str(), 1)), "after {version}");
        place.store.artifact(&product(), &production(), &named).await.expect("offered").expect("there");
    }
    for (folder, named) in
        [(format!("esp32s3/releases/v{version}"), version), ("esp32s3/production".to_owned(), version)]
    {
        if place.get(&format!("{folder}/version.txt")).await.is_some() {
            let names = place.text(&format!("{folder}/version.txt")).await;
            let release = format!("esp32s3/releases/v{}/firmware.bin", names.trim());
            let image = place.get(&release).await.expect("the release is whole");
            assert_eq!(image, s3_image(names.trim(), 1), "{folder}, after {named}");
        }
    }
    let image = s3_image(version, 1);
    place.publish(version, &image).await.expect("run again");
    place.promote(version).await.expect("run again");
    assert_eq!(place.get("esp32s3/production/firmware.bin").await.as_ref(), Some(&image));
    assert_eq!(place.text("esp32s3/production/version.txt").await, format!("{version}\n"));
}

/// Kills a child at each request it makes of a bucket: before the server sees it, or before its answer arrives.
async fn killed_at_every_request(target: &'static str, bucket: &str, is_seen: bool) {
    let place = Place::behind(target, bucket).await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    for stop in 0.. {
        let version = format!("1.{stop}.{}", u8::from(is_seen));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let front = Front::before(target, move |_| match counted.fetch_add(1, Ordering::Relaxed) {
            number if number < stop => Rule::Pass,
            _ if is_seen => Rule::PassAndHang,
            _ => Rule::Hang,
        });
        let mut child = start(&s3_url(&front.url, bucket), &version, &s3_options().environment);
        let began = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break Some(status);
            }
            if count.load(Ordering::Relaxed) > stop {
                break None;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "stop {stop}: it neither ends nor asks");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        if is_seen && ended.is_none() {
            // So that what was asked has taken place.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_recovers(&place, &version).await;
        if let Some(status) = ended {
            assert!(status.success() && stop > 20, "it ended by itself at stop {stop}: {status}");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_request_leaves_what_can_be_run_again() {
    let bucket = moto_bucket().await;
    killed_at_every_request(moto(), &bucket, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_before_any_answer_leaves_what_can_be_run_again() {
    let place = Place::strict().await;
    let (_, bucket) = place.address();
    killed_at_every_request(&strict().url, bucket, true).await;
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_time_leaves_a_folder_that_can_be_run_again() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    // How long a child lives by itself says when to kill the others.
    let began = Instant::now();
    assert!(start(&place.url, "1.0.0", &BTreeMap::new()).wait().expect("it ends").success());
    let life = began.elapsed();
    for number in 1..=40_u32 {
        let version = format!("1.{number}.0");
        let mut child = start(&place.url, &version, &BTreeMap::new());
        tokio::time::sleep(life * number / 40).await;
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_recovers(&place, &version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_killed_process_was_still_writing_are_removed() {
    let place = Place::folder().await;
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    let half = |key: &str| std::fs::write(place.path().join(key), "half").expect("written");
    std::fs::create_dir_all(place.path().join("esp32s3/releases/v2.0.0")).expect("made");
    for key in ["esp32s3/releases/v2.0.0/firmware.bin#1", "esp32s3/production/version.txt#1"] {
        half(key);
        assert!(place.store.object(key).await.is_err(), "{key} is not served");
    }
    half("esp32s3/releases/v2.0.0/firmware.bin#2");
    assert_eq!(place.store.releases(&product()).await.expect("listed").len(), 1);
    assert_eq!(place.store.channels(&product()).await.expect("listed").len(), 1);
    place.publish("2.0.0", &s3_image("2.0.0", 1)).await.expect("published");
    place.promote("2.0.0").await.expect("promoted");
    let left: Vec<_> = files(&place.path()).into_iter().filter(|name| name.contains('#')).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What another process is writing at this moment is not taken for what a killed one left: whoever cleans up has the lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_living_process_is_still_writing_stays() {
    let place = Place::folder().await;
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    place.publish("1.1.0", &s3_image("1.1.0", 1)).await.expect("published");
    // The other process: it has the lock, and a file that is half written.
    let lock = std::fs::File::open(place.path().join(".updraft.lock")).expect("there");
    lock.lock().expect("nobody has it");
    let staged = place.path().join("esp32s3/production/firmware.bin#1");
    std::fs::write(&staged, "half").expect("written");
    let store = place.store.clone();
    let run = tokio::spawn(async move { store.promote(&product(), &v("1.1.0"), &production()).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!run.is_finished() && staged.exists(), "it waits for the lock");
    let whole = place.get("esp32s3/production/firmware.bin").await;
    assert_eq!(whole, Some(s3_image("1.0.0", 1)), "nobody sees half a file");
    // It is killed there.
    drop(lock);
    run.await.expect("no panic").expect("promoted");
    assert!(!staged.exists());
    assert_eq!(place.get("esp32s3/production/firmware.bin").await, Some(s3_image("1.1.0", 1)));
}
