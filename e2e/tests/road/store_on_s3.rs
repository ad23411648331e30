//! A server on a bucket: what it asks, and what happens while the bucket does not answer.
use std::time::Duration;

use api::{Blocking, Release, UpdateState};
use axum::Router;
use axum::extract::Request;
use axum::http::{Method as Verb, header};
use e2e::bucket::Bucket;
use e2e::device::VirtualDevice;
use e2e::front::forward;
use e2e::images::Workshop;
use e2e::proxy::{Failure, Proxy};
use e2e::server::{Server, Setup};
use e2e::wait::{until, until_within};
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
    let blocked = "/api/v1/products/esp32s3/blocked/0.9.0";
    let blocking = Blocking { reason: "it loops".to_owned(), security: false };
    let answer = server.request(Method::PUT, blocked).json(&blocking).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    assert_eq!(server.check("lamp").await.decision, "up_to_date");
    let asked = async |path: &str| {
        let before = bucket.requests().len();
        let status = server.request(Method::GET, path).send().await.unwrap().status();
        assert!(status.is_success() || status.is_redirection(), "{path}: {status}");
        // Health asks one key that does not exist, at most every five seconds; and the smallest slot is recorded once.
        let mut asked = bucket.requests().split_off(before);
        asked.retain(|line| !line.contains("updraft-check") && !line.contains("/_slots.json"));
        asked
    };

    let before = bucket.requests().len();
    assert_eq!(server.check("lamp").await.decision, "up_to_date");
    let mut check = bucket.requests().split_off(before);
    check.retain(|line| !line.contains("updraft-check") && !line.contains("/_slots.json"));
    // The three files of the release and of the channel, version.txt once more, the blocked list and the product's settings.
    assert!(check.len() <= 9, "a check update asks little: {check:#?}");
    assert!(!check.iter().any(|line| line.contains("list-type")), "it lists nothing: {check:#?}");
    for key in ["/production/version.txt", "/rollback/blocked_versions.json"] {
        let again = check.iter().find(|line| line.contains(key));
        assert!(again.is_some_and(|line| line.ends_with(" 304")), "{key} by ETag: {check:#?}");
    }

    for path in [
        "/api/v1/products/esp32s3/releases",
        "/api/v1/products/esp32s3/channels",
        "/api/v1/devices",
        "/",
        "/devices/lamp",
        "/releases",
        "/releases/esp32s3",
    ] {
        assert_eq!(asked(path).await, [""; 0], "what is only shown is kept");
    }

    // Shown is what was read at the start, until the server is told; then it is shown at once.
    bucket.deploy(PRODUCT, "1.1.0", &workshop.image("1.1.0")).await;
    let shown = async || {
        let releases: Vec<Release> = server.list("/api/v1/products/esp32s3/releases").await;
        releases[0].version.to_string()
    };
    assert_eq!(shown().await, "1.0.0");
    let before = bucket.requests().len();
    let answer = server.request(Method::POST, "/api/v1/products/esp32s3/refresh").send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
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
    assert_eq!(answer.decision, "store_unavailable", "{answer:?}");
    let said = async || {
        let ready = e2e::server::http_client().get(server.url("/readyz")).send().await.unwrap();
        (ready.status().as_u16(), ready.text().await.unwrap())
    };
    until_within(Duration::from_secs(30), "the outage is noticed", || async {
        (said().await.0 == 503).then_some(())
    })
    .await;
    let (_, text) = said().await;
    assert!(text.contains("The store has not answered since 20"), "{text}");
    let page = e2e::server::http_client().get(server.url("/")).bearer_auth(server.token());
    let page = page.send().await.unwrap().text().await.unwrap();
    for words in ["Not working", "The store has not answered since 20", " UTC: "] {
        assert!(page.contains(words), "{words}: {page}");
    }

    network.heal();
    until_within(Duration::from_secs(90), "it recovers by itself", || async {
        (said().await.0 == 200).then_some(())
    })
    .await;
    server.offer("lamp", "1.1.0").await;
    server.update_is("lamp", UpdateState::Succeeded).await;
}

/// A role's session token makes presigned URLs long; devices with small buffers get the server's own short ones.
#[tokio::test]
async fn a_url_that_is_too_long_for_devices_is_the_servers_own() {
    let bucket = Bucket::start().await;
    let workshop = Workshop::open();
    let (old, new) = (workshop.image("1.0.0"), workshop.image("1.1.0"));
    bucket.deploy(PRODUCT, "1.0.0", &old).await;
    bucket.deploy(PRODUCT, "1.1.0", &new).await;
    for (token_bytes, is_short) in [(100, false), (900, true)] {
        let mut env = bucket.env();
        env.push(("AWS_SESSION_TOKEN".to_owned(), "A".repeat(token_bytes)));
        let server = Server::with(Setup { store: Some(bucket.url()), env, ..Setup::default() }).await;
        let broker = server.register("lamp", PRODUCT).await;
        let listening = broker.subscribe("lamp", "devices/lamp/ota", &[], server.folder()).await;
        broker.publish("devices/lamp/version", "1.0.0", &[]).await.ok();
        server.device_runs("lamp", "1.0.0").await;
        server.offer_soon("lamp", "1.1.0").await;
        let url = listening.first("devices/lamp/ota").await;
        assert_eq!(url.starts_with(&server.url("/d/")), is_short, "{url}");
        assert_eq!(url.len() < 128, is_short, "{url}");
        let http = e2e::server::http_client();
        let whole = http.get(&url).send().await.unwrap();
        assert!(whole.status().is_success() && whole.headers().contains_key(header::ETAG), "{whole:?}");
        let bytes = std::fs::read(&new).unwrap();
        assert_eq!(whole.bytes().await.unwrap(), bytes);
        let end = http.get(&url).header(header::RANGE, "bytes=-16").send().await.unwrap();
        assert_eq!(end.status(), 206);
        assert_eq!(end.bytes().await.unwrap(), bytes[bytes.len() - 16..]);
    }
}

/// A store that writes whatever is there already: whoever runs a server on it is told when it starts.
#[tokio::test]
async fn a_server_says_at_its_start_that_its_store_keeps_no_conditions() {
    let bucket = Bucket::start().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (front, target, http) = (listener.local_addr().unwrap().port(), bucket.port(), bucket.http().clone());
    let pass = async move |mut request: Request| {
        if *request.method() == Verb::PUT {
            request.headers_mut().remove(header::IF_MATCH);
            request.headers_mut().remove(header::IF_NONE_MATCH);
        }
        forward(&http, target, request).await
    };
    let router = Router::new().fallback(pass);
    let front_task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    for (port, is_told) in [(front, true), (bucket.port(), false)] {
        let store = Some(bucket.url_through(port));
        let server = Server::with(Setup { store, env: bucket.env(), ..Setup::default() }).await;
        if is_told {
            until("it is told", || async {
                server.log().contains("does not keep conditional writes").then_some(())
            })
            .await;
            continue;
        }
        // It has found out when the probe that was there is not written again.
        until("it has been found out", || async {
            bucket.requests().iter().any(|line| line.ends_with("updraft-probe 412")).then_some(())
        })
        .await;
        assert!(!server.log().contains("conditional writes"), "{}", server.log());
    }
    front_task.abort();
}
