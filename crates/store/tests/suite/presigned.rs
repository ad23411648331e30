//! URLs that S3 itself checks: with s3s-fs, as moto serves whatever it is asked for.

use std::time::{Duration, Instant};

use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use reqwest::StatusCode;
use url::Url;

use crate::place::{Place, reqwest_client, s3_image};
use crate::servers::{KEY_ID, SECRET};

const KEY: &str = "esp32s3/releases/v1.0.0/firmware.bin";
const OTHER: &str = "esp32s3/releases/v2.0.0/firmware.bin";

async fn status(url: Url) -> StatusCode {
    reqwest_client().get(url).send().await.expect("it answers").status()
}

fn with(url: &Url, name: &str, change: impl Fn(&str) -> String) -> Url {
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    assert!(pairs.iter().any(|(key, _)| key == name), "no {name} in {url}");
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(
        pairs.iter().map(|(key, value)| (key, if key == name { change(value) } else { value.clone() })),
    );
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_was_changed_is_refused() {
    let place = Place::strict().await;
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published");
    place.publish("2.0.0", &s3_image("2.0.0", 1)).await.expect("published");
    let url = place.store.sign(KEY, Duration::from_mins(1)).await.expect("signed");
    let bytes = reqwest_client().get(url.clone()).send().await.expect("it answers").bytes().await;
    assert_eq!(bytes.expect("bytes"), image);

    let mut other_key = url.clone();
    other_key.set_path(&url.path().replace(KEY, OTHER));
    let flip = |text: &str| {
        let last = if text.ends_with('0') { '1' } else { '0' };
        format!("{}{last}", &text[..text.len() - 1])
    };
    let mut unsigned = url.clone();
    unsigned.set_query(None);
    for (what, url) in [
        ("another key", other_key),
        ("another signature", with(&url, "X-Amz-Signature", flip)),
        ("a longer life", with(&url, "X-Amz-Expires", |_| "3600".to_owned())),
        ("another day", with(&url, "X-Amz-Date", |date| date.replacen("20", "21", 1))),
        ("other credentials", with(&url, "X-Amz-Credential", |text| text.replacen(KEY_ID, "other", 1))),
        ("no signature", unsigned),
    ] {
        assert_eq!(status(url).await, StatusCode::FORBIDDEN, "{what}");
    }
    let head = reqwest_client().head(url.clone()).send().await.expect("it answers").status();
    assert_eq!(head, StatusCode::FORBIDDEN, "a URL for GET is none for HEAD");
    assert_eq!(status(url).await, StatusCode::OK, "the one that was signed still works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_ends_when_its_time_is_over() {
    let place = Place::strict().await;
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let (endpoint, bucket) = place.address();
    // The signer behind `Store::sign`, which itself signs for no less than a minute.
    let signer = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_endpoint(endpoint)
        .with_region("us-east-1")
        .with_allow_http(true)
        .with_access_key_id(KEY_ID)
        .with_secret_access_key(SECRET)
        .build()
        .expect("a client");
    let url = signer.signed_url(Method::GET, &Path::from(KEY), Duration::from_secs(2)).await.expect("signed");
    let ours = place.store.sign(KEY, Duration::from_mins(1)).await.expect("signed");
    assert_eq!(ours.path(), url.path());
    assert_eq!(status(url.clone()).await, StatusCode::OK);
    let began = Instant::now();
    while status(url.clone()).await == StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(20), "it never ends");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(status(url).await, StatusCode::FORBIDDEN);
    assert_eq!(status(ours).await, StatusCode::OK, "one that lives a minute still works");
}
