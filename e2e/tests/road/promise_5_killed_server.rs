//! The server is killed (SIGKILL) while an update is under way, and still knows how it ended.
use api::{Channel, UpdateState};
use e2e::bucket::Bucket;
use e2e::device::{PlainDevice, VirtualDevice};
use e2e::flash;
use e2e::images::Workshop;
use e2e::mosquitto::Mosquitto;
use e2e::proxy::{Failure, Proxy};
use e2e::server::{Promote, Server, Setup, runs};
use e2e::wait::until;
use reqwest::Method;
use serde_json::json;

const PRODUCT: &str = "esp32s3";

#[tokio::test]
async fn on_an_external_broker_the_status_sent_meanwhile_completes_the_update() {
    let workshop = Workshop::open();
    let (mosquitto, bucket) = tokio::join!(Mosquitto::start(), Bucket::start());
    bucket.deploy(PRODUCT, "1.1.0", &workshop.image("1.1.0")).await;
    let mut server = Server::with(Setup {
        broker: Some(mosquitto.server()),
        store: Some(bucket.url()),
        env: bucket.env(),
        fleet: format!("default_product = \"{PRODUCT}\""),
        ..Setup::default()
    })
    .await;
    let watch = tempfile::tempdir().unwrap();
    let said = mosquitto.devices().subscribe("watch", "devices/well/#", &[], watch.path()).await;
    let mut device = PlainDevice::start("well", &mosquitto.devices(), "1.0.0", "1.1.0");
    server.device_runs("well", "1.0.0").await;

    // The broker keeps the trigger for the device, which is off, so that it acts only once the server is dead.
    device.cut_power();
    server.offer("well", "1.1.0").await;
    said.first("devices/well/ota").await;
    server.kill();
    device.power_on();
    assert_eq!(said.first("devices/well/ota/status").await, "SUCCESS");
    until("it reports the new version", || async {
        said.payloads("devices/well/version").last().is_some_and(|version| version == "1.1.0").then_some(())
    })
    .await;

    server.start_again().await;
    let update = server.update_is("well", UpdateState::Succeeded).await;
    assert_eq!(update.to.to_string(), "1.1.0");
    server.device_when("well", "it runs 1.1.0", |device| runs(device, "1.1.0")).await;
    assert_eq!(server.history("well").await.len(), 1, "an update is never made twice");
}

#[tokio::test]
async fn on_the_embedded_broker_the_devices_next_report_completes_the_update() {
    let workshop = Workshop::open();
    let bucket = Bucket::start().await;
    let network = Proxy::start(bucket.port(), u64::MAX, Failure::Silence).await;
    let mut server = Server::with(Setup {
        store: Some(bucket.url_through(network.port())),
        env: bucket.env(),
        ..Setup::default()
    })
    .await;
    let (old, new) = (workshop.large("1.0.0"), workshop.large("1.1.0"));
    server.publish(PRODUCT, "1.1.0", &new, Promote::Production).await;
    let broker = server.register("well", PRODUCT).await;
    let device = VirtualDevice::start("well", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("well", "1.0.0").await;
    // The server reads the image once before it offers it, and for whoever asks what a rollout would do. The download after that
    // stands still until the server is dead.
    let path = format!("/api/v1/products/{PRODUCT}/rollouts");
    until("the image was read", || async {
        let preview = json!({"version": "1.1.0", "dry_run": true});
        let answer = server.request(Method::POST, &path).json(&preview).send().await.unwrap();
        answer.json::<serde_json::Value>().await.unwrap()["devices"].as_u64().filter(|devices| *devices == 1)
    })
    .await;
    let image = std::fs::read(&new).unwrap();
    network.fail_after(700_000);
    server.offer("well", "1.1.0").await;
    until("the download stands still", || async { network.has_failed().then_some(()) }).await;

    server.kill();
    network.heal();
    until("the device has the whole image", || async { flash::slot_with(&device.flash(), &image) }).await;
    server.start_again().await;

    server.update_is("well", UpdateState::Succeeded).await;
    server.device_runs("well", "1.1.0").await;
    assert_eq!(server.history("well").await.len(), 1, "an update is never made twice");
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_by_a_kill() {
    let workshop = Workshop::open();
    let mut server = Server::start().await;
    server.publish(PRODUCT, "1.0.0", &workshop.image("1.0.0"), Promote::Production).await;
    let broker = server.register("well", PRODUCT).await;
    server.kill();
    server.start_again().await;

    let channels: Vec<Channel> = server.list(&format!("/api/v1/products/{PRODUCT}/channels")).await;
    assert_eq!(channels[0].version, "1.0.0".parse().ok(), "{channels:?}");
    broker.publish("devices/well/version", "1.0.0", &[]).await.ok();
    server.device_when("well", "its password still counts", |device| runs(device, "1.0.0")).await;
}
