//! A server on a bucket: what it asks, and what happens while the bucket does not answer.
use std::time::Duration;

use e2e::bucket::Bucket;
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::proxy::{Failure, Proxy};
use e2e::server::{Server, Setup};
use e2e::wait::until_within;
use reqwest::Method;

const PRODUCT: &str = "esp32s3";

/// A server on that bucket, with a device that runs 1.0.0, and 1.0.0 in production.
async fn running(bucket: &Bucket, store: String, refresh_s: u32) -> (Server, VirtualDevice, Workshop) {
    let workshop = Workshop::open();
    let old = workshop.image("1.0.0");
    bucket.deploy(PRODUCT, "1.0.0", &old).await;
    // Other products are none of a request's business.
    bucket.deploy("another", "1.0.0", &old).await;
    let mut env = bucket.env();
    env.push(("UPDRAFT_STORE__REFRESH_S".to_owned(), refresh_s.to_string()));
    let setup = Setup { store: Some(store), env, ..Setup::default() };
    let server = Server::with(setup).await;
    let broker = server.register("lamp", PRODUCT).await;
    let device = VirtualDevice::start("lamp", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("lamp", "1.0.0").await;
    (server, device, workshop)
}

#[tokio::test]
async fn a_request_asks_for_little_and_lists_no_bucket() {
    let bucket = Bucket::start().await;
    let (server, _device, workshop) = running(&bucket, bucket.url(), 3600).await;
    assert_eq!(server.check("lamp").await["decision"], "up_to_date");
    let asked = async |path: &str| {
        let before = bucket.requests().len();
        server.get(path).await;
        // Health asks one key that does not exist, at most every five seconds.
        let mut asked = bucket.requests().split_off(before);
        asked.retain(|line| !line.contains("updraft-check"));
        asked
    };

    let before = bucket.requests().len();
    assert_eq!(server.check("lamp").await["decision"], "up_to_date");
    let mut check = bucket.requests().split_off(before);
    check.retain(|line| !line.contains("updraft-check"));
    // The three files of the release and of the channel, version.txt once more, and the blocked list.
    assert!(check.len() <= 8, "a check update asks little: {check:#?}");
    assert!(!check.iter().any(|line| line.contains("list-type")), "it lists nothing: {check:#?}");
    let again = check.iter().find(|line| line.contains("/production/version.txt"));
    assert!(again.is_some_and(|line| line.ends_with(" 304")), "asked again by ETag: {check:#?}");
    assert!(check.iter().any(|line| line.contains("blocked_versions.json")), "{check:#?}");

    for path in ["/api/v1/products/esp32s3/releases", "/api/v1/products/esp32s3/channels", "/api/v1/devices"]
    {
        assert_eq!(asked(path).await, [""; 0], "what is only shown is kept");
    }

    // Shown is what was read at the start, until the server is told; then it is shown at once.
    bucket.deploy(PRODUCT, "1.1.0", &workshop.image("1.1.0")).await;
    let shown = async || server.get("/api/v1/products/esp32s3/releases").await["items"][0]["version"].clone();
    assert_eq!(shown().await, "1.0.0");
    let before = bucket.requests().len();
    let (status, answer) = server.ask(Method::POST, "/api/v1/products/esp32s3/refresh", None).await;
    assert!(status.is_success(), "{status}: {answer}");
    assert_eq!(shown().await, "1.1.0");
    let refreshed = bucket.requests().split_off(before);
    let lists = refreshed.iter().filter(|line| line.contains("list-type"));
    for line in lists {
        assert!(line.contains("prefix=esp32s3"), "it lists what is the product's: {line}");
    }
    // And the decision saw it anyway.
    server.offer("lamp", "1.1.0").await;
}

#[tokio::test]
async fn while_the_bucket_does_not_answer_nothing_is_offered_and_then_all_is_well() {
    let bucket = Bucket::start().await;
    let network = Proxy::start(bucket.port(), u64::MAX, Failure::Silence).await;
    let store = bucket.url_through(network.port());
    let (server, _device, workshop) = running(&bucket, store, 1).await;
    bucket.deploy(PRODUCT, "1.1.0", &workshop.image("1.1.0")).await;

    network.fail_after(0);
    let answer = server.check("lamp").await;
    assert_eq!(answer["decision"], "store_unavailable", "{answer}");
    let said = async || {
        let ready = e2e::server::http_client().get(server.url("/readyz")).send().await.unwrap();
        (ready.status().as_u16(), ready.text().await.unwrap())
    };
    until_within(Duration::from_secs(30), "the outage is noticed", || async {
        (said().await.0 == 503).then_some(())
    })
    .await;
    let (_, text) = said().await;
    assert!(text.contains("The store does not answer since 20"), "{text}");

    network.heal();
    until_within(Duration::from_secs(90), "it recovers by itself", || async {
        (said().await.0 == 200).then_some(())
    })
    .await;
    server.offer("lamp", "1.1.0").await;
    server.update_is("lamp", "succeeded").await;
}
