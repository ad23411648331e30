use std::ops::Range;
use std::time::Duration;

use futures_util::TryStreamExt;
use md5::Md5;
use sha2::{Digest, Sha256};
use updraft_store::{Content, Object, Refused, StoreError};

use crate::place::{Place, moto_bucket, reqwest_client, s3_image};
use crate::servers::{Front, Rule, moto};

/// With a sign that is escaped in URLs.
const KEY: &str = "esp32s3/releases/v1.0.0+b/firmware.bin";

pub(crate) async fn only_images_are_signed_and_only_for_a_while(place: &Place) {
    let (store, image) = (&place.store, s3_image("1.0.0", 1));
    place.put(KEY, image.clone()).await;
    let minutes = Duration::from_mins(5);
    for key in ["esp32s3/rollback/blocked_versions.json", "../secret", "esp32s3/production/version.txt", ""] {
        assert!(matches!(store.sign(key, minutes).await, Err(StoreError::NotFound(_))), "{key}");
    }
    for seconds in [0, 59, 3601] {
        let result = store.sign(KEY, Duration::from_secs(seconds)).await;
        assert!(matches!(result, Err(StoreError::Invalid(_))), "{seconds} s");
    }
    let url = store.sign(KEY, minutes).await.expect("signed");
    if place.is_s3() {
        assert!(url.query().expect("signed").contains("X-Amz-Expires=300"), "{url}");
        let answer = reqwest_client().get(url).send().await.expect("it answers");
        assert!(answer.status().is_success(), "{}", answer.status());
        assert_eq!(answer.bytes().await.expect("bytes"), image);
        assert_eq!(store.verify_local(KEY, "1", "00", 0), Err(Refused::Tampered));
        return;
    }
    assert!(url.as_str().starts_with(&format!("http://127.0.0.1:8080/firmware/{KEY}?expires=")), "{url}");
    let parameter = |name: &str| {
        let found = url.query_pairs().find(|(key, _)| key == name);
        found.expect("a parameter").1.into_owned()
    };
    let (expires, signature) = (parameter("expires"), parameter("signature"));
    let end: i64 = expires.parse().expect("seconds");
    assert_eq!(store.verify_local(KEY, &expires, &signature, end - 1), Ok(None));
    assert_eq!(store.verify_local(KEY, &expires, &signature, end), Err(Refused::Expired));
    let later = (end + 1).to_string();
    assert_eq!(store.verify_local(KEY, &later, &signature, 0), Err(Refused::Tampered));
    let other = "esp32s3/production/firmware.bin";
    assert_eq!(store.verify_local(other, &expires, &signature, 0), Err(Refused::Tampered));
    // Opened again without the server's key, it honours nothing.
    let options = updraft_store::Options { signing_key: None, ..place.options.clone() };
    let keyless = updraft_store::Store::open(&place.url, options).await.expect("opens");
    assert_eq!(keyless.verify_local(KEY, &expires, &signature, 0), Err(Refused::Tampered));
    assert!(keyless.sign(KEY, minutes).await.is_err());
}

async fn read(object: &Object, range: Range<u64>) -> Vec<u8> {
    match object.read(range).await.expect("readable").expect("not replaced") {
        Content::Kept(bytes) => bytes.to_vec(),
        Content::Streamed(pieces) => pieces.try_collect::<Vec<_>>().await.expect("readable").concat(),
    }
}

pub(crate) async fn an_image_is_served_whole_and_in_part(place: &Place) {
    let (store, image) = (&place.store, s3_image("1.0.0", 1));
    place.put(KEY, image.clone()).await;
    let size = image.len() as u64;
    let mut etags = Vec::new();
    for range in [0..size, 0..10, 100..size, size - 1..size] {
        let object = store.object(KEY).await.expect("there");
        assert_eq!(object.size, size);
        let bounds = usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small");
        assert_eq!(read(&object, range).await, image[bounds]);
        let sums = object.sums.expect("read");
        assert_eq!((sums.sha256.0, sums.md5), (Sha256::digest(&image).into(), Md5::digest(&image).into()));
        etags.push(object.etag);
    }
    etags.dedup();
    assert_eq!(etags.len(), 1);
    assert!(etags[0].starts_with('"') && etags[0].ends_with('"') && etags[0].len() > 4, "{etags:?}");
    for key in
        ["esp32s3/production/firmware.bin", "esp32s3/releases/v1.0.0+b/version.txt", "../../etc/passwd"]
    {
        assert!(matches!(store.object(key).await, Err(StoreError::NotFound(_))), "{key}");
    }
}

/// Longer than an image can be: streamed from the storage, each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_object_is_streamed_and_its_replacement_noticed() {
    let place = Place::folder().await;
    place.put(KEY, s3_image("1.0.0", 1)).await;
    let file = place.path().join(KEY);
    std::fs::write(&file, vec![1; (16 << 20) + 1]).expect("written");
    let object = place.store.object(KEY).await.expect("there");
    assert!(matches!(object.read(0..5).await, Ok(Some(Content::Streamed(_)))));
    assert_eq!(read(&object, 16 << 20..object.size).await, [1]);
    std::fs::write(&file, [2; 10]).expect("written");
    assert!(object.read(0..5).await.expect("readable").is_none(), "its offsets are of another file");
    assert_eq!(read(&place.store.object(KEY).await.expect("there"), 0..5).await, [2; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_read_once_and_looked_at_for_each_request() {
    let front = Front::before(moto(), |_| Rule::Pass);
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    let image = s3_image("1.0.0", 1);
    place.put(KEY, image.clone()).await;
    front.asked();
    for asked in [["HEAD", "GET"].as_slice(), &["HEAD"], &["HEAD"]] {
        let object = place.store.object(KEY).await.expect("there");
        assert_eq!(read(&object, 10..20).await, image[10..20]);
        let methods = front.asked();
        let methods: Vec<_> = methods.iter().map(|line| line.split(' ').next().expect("a method")).collect();
        assert_eq!(methods, asked);
    }
}
