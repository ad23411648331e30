use bytes::Bytes;
use contract::Sha256;
use image::Chip;
use image::build::Build;
use sha2::Digest;
use updraft_store::{NOTES_MAX_BYTES, Publication, StoreError};

use crate::place::{Place, image, product, s3_image, v};

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
    let progress = std::sync::atomic::AtomicU64::new(0);
    let tell = |bytes| progress.store(bytes, std::sync::atomic::Ordering::Relaxed);
    let published = place.store.publish(&publication, image.clone(), &tell).await.expect("published");
    assert!(!published.already_there);
    assert_eq!(progress.into_inner(), image.len() as u64);

    let digest = Sha256(sha2::Sha256::digest(&image).into());
    let release = place.again().await.release(&product(), &v("1.2.0")).await.expect("read").expect("there");
    assert_eq!(release, published.release);
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
    let error = place.publish("1.0.0", &s3_image("1.0.0", 2)).await.expect_err("other bytes");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("already published with other bytes"), "{error}");
    assert_eq!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.expect("there"), image);
}

pub(crate) async fn build_metadata_makes_no_other_version(place: &Place) {
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0+a", &image).await.expect("published");
    assert_eq!(place.text("esp32s3/releases/v1.0.0+a/version.txt").await, "1.0.0+a\n");
    let error = place.publish("1.0.0+b", &s3_image("1.0.0", 2)).await.expect_err("equal precedence");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let again = place.publish("1.0.0", &image).await.expect("the same bytes");
    assert!(again.already_there);
    assert_eq!(again.release.version.as_str(), "1.0.0+a");
    let found = place.store.release(&product(), &v("1.0.0")).await.expect("read").expect("there");
    assert_eq!(found.version.as_str(), "1.0.0+a");
    place.promote("1.0.0+c").await.expect("promoted");
    assert_eq!(place.text("esp32s3/production/version.txt").await, "1.0.0+a\n");
}

pub(crate) async fn what_a_killed_publish_left_is_replaced(place: &Place) {
    place.put("esp32s3/releases/v1.0.0/firmware.bin", vec![0xE9; 100]).await;
    place.put("esp32s3/releases/v1.0.0/metadata.json", "{\"half\":").await;
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published");
    assert_eq!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.expect("there"), image);
    let release = place.store.release(&product(), &v("1.0.0")).await.expect("read").expect("there");
    assert_eq!(release.chip.as_deref(), Some("esp32s3"));
}

pub(crate) async fn a_release_without_version_txt_does_not_exist(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.put("esp32s3/releases/v2.0.0/firmware.bin", s3_image("2.0.0", 1)).await;
    assert!(place.store.release(&product(), &v("2.0.0")).await.expect("read").is_none());
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
    assert_eq!(place.store.product_file(&product()).await.expect("read").chip, None);
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let error = place.publish("1.1.0", &image(Chip::Esp32C3, "1.1.0", 1)).await.expect_err("another chip");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("esp32c3") && error.to_string().contains("esp32s3"), "{error}");
    assert_eq!(place.store.product_file(&product()).await.expect("read").chip.as_deref(), Some("esp32s3"));
}

pub(crate) async fn a_version_comes_from_the_image_only_if_it_is_its_own(place: &Place) {
    let build = Build { size_bytes: 4096, ..Build::new(Chip::Esp32S3, "1.4.0") };
    let publication = Publication::new(product());
    let publish =
        async |build: &Build| place.store.publish(&publication, build.bytes().into(), &|_| ()).await;
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
    let error = place.store.publish(&long, image.clone(), &|_| ()).await.expect_err("too long");
    assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    assert!(error.to_string().contains("longer than 16 KiB"), "{error}");
    assert!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.is_none());
    let most = with("\u{e9}".repeat(NOTES_MAX_BYTES / 2));
    let published = place.store.publish(&most, image, &|_| ()).await.expect("as long as they may be");
    assert_eq!(published.release.notes, most.notes);
}
