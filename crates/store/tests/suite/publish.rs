use bytes::Bytes;
use contract::Sha256;
use image::Chip;
use image::build::Build;
use sha2::Digest;
use updraft_store::{Attempt, Check, NOTES_MAX_BYTES, Publication, Release, StoreError};

use crate::place::{Place, assert_refused, image, moto_bucket, product, production, publish, s3_image, v};
use crate::servers::{Front, Rule, moto};

pub(crate) async fn a_published_image_is_read_back_with_all_that_is_known(place: &Place) {
    let image = s3_image("1.2.0", 1);
    let publication = Publication {
        version: Some(v("1.2.0")),
        notes: Some("First light".to_owned()),
        commit: Some("abc123".to_owned()),
        requires: Some(v("1.0.0")),
        built_at: Some("2026-11-02T10:00:00Z".parse().expect("a time")),
        ..Publication::new(product())
    };
    let published = place.store.publish(&publication, image.clone()).await.expect("published");
    assert!(!published.already_there);

    let digest = Sha256(sha2::Sha256::digest(&image).into());
    let release = place.release("1.2.0").await.expect("there");
    // Not every store names the content that it was given.
    assert_eq!(release, Release { content: release.content.clone(), ..published.release });
    assert_eq!((release.size, release.sha256), (image.len() as u64, Some(digest)));
    assert_eq!(release.chip.as_deref(), Some("esp32s3"));
    assert_eq!((release.notes.as_deref(), release.commit.as_deref()), (Some("First light"), Some("abc123")));
    assert_eq!(release.requires, Some(v("1.0.0")));

    assert_eq!(place.text("esp32s3/releases/v1.2.0/version.txt").await, "1.2.0\n");
    assert_eq!(place.get("esp32s3/releases/v1.2.0/firmware.bin").await.expect("there"), image);
    let text = place.text("esp32s3/releases/v1.2.0/metadata.json").await;
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(metadata["version"], "1.2.0");
    assert_eq!(metadata["product"], "esp32s3");
    assert_eq!(metadata["chip"], "esp32s3");
    assert_eq!(metadata["size"], image.len());
    assert_eq!(metadata["sha256"], digest.to_string());
    assert_eq!(metadata["project_name"], "updraft-demo");
    assert_eq!(metadata["idf_version"], "v5.5.1");
    assert_eq!(metadata["secure_version"], 0);
    assert_eq!(metadata["signed_by"], serde_json::json!([]));
    assert_eq!(metadata["built_at"], "2026-11-02T10:00:00Z");
    assert_eq!(metadata["requires"], "1.0.0");
    assert_eq!(metadata["elf_sha256"].as_str().expect("text").len(), 64);

    assert_eq!(place.store.products().await.expect("listed"), [product()]);
    assert!(place.store.product_exists(&product()).await.expect("listed"));
    assert!(!place.store.product_exists(&"other".parse().expect("a name")).await.expect("listed"));
    place.publish("1.10.0", &s3_image("1.10.0", 1)).await.expect("published");
    let releases = place.store.releases(&product()).await.expect("listed");
    assert_eq!(
        releases.iter().map(|release| release.version.as_str()).collect::<Vec<_>>(),
        ["1.10.0", "1.2.0"]
    );
}

pub(crate) async fn the_same_bytes_again_change_nothing(place: &Place) {
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published");
    let before = place.text("esp32s3/releases/v1.0.0/metadata.json").await;
    let again = place.publish("1.0.0", &image).await.expect("the same again");
    assert!(again.already_there);
    assert_eq!(place.text("esp32s3/releases/v1.0.0/metadata.json").await, before);
}

pub(crate) async fn other_bytes_under_a_published_version_are_refused(place: &Place) {
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published");
    assert_refused(place.publish("1.0.0", &s3_image("1.0.0", 2)).await, "already published with other bytes");
    assert_eq!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.expect("there"), image);
}

pub(crate) async fn build_metadata_makes_no_other_version(place: &Place) {
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0+a", &image).await.expect("published");
    assert_eq!(place.text("esp32s3/releases/v1.0.0/version.txt").await, "1.0.0+a\n");
    assert!(place.text("esp32s3/releases/v1.0.0/metadata.json").await.contains("\"1.0.0+a\""));
    assert_refused(place.publish("1.0.0+b", &s3_image("1.0.0", 2)).await, "");
    let again = place.publish("1.0.0", &image).await.expect("the same bytes");
    assert!(again.already_there);
    assert_eq!(again.release.version.as_str(), "1.0.0+a");
    let found = place.release("1.0.0").await.expect("there");
    assert_eq!(found.version.as_str(), "1.0.0+a");
    place.promote("1.0.0+c").await.expect("promoted");
    assert_eq!(place.text("esp32s3/production/version.txt").await, "1.0.0+a\n");
}

/// As Updraft laid them until the folder was named by precedence, and as other programs do.
pub(crate) async fn an_older_folder_with_build_metadata_in_its_name_is_the_release(place: &Place) {
    let (image, folder) = (s3_image("1.0.0", 1), "esp32s3/releases/v1.0.0+build5");
    place.put(&format!("{folder}/firmware.bin"), image.clone()).await;
    place.put(&format!("{folder}/metadata.json"), r#"{"version":"1.0.0+build5"}"#).await;
    place.put(&format!("{folder}/version.txt"), "1.0.0+build5\n").await;
    let store = &place.store;
    let listed = store.releases(&product()).await.expect("listed");
    assert_eq!(listed.iter().map(|it| it.version.as_str()).collect::<Vec<_>>(), ["1.0.0+build5"]);
    assert!(store.address(&listed[0]).ends_with("esp32s3/releases/v1.0.0+build5/firmware.bin"));
    // It excludes a publish of its precedence, by whatever name.
    for version in ["1.0.0", "1.0.0+build6"] {
        let other = place.publish(version, &s3_image("1.0.0", 2)).await.expect_err("other bytes");
        assert!(
            other.to_string().contains("version 1.0.0+build5 of esp32s3 is already published"),
            "{other}"
        );
        let again = place.publish(version, &image).await.expect("the same bytes");
        assert!(again.already_there && again.release.version.as_str() == "1.0.0+build5", "{again:?}");
    }
    assert!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.is_none(), "nothing is written");
    place.promote("1.0.0").await.expect("promoted");
    assert_eq!(place.text("esp32s3/production/version.txt").await, "1.0.0+build5\n");
    let artifact = store.artifact(&product(), &production(), &v("1.0.0")).await.expect("read");
    assert_eq!(artifact.expect("offered").key, format!("{folder}/firmware.bin"));
    // Compared with by the gate, like any other.
    let twin = place.publish("1.1.0", &image).await.expect_err("the same bytes under another version");
    assert!(twin.to_string().contains("published as 1.0.0+build5 already"), "{twin}");
}

/// Scripts made such buckets. Each is told by its whole name, and no other one is put into a channel in its place.
pub(crate) async fn of_two_older_folders_the_one_that_is_named_is_taken(place: &Place) {
    let images = [5, 6].map(|build| s3_image("1.0.0", build));
    for (build, image) in [(5, &images[0]), (6, &images[1])] {
        let folder = format!("esp32s3/releases/v1.0.0+build{build}");
        place.put(&format!("{folder}/firmware.bin"), image.clone()).await;
        place.put(&format!("{folder}/version.txt"), format!("1.0.0+build{build}\n")).await;
    }
    place.promote("1.0.0+build6").await.expect("promoted");
    assert!(place.get("esp32s3/production/firmware.bin").await.as_ref() == Some(&images[1]));
    let artifact = place.store.artifact(&product(), &production(), &v("1.0.0+build6")).await;
    assert_eq!(artifact.expect("read").expect("offered").key, "esp32s3/releases/v1.0.0+build6/firmware.bin");
    assert!(place.publish("1.0.0+build6", &images[1]).await.expect("the same bytes").already_there);
    place.promote("1.0.0").await.expect("promoted");
    assert_eq!(place.text("esp32s3/production/version.txt").await, "1.0.0+build5\n", "the first");
}

/// As long as they may be: it goes up in one request.
pub(crate) async fn a_long_image_is_published_and_promoted(place: &Place) {
    let long = |seed| -> Bytes {
        Build { seed, size_bytes: 15 * 1024 * 1024, ..Build::new(Chip::Esp32S3, "1.0.0") }.bytes().into()
    };
    // What was left over is replaced.
    place.put("esp32s3/releases/v1.0.0/firmware.bin", long(1)).await;
    place.publish("1.0.0", &long(2)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    for folder in ["releases/v1.0.0", "production"] {
        let image = place.get(&format!("esp32s3/{folder}/firmware.bin")).await.expect("there");
        assert!(image == long(2), "{folder}");
    }
    assert!(place.publish("1.0.0", &long(2)).await.expect("the same again").already_there);
    assert_refused(place.publish("1.0.0", &long(3)).await, "");
}

/// A job that was killed, or one that is at it: nobody can tell, so a bucket's image is left alone for ten minutes.
pub(crate) async fn another_publishers_young_image_is_left_alone_and_the_same_one_gone_on_with(
    place: &Place,
) {
    let store = place.again().await.with_unfinished_after(std::time::Duration::from_mins(10));
    let (first, rebuilt) = (s3_image("1.0.0", 1), s3_image("1.0.0", 2));
    let key = "esp32s3/releases/v1.0.0/firmware.bin";
    place.put(key, first.clone()).await;
    if place.is_s3() {
        let began = chrono::Utc::now();
        let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
        let Attempt::Refused(verdict) =
            store.attempt(&publication, rebuilt.clone()).await.expect("an answer")
        else {
            panic!("it may be about to be committed")
        };
        let finding = &verdict.findings[0];
        assert_eq!(finding.check, Check::VersionTaken);
        assert!(finding.cause.is(cause::gate::BEING_PUBLISHED), "{finding:?}");
        let until =
            chrono::NaiveTime::parse_from_str(&finding.cause.text("until"), "%H:%M:%S UTC").expect("a time");
        let wait = (until - began.time()).num_seconds().rem_euclid(24 * 3600);
        assert!((590..=610).contains(&wait), "{wait} s: {finding:?}");
        assert_eq!(place.get(key).await, Some(first.clone()));
        assert!(!publish(&store, "1.0.0", &first).await.expect("the same image goes on").already_there);
    } else {
        // In a folder whoever has the lock knows that nobody is at it.
        publish(&store, "1.0.0", &rebuilt).await.expect("published");
    }
    place.promote("1.0.0").await.expect("whole");
}

pub(crate) async fn what_a_killed_publish_left_is_replaced(place: &Place) {
    place.put("esp32s3/releases/v1.0.0/firmware.bin", vec![0xE9; 100]).await;
    place.put("esp32s3/releases/v1.0.0/metadata.json", "{\"half\":").await;
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published");
    assert_eq!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.expect("there"), image);
    let release = place.release("1.0.0").await.expect("there");
    assert_eq!(release.chip.as_deref(), Some("esp32s3"));
}

pub(crate) async fn a_release_without_version_txt_does_not_exist(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.put("esp32s3/releases/v2.0.0/firmware.bin", s3_image("2.0.0", 1)).await;
    assert!(place.release("2.0.0").await.is_none());
    assert_eq!(place.store.releases(&product()).await.expect("listed").len(), 1);
    assert!(matches!(place.promote("2.0.0").await, Err(StoreError::NotFound(_))));
}

pub(crate) async fn the_gate_says_no_in_a_sentence(place: &Place) {
    let good = s3_image("1.0.0", 1);
    let mut corrupt = good.to_vec();
    corrupt[2000] ^= 1;
    let cases: [(&[u8], &str); 4] = [
        (b"", "empty"),
        (b"PK\x03\x04 a zip file", "not an ESP32 application image"),
        (&good[..good.len() - 100], "cut short"),
        (&corrupt, "damaged"),
    ];
    for (bytes, sentence) in cases {
        let error = place.publish("1.0.0", &Bytes::copy_from_slice(bytes)).await.expect_err(sentence);
        assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3","slot_bytes":2048}"#).await;
    let error = place.publish("1.0.0", &good).await.expect_err("too large");
    assert!(error.to_string().contains("the smallest slot of esp32s3 has 2,048"), "{error}");
    place.put("esp32s3/product.json", r#"{"slot_bytes":"2048"}"#).await;
    let error = place.publish("1.0.0", &good).await.expect_err("unreadable limits");
    let text = error.to_string();
    assert!(
        text.contains("product.json in the ") && text.contains("cannot be read (slot_bytes is"),
        "{text}"
    );
    assert!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.is_none());
}

pub(crate) async fn the_first_image_fixes_the_chip(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let error = place.publish("1.1.0", &image(Chip::Esp32C3, "1.1.0", 1)).await.expect_err("another chip");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("esp32c3") && error.to_string().contains("esp32s3"), "{error}");
}

pub(crate) async fn a_version_comes_from_the_image_only_if_it_is_its_own(place: &Place) {
    let build = Build { size_bytes: 4096, ..Build::new(Chip::Esp32S3, "1.4.0") };
    let publication = Publication::new(product());
    let publish = async |build: &Build| place.store.publish(&publication, build.bytes().into()).await;
    assert_eq!(publish(&build).await.expect("published").release.version.as_str(), "1.4.0");
    let arduino = Build { project_name: "arduino-lib-builder".to_owned(), ..build.clone() };
    let unnumbered = Build { version: "main-dirty".to_owned(), ..build };
    for build in [arduino, unnumbered] {
        let error = publish(&build).await.expect_err("no version");
        assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
        assert!(error.to_string().ends_with("say which version it is"), "{error}");
    }
}

pub(crate) async fn notes_longer_than_16_kib_are_refused_before_anything_is_written(place: &Place) {
    let with = |notes: String| Publication {
        version: Some(v("1.0.0")),
        notes: Some(notes),
        ..Publication::new(product())
    };
    let image = s3_image("1.0.0", 1);
    let long = with("\u{e9}".repeat(NOTES_MAX_BYTES / 2) + "x");
    let error = place.store.publish(&long, image.clone()).await.expect_err("too long");
    assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    assert!(error.to_string().contains("longer than 16 KiB"), "{error}");
    assert!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.is_none());
    let most = with("\u{e9}".repeat(NOTES_MAX_BYTES / 2));
    let published = place.store.publish(&most, image).await.expect("as long as they may be");
    assert_eq!(published.release.notes, most.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_asks_the_bucket_so_often() {
    let front = Front::before(moto(), |_| Rule::Pass);
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    place.store.prepare_to_write().await.expect("it answers");
    front.asked();
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let asked = front.asked();
    assert_eq!(asked.len(), 18, "each costs a round trip, and some cost money: {asked:#?}");
}
