//! The C library's examples against the server: whatever is cut or lost, they update or say why not.
use api::UpdateState;
use e2e::images::Workshop;
use e2e::server::{Promote, Server, runs};
use e2e::sketch::Sketch;
use image::Behaviour;

const SMALLEST: &str = "platformio/examples/Smallest/Smallest.ino";
const LAMP: &str = "examples/platformio/src/main.cpp";
/// In the download, while it goes on, in selecting, in the trial.
const CUTS: &[u32] = &[30, 20, 7, 5, 3];

async fn is_updated_through_cuts(example: &str) {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.image("1.0.0");
    server.publish("lamp", "1.0.0", &old, Promote::Production).await;
    let broker = server.register("lamp-1", "lamp").await;
    let device = Sketch::start(example, "lamp-1", &broker, &old, CUTS);
    server.device_runs("lamp-1", "1.0.0").await;

    server.publish("lamp", "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    server.offer_soon("lamp-1", "1.1.0").await;

    server.update_is("lamp-1", UpdateState::Succeeded).await;
    server.device_when("lamp-1", "it reports 1.1.0", |device| runs(device, "1.1.0")).await;
    assert_eq!(server.history("lamp-1").await.len(), 1);
    assert!(device.log().lines().count() > CUTS.len(), "the power was cut: {}", device.log());
}

#[tokio::test]
async fn the_smallest_sketch_is_updated_through_power_cuts() {
    is_updated_through_cuts(SMALLEST).await;
}

#[tokio::test]
async fn the_whole_firmware_is_updated_through_power_cuts() {
    is_updated_through_cuts(LAMP).await;
}

#[tokio::test]
async fn a_sketch_that_crashes_falls_back_and_is_not_offered_again() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.image("1.0.0");
    server.publish("lamp", "1.0.0", &old, Promote::Production).await;
    let broker = server.register("lamp-1", "lamp").await;
    let device = Sketch::start(SMALLEST, "lamp-1", &broker, &old, &[]);
    server.device_runs("lamp-1", "1.0.0").await;

    let bad = workshop.behaving("1.1.0", Behaviour::CrashesAtBoot);
    server.publish("lamp", "1.1.0", &bad, Promote::Production).await;
    for _ in 0..2 {
        server.offer_soon("lamp-1", "1.1.0").await;
        let update = server.update_is("lamp-1", UpdateState::RolledBack).await;
        let reason = update.reason.unwrap_or_default();
        assert!(reason.contains("crashed before it was confirmed"), "{reason}");
    }
    assert_eq!(server.check("lamp-1").await.decision, "quarantined", "{}", device.log());
}

#[tokio::test]
async fn a_sketch_outlives_its_server() {
    let workshop = Workshop::open();
    let mut server = Server::start().await;
    let old = workshop.image("1.0.0");
    server.publish("lamp", "1.0.0", &old, Promote::Production).await;
    server.publish("lamp", "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let broker = server.register("lamp-1", "lamp").await;
    let _device = Sketch::start(SMALLEST, "lamp-1", &broker, &old, &[]);
    server.device_runs("lamp-1", "1.0.0").await;

    // Broker, API and store at once, in the moment of the trigger.
    server.offer_soon("lamp-1", "1.1.0").await;
    server.kill();
    server.start_again().await;

    server.update_is("lamp-1", UpdateState::Succeeded).await;
    server.device_when("lamp-1", "it reports 1.1.0", |device| runs(device, "1.1.0")).await;
}
