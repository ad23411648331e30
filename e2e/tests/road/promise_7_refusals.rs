//! Who one is not, one cannot speak for: devices on the embedded broker, and people on the API.
use std::collections::BTreeMap;

use api::{Device, NewDevice, UpdateState};
use e2e::command::{Said, updraft};
use e2e::device::VirtualDevice;
use e2e::mqtt::Endpoint;
use e2e::server::{Promote, Server, http_client, runs};
use e2e::{flash, images::Workshop};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

async fn two_devices() -> (Server, Endpoint, Endpoint) {
    let server = Server::start().await;
    let mine = server.register("mine", "esp32s3").await;
    let theirs = server.register("theirs", "esp32s3").await;
    (server, mine, theirs)
}

fn assert_turned_away(said: &Said) {
    assert!(said.code != Some(0) && said.err.to_lowercase().contains("refused"), "{said:?}");
}

#[tokio::test]
async fn a_device_with_other_credentials_than_its_own_is_turned_away() {
    let (server, mine, theirs) = two_devices().await;
    let wrong = |username: &str, password: &str| server.broker(username, password);
    for broker in [
        wrong("mine", &theirs.password),
        wrong("mine", "guess"),
        wrong("mine", ""),
        wrong("unknown", &mine.password),
        wrong("", ""),
    ] {
        assert_turned_away(&broker.publish("devices/mine/version", "9.9.9", &[]).await);
    }
    let mut anonymous = std::process::Command::new("mosquitto_pub");
    anonymous.args([
        "-h",
        "127.0.0.1",
        "-p",
        &mine.port.to_string(),
        "-t",
        "devices/mine/version",
        "-m",
        "9.9.9",
    ]);
    assert_turned_away(&Said::by(anonymous).await);
    assert_eq!(server.device("mine").await.version, None);
    mine.publish("devices/mine/version", "1.0.0", &[]).await.ok();
    server.device_when("mine", "its own are taken", |device| runs(device, "1.0.0")).await;
}

#[tokio::test]
async fn a_device_cannot_speak_on_anothers_topics() {
    let (server, mine, _theirs) = two_devices().await;
    for topic in
        ["devices/theirs/version", "devices/mine/ota", "devices/theirs/ota", "devices/theirs/presence"]
    {
        mine.publish(topic, "9.9.9", &[]).await;
        mine.publish(topic, "9.9.9", &["-V", "5", "-r"]).await;
    }
    // What it says for itself afterwards has arrived; what it said before for another has not.
    mine.publish("devices/mine/version", "1.0.0", &[]).await.ok();
    server.device_when("mine", "heard", |device| runs(device, "1.0.0")).await;
    let theirs = server.device("theirs").await;
    assert!(theirs.version.is_none() && theirs.last_seen.is_none(), "{theirs:?}");
}

#[tokio::test]
async fn a_device_cannot_listen_to_another() {
    let (server, mine, theirs) = two_devices().await;
    let workshop = Workshop::open();
    server.publish("esp32s3", "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let mut spies = Vec::new();
    for (name, filter) in [
        ("direct", "devices/theirs/ota"),
        ("single", "devices/+/ota"),
        ("all", "#"),
        ("shared", "$share/group/devices/theirs/ota"),
    ] {
        spies.push(mine.subscribe(name, filter, &["-i", name], server.folder()).await);
    }
    let listener = theirs.subscribe("rightful", "devices/theirs/ota", &[], server.folder()).await;
    theirs.publish("devices/theirs/version", "1.0.0", &[]).await.ok();
    server.device_runs("theirs", "1.0.0").await;
    server.offer("theirs", "1.1.0").await;
    listener.first("devices/theirs/ota").await;
    for spy in spies {
        assert!(spy.payloads("devices/theirs/ota").is_empty(), "{:?}", spy.lines());
    }
}

#[tokio::test]
async fn a_device_with_anothers_last_will_is_turned_away() {
    let (server, mine, _theirs) = two_devices().await;
    for topic in ["devices/theirs/presence", "devices/theirs/ota/status", "devices/mine/ota"] {
        let will = ["--will-topic", topic, "--will-payload", "offline", "--will-qos", "1"];
        let said = mine.publish("devices/mine/version", "9.9.9", &will).await;
        assert_ne!(said.code, Some(0), "{topic}: {said:?}");
    }
    assert_eq!(server.device("mine").await.version, None);
    let will = ["--will-topic", "devices/mine/presence", "--will-payload", "offline", "--will-retain"];
    mine.publish("devices/mine/version", "1.0.0", &will).await.ok();
    server.device_when("mine", "its own will is fine", |device| runs(device, "1.0.0")).await;
}

#[tokio::test]
async fn a_device_that_trusts_keys_runs_only_what_they_signed() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("release.pem").display().to_string();
    let public = folder.path().join("release.pub.pem").display().to_string();
    Said::by(updraft(["key", "new", &key, "--type", "p256"])).await.ok();
    let (old, plain, built) = (workshop.image("1.0.0"), workshop.image("1.1.0"), workshop.image("1.2.0"));
    let signed = folder.path().join("signed.bin");
    let words = ["image", "sign", built.to_str().unwrap(), "--key", &key, "-o", signed.to_str().unwrap()];
    Said::by(updraft(words)).await.ok();
    server.publish("esp32s3", "1.1.0", &plain, Promote::Production).await;
    server.publish("esp32s3", "1.2.0", &signed, Promote::No).await;
    let broker = server.register("vault", "esp32s3").await;
    let device = VirtualDevice::with("vault", "esp32s3", &broker, &old, "1.0.0", &["--trusted-key", &public]);
    server.device_runs("vault", "1.0.0").await;
    let before = device.flash();

    server.offer("vault", "1.1.0").await;
    let update = server.update_is("vault", UpdateState::Failed).await;
    assert_eq!(update.code.as_deref(), Some("unsigned"), "{update:?}");
    assert_eq!(
        flash::otadata(&device.flash()),
        flash::otadata(&before),
        "refused before anything was written"
    );

    Said::by(server.remote(["promote", "1.2.0", "-p", "esp32s3"])).await.ok();
    server.offer_soon("vault", "1.2.0").await;
    server.update_is("vault", UpdateState::Succeeded).await;
    server.device_runs("vault", "1.2.0").await;
    assert_eq!(server.device("vault").await.lacks, [""; 0]);
}

/// Its paths, and what can be done on each.
#[derive(Debug, Deserialize)]
#[expect(clippy::zero_sized_map_values, reason = "as the document has it")]
struct Document {
    paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

#[tokio::test]
async fn every_path_of_the_api_asks_for_credentials() {
    let server = Server::start().await;
    server.register("mine", "esp32s3").await;
    let http = http_client();
    let document: Document = server.get("/api/openapi.json").await;
    assert!(document.paths.len() > 8, "{document:?}");
    for (path, operations) in &document.paths {
        if path.starts_with("/healthz") || path.starts_with("/readyz") || path.starts_with("/api/v1/login") {
            continue;
        }
        assert!(
            path.starts_with("/api/v1/"),
            "{path}: the document lists absolute paths under /api/v1 and health"
        );
        for method in operations.keys().filter(|key| key.len() <= 6) {
            let method: Method = method.to_uppercase().parse().unwrap();
            let concrete = path.replace("{id}", "mine").replace(['{', '}'], "");
            for token in [None, Some("guess")] {
                let mut request = http.request(method.clone(), server.url(&concrete));
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let status = request.json(&BTreeMap::<&str, &str>::new()).send().await.unwrap().status();
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} with {token:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_may_only_read_changes_nothing() {
    let server = Server::start().await;
    let viewer = server.new_token("screen", "viewer").await;
    let http = http_client();
    let url = server.url("/api/v1/devices");
    let answer = http.get(&url).bearer_auth(&viewer).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = NewDevice { id: "mine".parse().unwrap(), product: "esp32s3".parse().ok() };
    let answer = http.post(&url).bearer_auth(&viewer).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let devices: Vec<Device> = server.list("/api/v1/devices").await;
    assert!(devices.is_empty(), "{devices:?}");
}
