//! What another program put into the bucket: it is read whole, once, before it is offered to anybody, and what is no image for the
//! product is named.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::image::Chip;
use ::image::build::Build;
use api::CheckAnswer;
use contract::TopicKind;
use futures_util::future::join_all;
use serde_json::json;
use store::testing::{Fate, FaultyStore, Kind};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::rig::{BY, id, image_of, until};
use super::without_broker::{Handed, handed, handed_through};
use super::{message, rig};
use crate::mqtt::Handler;

/// One product without a release: production alone, as a script fills it.
struct Bucket {
    folder: TempDir,
    app: Handed,
    devices: AtomicUsize,
}

impl Bucket {
    async fn new() -> Self {
        let (folder, app) = handed("").await;
        Self { folder, app, devices: AtomicUsize::new(0) }
    }

    fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.path().join("store/p").join(key);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    fn remove(&self, key: &str) {
        std::fs::remove_file(self.folder.path().join("store/p").join(key)).expect("removed");
    }

    /// A good image in production, and nothing said of it.
    fn good(&self) {
        self.put("production/firmware.bin", image_of("p", "2.0.0", None));
        self.put("production/version.txt", "2.0.0\n");
        self.put("production/metadata.json", "{}");
    }

    /// What a device that has not asked yet and runs 1.0.0 is answered.
    async fn answer(&self) -> CheckAnswer {
        self.answer_to(r#"{"version":"1.0.0","product":"p"}"#).await
    }

    async fn answer_to(&self, report: &str) -> CheckAnswer {
        let name = format!("d{}", self.devices.fetch_add(1, Ordering::Relaxed));
        let report = message(&name, TopicKind::Version, report);
        self.app.messages.messages(&[report]).await.expect("taken");
        self.app.updates.check(&BY, &id(&name), true).await.expect("decides")
    }

    async fn refuses(&self, what: &str, words: &[&str]) {
        let answer = self.answer().await;
        assert_eq!(answer.decision, "store_unavailable", "{what}: {}", answer.reason);
        for word in words {
            assert!(answer.reason.contains(word), "{what} without {word:?}: {}", answer.reason);
        }
    }

    async fn offers(&self, what: &str) {
        let answer = self.answer().await;
        assert_eq!(answer.decision, "offered", "{what}: {}", answer.reason);
    }
}

/// A bootloader, a partition table and an application, as `esptool merge-bin` lays them out.
fn merged() -> Vec<u8> {
    let mut flash = Build { size_bytes: 16_384, ..Build::new(Chip::Esp32S3, "1.0.0") }.bytes();
    flash.resize(0x4_0000, 0xFF);
    flash[0x8000..0x8020]
        .copy_from_slice(b"\xAA\x50\x00\x10\0\0\x01\0\0\0\x10\0app0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let app = image_of("p", "2.0.0", None);
    flash[0x1_0000..0x1_0000 + app.len()].copy_from_slice(&app);
    flash
}

#[tokio::test]
async fn what_is_no_image_for_the_product_is_offered_to_nobody_and_named() {
    let good = image_of("p", "2.0.0", None);
    let mut corrupt = good.clone();
    corrupt[300] ^= 1;
    let other_chip = image_of("p", "2.0.0", Some("esp32c3"));
    let cases: [(&str, &[u8], &[&str]); 12] = [
        ("a page", b"\r\n<!DOCTYPE html><html>", &["p/production/firmware.bin", "2.0.0", "HTML page"]),
        ("nothing", b"", &["it is empty"]),
        ("half", &good[..good.len() / 2], &["cut short"]),
        ("all but a byte", &good[..good.len() - 1], &["cut short"]),
        ("gzip", b"\x1F\x8B\x08\0", &["gunzip"]),
        ("zip", b"PK\x03\x04", &["unzip"]),
        ("a pointer", b"version https://git-lfs.github.com/spec/v1\n", &["git lfs pull"]),
        (
            "an error of the store",
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
            &["AccessDenied"],
        ),
        ("merged", &merged(), &["merged flash image", "0x10000"]),
        ("corrupt", &corrupt, &["damaged"]),
        ("padded", &[&good[..], &[0xFF; 100]].concat(), &["100 bytes of 0xFF"]),
        ("another chip's", &other_chip, &["esp32c3", "esp32s3"]),
    ];
    let bucket = Bucket::new().await;
    bucket.put("product.json", r#"{"chip":"esp32s3"}"#);
    bucket.good();
    for (what, bytes, words) in &cases {
        bucket.put("production/firmware.bin", bytes);
        for again in [what.to_string(), format!("{what}, again")] {
            bucket.refuses(&again, words).await;
        }
        // Whether or not anything is said of it that is right.
        let said = json!({ "version": "2.0.0", "size": bytes.len(), "chip": "esp32s3", "requires": "0.1.0" });
        bucket.put("production/metadata.json", said.to_string());
        bucket.refuses(what, words).await;
        bucket.put("production/metadata.json", "{}");
    }
    bucket.good();
    bucket.offers("the image").await;
}

#[tokio::test]
async fn metadata_that_cannot_be_read_or_speaks_of_other_bytes_offers_nothing() {
    let bucket = Bucket::new().await;
    bucket.good();
    let good = image_of("p", "2.0.0", None);
    let size = |size: usize| json!({ "size": size }).to_string();
    let other = json!({ "sha256": "0".repeat(64) }).to_string();
    let cases: [(&str, &str, &[&str]); 12] = [
        ("another size", &size(good.len() + 1), &["p/production/metadata.json", "firmware.bin", "bytes"]),
        ("another digest", &other, &["is not the image that was published", "0000"]),
        ("another version", r#"{"version":"1.9.0","requires":"0.1.0"}"#, &["version 1.9.0", "version 2.0.0"]),
        ("a comment", "{ // what is needed\n\"requires\":\"1.5.0\"}", &["metadata.json", "cannot be read"]),
        ("half of it", r#"{"requires":"1.5.0""#, &["metadata.json", "cannot be read"]),
        ("a page", "<html>503</html>", &["metadata.json", "<html>503"]),
        ("nothing", "", &["metadata.json", "empty"]),
        (
            "a key twice",
            r#"{"requires":"1.5.0","requires":null}"#,
            &["metadata.json", "\"requires\" stands twice"],
        ),
        ("another type", r#"{"size":"1234"}"#, &["metadata.json", "size"]),
        ("a list", r#"[{"requires":"1.5.0"}]"#, &["metadata.json", "not a JSON object"]),
        ("another spelling", r#"{"Requires":"1.5.0"}"#, &["metadata.json", "\"requires\""]),
        ("no version", r#"{"requires":"1.x"}"#, &["requires", "1.x"]),
    ];
    for (what, text, words) in cases {
        bucket.put("production/metadata.json", text);
        bucket.refuses(what, words).await;
    }
    bucket.put("production/metadata.json", b"\xEF\xBB\xBF{\"requires\":\"1.5.0\"}\r\n");
    assert_eq!(bucket.answer().await.decision, "no_release", "a byte order mark hides no stepping stone");
    bucket.put("production/metadata.json", size(good.len()));
    bucket.offers("what is right").await;
    bucket.remove("production/metadata.json");
    bucket.offers("none").await;
}

#[tokio::test]
async fn a_file_of_the_product_that_cannot_be_read_offers_nothing_and_is_named() {
    let bucket = Bucket::new().await;
    bucket.good();
    for key in ["product.json", "rollback/blocked_versions.json", "_slots.json"] {
        let texts =
            ["", "<html>", "// none\n{}", "{\"a\":1,\"a\":1}", "{", "[]", "{\"blocked_versions\":[],}"];
        for text in texts {
            bucket.put(key, text);
            let answer = bucket.answer().await;
            let expected = if key.starts_with("rollback") { "blocked" } else { "store_unavailable" };
            assert_eq!(answer.decision, expected, "{key} {text:?}: {}", answer.reason);
            assert!(answer.reason.contains(&format!("p/{key}")), "{key} {text:?}: {}", answer.reason);
        }
        bucket.remove(key);
        bucket.offers(key).await;
    }
    for text in ["<html>404</html>\n<!-- -->", "", "1.0.0\n2.0.0\n", "{\"version\":\n\"2.0.0\"}"] {
        bucket.put("production/version.txt", text);
        bucket.refuses(text, &["p/production/version.txt"]).await;
    }
}

#[tokio::test]
async fn what_a_key_or_a_number_is_there_to_keep_out_is_not_offered() {
    let bucket = Bucket::new().await;
    bucket.good();
    bucket.put("product.json", json!({ "trusted_keys": ["ab".repeat(32)] }).to_string());
    bucket.refuses("unsigned", &["is not signed"]).await;
    bucket.put("product.json", json!({ "secure_version": 3 }).to_string());
    bucket.refuses("not secure", &["secure version"]).await;
    bucket.put("product.json", "{}");
    bucket.offers("of a product that asks for nothing").await;
}

#[tokio::test]
async fn a_device_whose_chip_has_another_revision_than_the_image_runs_on_is_not_offered_it() {
    let bucket = Bucket::new().await;
    bucket.good();
    let mut image = image_of("p", "2.0.0", None);
    // From v3.1 on, as `CONFIG_ESP32S3_REV_MIN` writes it; and its digest made good again.
    image[15..17].copy_from_slice(&301_u16.to_le_bytes());
    let end = image.len() - 32;
    let digest: [u8; 32] =
        sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), &image[..end])).into();
    image[end..].copy_from_slice(&digest);
    bucket.put("production/firmware.bin", image);
    for (revision, expected) in
        [("300", "wrong_chip"), ("301", "offered"), ("400", "offered"), ("\"v0\"", "offered")]
    {
        let report =
            format!(r#"{{"version":"1.0.0","product":"p","chip":"esp32s3","chip_revision":{revision}}}"#);
        let answer = bucket.answer_to(&report).await;
        assert_eq!(answer.decision, expected, "{revision}: {}", answer.reason);
    }
}

#[tokio::test]
async fn promoting_goes_through_the_same_gate() {
    let bucket = Bucket::new().await;
    for (version, image) in [("1.0.0", image_of("p", "1.0.0", None)), ("1.1.0", b"PK\x03\x04".to_vec())] {
        bucket.put(&format!("releases/v{version}/firmware.bin"), image);
        bucket.put(&format!("releases/v{version}/version.txt"), version);
    }
    let promote = async |version: &str| {
        let (product, channel) = ("p".parse().expect("a product"), contract::ChannelName::production());
        let version = version.parse().expect("a version");
        bucket.app.releases.promote(&BY, &product, &version, &channel).await
    };
    let said = promote("1.1.0").await.expect_err("no image").to_string();
    assert!(said.contains("unzip"), "{said}");
    promote("1.0.0").await.expect("promoted");
    bucket.put("releases/v1.1.0/firmware.bin", image_of("p", "1.1.0", None));
    bucket.put("releases/v1.1.0/metadata.json", "{\"requires\":\"1.0.0\"");
    let said = promote("1.1.0").await.expect_err("nobody knows what it requires").to_string();
    assert!(said.contains("p/releases/v1.1.0/metadata.json"), "{said}");
    bucket.put("releases/v1.1.0/metadata.json", "{}");
    promote("1.1.0").await.expect("promoted");
}

/// A store in which images are counted as they are read, and wait while there are no permits.
fn counted(reads: &Arc<AtomicUsize>, permits: &Arc<Semaphore>) -> (Arc<AtomicUsize>, Arc<Semaphore>) {
    (Arc::clone(reads), Arc::clone(permits))
}

#[tokio::test]
async fn an_image_is_read_once_for_all_who_check_and_for_the_next_server() {
    let (reads, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)));
    let (count, pass) = counted(&reads, &permits);
    let (folder, app) = handed_through("", move |objects| {
        FaultyStore::before(objects, move |operation| {
            let (count, pass) = (Arc::clone(&count), Arc::clone(&pass));
            async move {
                if operation.kind == Kind::Get && operation.key.ends_with("/firmware.bin") {
                    count.fetch_add(1, Ordering::Relaxed);
                    pass.acquire().await.expect("open").forget();
                }
                Fate::Done
            }
        })
    })
    .await;
    rig::put(&folder.path().join("store/p/production"), "2.0.0", "p", json!({}));
    let check = async |app: &Handed, name: String| {
        let report = message(&name, TopicKind::Version, r#"{"version":"1.0.0","product":"p"}"#);
        app.messages.messages(&[report]).await.expect("taken");
        app.updates.check(&BY, &id(&name), true).await.expect("decides")
    };
    check(&app, "first".to_owned()).await;
    let per_check = {
        reads.store(0, Ordering::Relaxed);
        check(&app, "second".to_owned()).await;
        reads.load(Ordering::Relaxed)
    };
    // The same bytes in another object: it is read, by one of all who ask, and its head by each.
    rig::put(&folder.path().join("store/p/production"), "2.0.0", "p", json!({}));
    reads.store(0, Ordering::Relaxed);
    let asked = join_all((0..10).map(|n| check(&app, format!("d{n}")))).await;
    assert!(asked.iter().all(|answer| answer.decision == "offered"), "{asked:?}");
    let whole = reads.load(Ordering::Relaxed) - 10 * per_check;
    assert!((1..=3).contains(&whole), "{whole} reads besides {per_check} for each check");
    // Kept in the database.
    let app = app.again(app.config.clone(), app.releases.store().clone()).await;
    reads.store(0, Ordering::Relaxed);
    assert_eq!(check(&app, "later".to_owned()).await.decision, "offered");
    assert_eq!(reads.load(Ordering::Relaxed), per_check);
}

#[tokio::test]
async fn an_image_that_is_still_being_read_is_not_offered_until_it_is_known() {
    let (reads, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (count, pass) = counted(&reads, &permits);
    let (folder, app) = handed_through("", move |objects| {
        FaultyStore::before(objects, move |operation| {
            let (count, pass) = (Arc::clone(&count), Arc::clone(&pass));
            async move {
                let is_image = operation.kind == Kind::Get && operation.key.ends_with("/firmware.bin");
                // Its head is read by the check, and by who reads it whole.
                if is_image && count.fetch_add(1, Ordering::Relaxed) == 2 {
                    pass.acquire().await.expect("open").forget();
                }
                Fate::Done
            }
        })
    })
    .await;
    rig::put(&folder.path().join("store/p/production"), "2.0.0", "p", json!({}));
    let report = message("d", TopicKind::Version, r#"{"version":"1.0.0","product":"p"}"#);
    app.messages.messages(&[report]).await.expect("taken");
    let check = || async { app.updates.check(&BY, &id("d"), true).await.expect("decides") };
    let answer = check().await;
    assert_eq!(answer.decision, "store_unavailable", "{}", answer.reason);
    assert!(answer.reason.contains("is being read"), "{}", answer.reason);
    permits.add_permits(1);
    until("it was read", || async { check().await.decision != "store_unavailable" }).await;
    assert_eq!(app.updates.check(&BY, &id("d"), true).await.expect("decides").decision, "in_progress");
}
