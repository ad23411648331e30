//! A device of `mosquitto_pub`, `mosquitto_sub` and `curl` that knows only OTA.md is a first-class device.
use api::UpdateState;
use e2e::bucket::Bucket;
use e2e::device::PlainDevice;
use e2e::images::Workshop;
use e2e::mosquitto::Mosquitto;
use e2e::server::{Promote, Server, Setup, runs};

#[tokio::test]
async fn it_is_updated_on_the_embedded_broker_from_a_folder() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    server.publish("esp32s3", "1.0.0", &workshop.image("1.0.0"), Promote::Production).await;
    let broker = server.register("garden", "esp32s3").await;
    let device = PlainDevice::start("garden", &broker, "1.0.0", "1.1.0");
    server.device_runs("garden", "1.0.0").await;

    let image = workshop.image("1.1.0");
    server.publish("esp32s3", "1.1.0", &image, Promote::Production).await;
    server.offer_soon("garden", "1.1.0").await;

    server.update_is("garden", UpdateState::Succeeded).await;
    server.device_when("garden", "it reports 1.1.0", |device| runs(device, "1.1.0")).await;
    assert_eq!(std::fs::read(device.firmware()).unwrap(), std::fs::read(image).unwrap());
    assert_eq!(server.history("garden").await.len(), 1);
}

#[tokio::test]
async fn it_is_updated_on_mosquitto_from_a_bucket_that_another_program_filled() {
    let workshop = Workshop::open();
    let (mosquitto, bucket) = tokio::join!(Mosquitto::start(), Bucket::start());
    bucket.deploy("esp32s3", "1.0.0", &workshop.image("1.0.0")).await;
    let server = Server::with(Setup {
        broker: Some(mosquitto.server()),
        store: Some(bucket.url()),
        env: bucket.env(),
        fleet: "default_product = \"esp32s3\"".into(),
        ..Setup::default()
    })
    .await;
    let watch = tempfile::tempdir().unwrap();
    let triggers = mosquitto.devices().subscribe("watch", "devices/garden/ota", &[], watch.path()).await;
    let device = PlainDevice::start("garden", &mosquitto.devices(), "1.0.0", "1.1.0");
    let shown = server.device_runs("garden", "1.0.0").await;
    assert_eq!(
        shown.product.as_deref(),
        Some("esp32s3"),
        "a bare version says no product: it gets the default one"
    );
    assert_eq!(server.check("garden").await.decision, "up_to_date");

    let image = workshop.image("1.1.0");
    bucket.deploy("esp32s3", "1.1.0", &image).await;
    server.offer_soon("garden", "1.1.0").await;

    server.update_is("garden", UpdateState::Succeeded).await;
    server.device_when("garden", "it reports 1.1.0", |device| runs(device, "1.1.0")).await;
    assert_eq!(std::fs::read(device.firmware()).unwrap(), std::fs::read(image).unwrap());
    let url = triggers.first("devices/garden/ota").await;
    assert!(
        url.starts_with("http://") && !url.contains(char::is_whitespace),
        "the payload is the URL alone: {url}"
    );
    assert!(url.contains("X-Amz-Signature="), "{url}");
    assert!(!server.log().contains("X-Amz-Signature"), "a signed URL is a secret, and stands in no log");
}
