//! Devices and buckets spell versions and chips as they like.

use api::DeviceQuery;
use contract::TopicKind;
use fleet::UpdateState;
use serde_json::json;

use super::rig::{self, Rig};

#[tokio::test]
async fn a_device_that_says_a_name_gets_what_is_different_and_has_succeeded_when_it_says_that() {
    let rig = Rig::start().await;
    let production = rig.folder.path().join("store/p/production");
    rig::put(&production, "build-78", "p", json!({}));
    std::fs::write(production.join("version.txt"), b"\xFF\xFEb\0u\0i\0l\0d\0-\x007\x008\0\r\0\n\0")
        .expect("written");
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    device.say(TopicKind::Version, "build-77\0").await;
    rig.until_version("d1", "build-77").await;
    assert!(rig.show("d1").await.unreadable.is_none());
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    assert!(device.triggers()[0].contains("p/production/firmware.bin"), "{:?}", device.triggers());
    device.say(TopicKind::Version, "build-78").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert_eq!(rig.decision("d1").await, "up_to_date");
    let update = rig.show("d1").await.update.expect("made");
    assert_eq!((update.from.as_deref(), update.to.to_string().as_str()), (Some("build-77"), "build-78"));
    rig::put(&production, "build-77", "p", json!({}));
    assert_eq!(rig.decision("d1").await, "offered", "neither is newer");
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_version_is_shown_as_it_was_said_and_found_in_every_spelling() {
    let rig = Rig::start().await;
    rig.deploy("p", "1.3.0", json!({}));
    let mut devices = Vec::new();
    for (name, said) in [("d1", "v1.2"), ("d2", "1.2.0"), ("d3", "1.2.0 (Oct 5)"), ("d4", "1.2.0.1")] {
        let device = rig.device(name, "p").await;
        device.say(TopicKind::Version, said).await;
        rig.until_version(name, said).await;
        devices.push(device);
    }
    for version in ["1.2.0", "1.2", "V1.2.0", "01.02.0.0"] {
        let query = DeviceQuery { version: Some(version.to_owned()), ..DeviceQuery::default() };
        let found = rig.services().devices.list(&query).await.expect("listed").items;
        let found: Vec<_> = found.iter().map(|device| device.id.as_str()).collect();
        assert_eq!(found, ["d1", "d2", "d3"], "{version}");
    }
    assert_eq!(rig.decision("d1").await, "offered");
    let update = rig.show("d1").await.update.expect("made");
    assert_eq!(update.from.as_deref(), Some("v1.2"));
    devices[0].say(TopicKind::Version, "1.3").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert_eq!(rig.show("d1").await.version.as_deref(), Some("1.3"));
    // Back to what it was, in other words.
    devices[0].say(TopicKind::Version, "1.2").await;
    rig.until_state("d1", UpdateState::RolledBack).await;
    let rig = rig.restart().await;
    assert_eq!(rig.show("d3").await.version.as_deref(), Some("1.2.0 (Oct 5)"));
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_chip_is_one_chip_in_every_spelling_and_an_unknown_one_refuses_nothing() {
    let rig = Rig::start().await;
    let device = rig.device("d1", "p").await;
    for (number, (says, image, expected)) in [
        ("ESP32-S3", "esp32s3", "offered"),
        ("ESP32-S3 (QFN56) (revision v0.2)", "ESP32S3", "offered"),
        ("esp32s3", "ESP32-S3", "offered"),
        ("ESP32-X9", "esp32s3", "offered"),
        ("ESP32-C3", "esp32s3", "wrong_chip"),
    ]
    .into_iter()
    .enumerate()
    {
        let (running, target) = (format!("{number}.0.0"), format!("{number}.1.0"));
        rig.deploy("p", &target, json!({ "chip": image }));
        let report = json!({ "version": running, "chip": says, "state": "valid" });
        device.say(TopicKind::Version, &report.to_string()).await;
        rig.until_version("d1", &running).await;
        if let Some(update) = rig.show("d1").await.update.filter(|update| update.state.is_in_flight()) {
            rig.services().updates.cancel(&rig::BY, update.id).await.expect("cancelled");
        }
        assert_eq!(rig.decision("d1").await, expected, "{says}, {image}");
        let shown = rig.show("d1").await.report.and_then(|report| report.chip).expect("shown");
        assert!(says.starts_with(&shown), "{shown}");
    }
    rig.running.stop().await.expect("stops");
}
