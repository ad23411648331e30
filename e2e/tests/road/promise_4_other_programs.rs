//! The bucket belongs to everybody: what another program writes there is seen, and what it breaks blocks.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use api::UpdateState;
use e2e::bucket::Bucket;
use e2e::command::Said;
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::server::{Promote, Server, Setup, http_client};
use e2e::wait::until_within;
use reqwest::StatusCode;

const PRODUCT: &str = "esp32s3";

/// What a person with a file manager does: the image first, then its version.
fn put_into_production(store: &Path, version: &str, image: &Path) {
    let folder = store.join(PRODUCT).join("production");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(image, folder.join("firmware.bin")).unwrap();
    std::fs::write(folder.join("version.txt"), format!(" v{version}\r\n")).unwrap();
}

#[tokio::test]
async fn a_version_put_into_the_folder_by_hand_is_offered_and_taken() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let (old, new) = (workshop.image("1.0.0"), workshop.image("1.1.0"));
    let store = server.folder().join("store");
    put_into_production(&store, "1.0.0", &old);
    let broker = server.register("lamp", PRODUCT).await;
    let _device = VirtualDevice::start("lamp", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("lamp", "1.0.0").await;
    assert_eq!(server.check("lamp").await.decision, "up_to_date");

    put_into_production(&store, "1.1.0", &new);
    server.offer("lamp", "1.1.0").await;
    server.update_is("lamp", UpdateState::Succeeded).await;
    server.device_runs("lamp", "1.1.0").await;
}

#[tokio::test]
async fn a_version_put_into_the_bucket_by_a_script_is_offered_and_taken() {
    let workshop = Workshop::open();
    let bucket = Bucket::start().await;
    let (old, new) = (workshop.image("1.0.0"), workshop.image("1.1.0"));
    bucket.replace_production(PRODUCT, "1.0.0", &old).await;
    let setup = Setup { store: Some(bucket.url()), env: bucket.env(), ..Setup::default() };
    let server = Server::with(setup).await;
    let broker = server.register("lamp", PRODUCT).await;
    let _device = VirtualDevice::start("lamp", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("lamp", "1.0.0").await;
    assert_eq!(server.check("lamp").await.decision, "up_to_date");

    bucket.replace_production(PRODUCT, "1.1.0", &new).await;
    server.offer("lamp", "1.1.0").await;
    server.update_is("lamp", UpdateState::Succeeded).await;
    server.device_runs("lamp", "1.1.0").await;
}

#[tokio::test]
async fn a_program_with_a_token_listens_as_the_page_says() {
    let server = Server::start().await;
    let token = server.new_token("wall", "viewer").await;
    let broker = server.register("lamp", PRODUCT).await;
    broker.publish("devices/lamp/version", "1.0.0", &["-r"]).await.ok();
    let page = std::fs::read_to_string(e2e::workspace().join("docs/operate.md")).unwrap();
    let command =
        page.lines().find(|line| line.starts_with("mosquitto_sub ") && line.contains("_token")).unwrap();
    let command = format!("{} -C 1 -W 30", command.replace("1883", &broker.port.to_string()));
    let mut shell = Command::new("bash");
    shell.args(["-c", &command]).env("TOKEN", &token);
    assert_eq!(Said::by(shell).await.ok().out, "devices/lamp/version 1.0.0\n");
    Said::by(server.local(["token", "revoke", "wall"])).await.ok();
    let refused = server.broker("_token", &token).publish("devices/lamp/version", "1.0.0", &[]).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

/// A device that only listens: the URL it was sent.
async fn url_of_a_trigger(server: &Server, workshop: &Workshop) -> (String, PathBuf) {
    let image = workshop.image("1.1.0");
    server.publish(PRODUCT, "1.1.0", &image, Promote::Production).await;
    let broker = server.register("listener", PRODUCT).await;
    let listener = broker.subscribe("listener", "devices/listener/ota", &[], server.folder()).await;
    broker.publish("devices/listener/version", "1.0.0", &[]).await.ok();
    server.device_runs("listener", "1.0.0").await;
    server.offer("listener", "1.1.0").await;
    (listener.first("devices/listener/ota").await, image)
}

async fn fetch(url: &str) -> (StatusCode, Vec<u8>) {
    let answer = http_client().get(url).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_tampered_url_is_forbidden() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let (url, image) = url_of_a_trigger(&server, &workshop).await;
    assert_eq!(fetch(&url).await, (StatusCode::OK, std::fs::read(image).unwrap()));

    let (path, query) = url.split_once('?').unwrap();
    let (expires, signature) = query.split_once("&signature=").unwrap();
    let later = expires.strip_prefix("expires=").unwrap().parse::<u64>().unwrap() + 3600;
    let (first, rest) = signature.split_at(1);
    let other = if first == "0" { "1" } else { "0" };
    for forged in [
        format!("{path}?expires={later}&signature={signature}"),
        format!("{path}?{expires}&signature={other}{rest}"),
        format!("{path}?{expires}&signature="),
        format!("{path}?{expires}"),
        path.to_owned(),
        url.replace("firmware.bin", "metadata.json"),
        url.replace("v1.1.0", "v1.0.0"),
    ] {
        let (status, body) = fetch(&forged).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{forged}");
        assert!(!body.is_empty(), "a refusal says why");
    }
}

#[tokio::test]
async fn an_expired_url_is_forbidden() {
    const SHORTEST_S: u64 = 60;
    let workshop = Workshop::open();
    let setup = Setup { store_settings: format!("url_lifetime_s = {SHORTEST_S}"), ..Setup::default() };
    let server = Server::with(setup).await;
    let (url, _) = url_of_a_trigger(&server, &workshop).await;
    assert_eq!(fetch(&url).await.0, StatusCode::OK);
    let limit = Duration::from_secs(SHORTEST_S + 15);
    let body = until_within(limit, "the URL expires", || async {
        let (status, body) = fetch(&url).await;
        (status == StatusCode::FORBIDDEN).then_some(body)
    })
    .await;
    assert!(String::from_utf8_lossy(&body).contains("expired"), "a refusal says why");
}

#[tokio::test]
async fn a_blocked_list_that_is_not_json_blocks_everything_and_says_why() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.image("1.0.0");
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let rollback = server.folder().join("store").join(PRODUCT).join("rollback");
    std::fs::create_dir_all(&rollback).unwrap();
    let broker = server.register("lamp", PRODUCT).await;
    let _device = VirtualDevice::start("lamp", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("lamp", "1.0.0").await;

    for broken in ["1.1.0\n", "{\"blocked_versions\": \"1.1.0\"}", "{\"blocked_versions\": [\"one\"]}", ""] {
        std::fs::write(rollback.join("blocked_versions.json"), broken).unwrap();
        let answer = server.check("lamp").await;
        assert_eq!(answer.decision, "blocked", "{broken:?}: {answer:?}");
        assert!(answer.reason.contains("blocked_versions.json"), "{answer:?}");
    }
    assert!(server.history("lamp").await.is_empty());

    std::fs::remove_file(rollback.join("blocked_versions.json")).unwrap();
    server.offer("lamp", "1.1.0").await;
    server.update_is("lamp", UpdateState::Succeeded).await;
}
