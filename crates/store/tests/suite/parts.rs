//! Images that go up in parts.

use std::sync::Mutex;

use bytes::Bytes;
use image::Chip;
use image::build::Build;
use updraft_store::{Publication, StoreError};

use crate::place::{Place, moto_bucket, product, v};
use crate::races::publish_at_once;
use crate::servers::{Front, Rule, moto, s3_error};

fn long_image(version: &str, seed: u64) -> Bytes {
    Build { seed, size_bytes: 12 * 1024 * 1024, ..Build::new(Chip::Esp32S3, version) }.bytes().into()
}

pub(crate) async fn a_long_image_is_published_and_promoted(place: &Place) {
    let image = long_image("1.0.0", 1);
    let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
    let reported = Mutex::new(Vec::new());
    let report = |bytes| reported.lock().expect("unpoisoned").push(bytes);
    place.store.publish(&publication, image.clone(), &report).await.expect("published");
    let reported = reported.into_inner().expect("unpoisoned");
    assert!(reported.is_sorted() && reported.last() == Some(&(image.len() as u64)), "{reported:?}");
    assert!(!place.is_s3() || reported.len() > 2, "once for each part: {reported:?}");
    place.promote("1.0.0").await.expect("promoted");
    for folder in ["releases/v1.0.0", "production"] {
        assert!(
            place.get(&format!("esp32s3/{folder}/firmware.bin")).await.expect("there") == image,
            "{folder}"
        );
    }
    let again = place.publish("1.0.0", &image).await.expect("the same again");
    assert!(again.already_there);
    let other = place.publish("1.0.0", &long_image("1.0.0", 2)).await.expect_err("other bytes");
    assert!(matches!(other, StoreError::Refused(_)), "{other:?}");
    // What was left over is replaced, by a condition on the last request.
    place.put("esp32s3/releases/v1.1.0/firmware.bin", long_image("1.1.0", 3)).await;
    let image = long_image("1.1.0", 4);
    place.publish("1.1.0", &image).await.expect("published");
    assert!(place.get("esp32s3/releases/v1.1.0/firmware.bin").await.expect("there") == image);
}

pub(crate) async fn of_two_publishers_of_long_images_one_wins(place: &Place) {
    for round in 0..3 {
        let version = format!("1.{round}.0");
        publish_at_once(place, &version, [long_image(&version, 1), long_image(&version, 2)]).await;
    }
}

/// A front that answers the n-th and later requests of a kind with an error.
async fn failing(
    is_wanted: impl Fn(&axum::http::request::Parts) -> bool + Send + Sync + 'static,
    fails: impl Fn(u32) -> bool + Send + Sync + 'static,
) -> (Front, Place) {
    let count = std::sync::atomic::AtomicU32::new(0);
    let front = Front::before(moto(), move |parts| {
        if is_wanted(parts) && fails(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            return Rule::Answer(s3_error(503, "SlowDown", ""));
        }
        Rule::Pass
    });
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    (front, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_an_upload_is_tried_again() {
    let (front, place) = failing(|parts| parts.method != "GET", |count| count % 2 == 0).await;
    let image = long_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published all the same");
    assert!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.expect("there") == image);
    let asked = front.asked();
    assert!(asked.iter().filter(|line| line.starts_with("POST") && line.contains("uploadId")).count() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_is_aborted() {
    let is_part = |parts: &axum::http::request::Parts| {
        parts.uri.query().is_some_and(|query| query.contains("partNumber=2"))
    };
    let (front, place) = failing(is_part, |_| true).await;
    let error = place.publish("1.0.0", &long_image("1.0.0", 1)).await.expect_err("a part fails");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let asked = front.asked();
    let aborted = asked.iter().filter(|line| line.starts_with("DELETE") && line.contains("uploadId"));
    assert_eq!(aborted.count(), 1, "{asked:#?}");
    assert!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.is_none());
    let (endpoint, bucket) = place.address();
    let uploads = crate::place::reqwest_client().get(format!("{endpoint}/{bucket}?uploads")).send().await;
    let uploads = uploads.expect("it answers").text().await.expect("text");
    assert!(uploads.contains("ListMultipartUploadsResult") && !uploads.contains("<UploadId>"), "{uploads}");
}
