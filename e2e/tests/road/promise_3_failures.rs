//! OTA.md, sections 7 and 9: whatever goes wrong, the device runs firmware that works, and people are told.
use api::{CheckRequest, Device, UpdateState};
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::mosquitto::Mosquitto;
use e2e::process::free_port;
use e2e::proxy::{Failure, Proxy};
use e2e::server::{Promote, Server, Setup, runs};
use e2e::wait::until;
use e2e::{command::Said, flash};
use image::Behaviour;

const PRODUCT: &str = "esp32s3";

/// Of its newest update.
fn state(device: &Device) -> Option<UpdateState> {
    device.update.as_ref()?.state.known().copied()
}

#[tokio::test]
async fn an_offline_device_is_not_triggered() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.image("1.0.0");
    server.publish(PRODUCT, "1.0.0", &old, Promote::Production).await;
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let broker = server.register("attic", PRODUCT).await;
    let mut device = VirtualDevice::start("attic", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("attic", "1.0.0").await;

    device.cut_power();
    server.device_when("attic", "offline", |device| !device.online).await;
    let answer = server.check("attic").await;
    assert_eq!(answer.decision, "offline", "{answer:?}");
    assert!(server.history("attic").await.is_empty());

    device.power_on();
    server.device_runs("attic", "1.0.0").await;
    assert!(server.history("attic").await.is_empty(), "nothing was kept to be sent later");
    server.offer("attic", "1.1.0").await;
    server.update_is("attic", UpdateState::Succeeded).await;
}

#[tokio::test]
async fn on_an_external_broker_a_last_will_means_offline_and_force_sends_all_the_same() {
    let workshop = Workshop::open();
    let mosquitto = Mosquitto::start().await;
    let server = Server::with(Setup {
        broker: Some(mosquitto.server()),
        fleet: format!("default_product = \"{PRODUCT}\""),
        ..Setup::default()
    })
    .await;
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let watch = tempfile::tempdir().unwrap();
    let triggers = mosquitto.devices().subscribe("watch", "devices/attic/ota", &[], watch.path()).await;
    mosquitto.devices().publish("devices/attic/version", "1.0.0", &[]).await.ok();
    mosquitto.devices().publish("devices/attic/presence", "offline", &["-r"]).await.ok();
    server.device_when("attic", "known, offline", |d| runs(d, "1.0.0") && !d.online).await;

    assert_eq!(server.check("attic").await.decision, "offline");
    assert!(triggers.payloads("devices/attic/ota").is_empty());

    let answer = server.check_with("attic", &CheckRequest { force: true, ..CheckRequest::default() }).await;
    assert_eq!(answer.decision, "offered", "{answer:?}");
    assert!(triggers.first("devices/attic/ota").await.starts_with("http://"));
    assert_eq!(triggers.payloads("devices/attic/ota").len(), 1);
}

#[tokio::test]
async fn network_loss_in_mid_download_fails_and_the_old_firmware_stays() {
    let workshop = Workshop::open();
    let http_port = free_port();
    let network = Proxy::start(http_port, 500_000, Failure::Cut).await;
    let server = Server::with(Setup {
        http_port: Some(http_port),
        public_url: Some(network.url()),
        ..Setup::default()
    })
    .await;
    let old = workshop.large("1.0.0");
    server.publish(PRODUCT, "1.1.0", &workshop.large("1.1.0"), Promote::Production).await;
    let broker = server.register("cellar", PRODUCT).await;
    let device = VirtualDevice::start("cellar", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("cellar", "1.0.0").await;
    server.offer("cellar", "1.1.0").await;

    let update = server.update_is("cellar", UpdateState::Failed).await;
    assert!(network.has_failed());
    assert!(update.reason.as_ref().is_some_and(|reason| !reason.is_empty()), "{update:?}");
    server.device_runs("cellar", "1.0.0").await;
    assert_eq!(flash::slot_with(&device.flash(), &std::fs::read(old).unwrap()), Some(0));
}

/// Cuts the device's power when so many bytes of the new image have come, and gives it back.
async fn power_fails_after(bytes: u64) {
    let workshop = Workshop::open();
    let http_port = free_port();
    let network = Proxy::start(http_port, u64::MAX, Failure::Silence).await;
    let server = Server::with(Setup {
        http_port: Some(http_port),
        public_url: Some(network.url()),
        // A device whose power fails before it has noted down anything never speaks of the update again.
        fleet: "update_timeout_s = 10".into(),
        ..Setup::default()
    })
    .await;
    let (old, new) = (workshop.large("1.0.0"), workshop.large("1.1.0"));
    server.publish(PRODUCT, "1.1.0", &new, Promote::Production).await;
    let broker = server.register("shed", PRODUCT).await;
    let mut device = VirtualDevice::start("shed", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("shed", "1.0.0").await;
    network.fail_after(bytes);
    server.offer("shed", "1.1.0").await;
    until("the download has come so far", || async { network.has_failed().then_some(()) }).await;

    device.cut_power();
    network.heal();
    device.power_on();
    // It may take the download up again by itself, or say that it failed: then it is offered again.
    let ended = |device: &Device| {
        matches!(state(device), Some(UpdateState::Succeeded | UpdateState::Failed | UpdateState::TimedOut))
    };
    let shown = server.device_when("shed", "the interrupted update has an end", ended).await;
    if state(&shown) != Some(UpdateState::Succeeded) {
        assert!(shown.update.as_ref().is_some_and(|update| update.reason.is_some()), "{shown:?}");
        server.device_runs("shed", "1.0.0").await;
        assert_eq!(flash::slot_with(&device.flash(), &std::fs::read(&old).unwrap()), Some(0));
        server.offer_soon("shed", "1.1.0").await;
    }
    server.update_is("shed", UpdateState::Succeeded).await;
    server.device_runs("shed", "1.1.0").await;
    assert_eq!(flash::slot_with(&device.flash(), &std::fs::read(&new).unwrap()), Some(1));
}

#[tokio::test]
async fn power_failure_before_the_first_byte_leaves_the_old_firmware() {
    power_fails_after(10).await;
}

#[tokio::test]
async fn power_failure_in_mid_download_leaves_the_old_firmware() {
    power_fails_after(700_000).await;
}

#[tokio::test]
async fn power_failure_just_before_the_last_byte_leaves_the_old_firmware() {
    power_fails_after(1_395_000).await;
}

/// Cuts the power at the first sign of the new image's being selected or run: whichever the moment, what boots is whole, and
/// server and device agree on it.
#[tokio::test]
async fn power_failure_while_the_new_firmware_is_selected_or_tested_leaves_one_that_works() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let (old, new) = (workshop.image("1.0.0"), workshop.image("1.1.0"));
    server.publish(PRODUCT, "1.1.0", &new, Promote::Production).await;
    let broker = server.register("porch", PRODUCT).await;
    let mut device = VirtualDevice::start("porch", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("porch", "1.0.0").await;
    let before = flash::otadata(&device.flash()).to_vec();
    server.offer("porch", "1.1.0").await;
    until("the device writes what to boot", || async {
        (flash::otadata(&device.flash()) != before).then_some(())
    })
    .await;

    device.cut_power();
    device.power_on();
    let ended = |device: &Device| match state(device) {
        Some(UpdateState::Succeeded) => runs(device, "1.1.0"),
        Some(UpdateState::Failed | UpdateState::RolledBack) => runs(device, "1.0.0"),
        _ => false,
    };
    let shown = server.device_when("porch", "an end that fits what it runs", ended).await;
    let expected = if runs(&shown, "1.1.0") { (&new, 1) } else { (&old, 0) };
    assert_eq!(
        flash::slot_with(&device.flash(), &std::fs::read(expected.0).unwrap()),
        Some(expected.1),
        "{shown:?}"
    );
}

async fn a_bad_image_falls_back(behaviour: Behaviour) {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.image("1.0.0");
    server.publish(PRODUCT, "1.0.0", &old, Promote::No).await;
    server.publish(PRODUCT, "1.1.0", &workshop.behaving("1.1.0", behaviour), Promote::Production).await;
    let broker = server.register("hall", PRODUCT).await;
    let options = ["--self-test-s", "5"];
    let device = VirtualDevice::with("hall", PRODUCT, &broker, &old, "1.0.0", &options);
    server.device_runs("hall", "1.0.0").await;
    server.offer("hall", "1.1.0").await;

    let update = server.update_is("hall", UpdateState::RolledBack).await;
    assert!(update.reason.as_ref().is_some_and(|reason| !reason.is_empty()), "{update:?}");
    server.device_runs("hall", "1.0.0").await;
    assert_eq!(flash::slot_with(&device.flash(), &std::fs::read(old).unwrap()), Some(0));

    let reason = "Boot loop after OTA";
    Said::by(server.remote(["block", "1.1.0", "-p", PRODUCT, "--reason", reason])).await.ok();
    let answer = server.check("hall").await;
    assert_eq!(answer.decision, "blocked", "{answer:?}");
    assert!(answer.reason.contains(reason), "{answer:?}");
    assert_eq!(server.history("hall").await.len(), 1, "a blocked version is never offered");
}

#[tokio::test]
async fn an_image_that_crashes_at_boot_is_rolled_back_and_can_be_blocked() {
    a_bad_image_falls_back(Behaviour::CrashesAtBoot).await;
}

#[tokio::test]
async fn an_image_that_never_reaches_the_network_is_rolled_back_and_can_be_blocked() {
    a_bad_image_falls_back(Behaviour::NeverReachesNetwork).await;
}

#[tokio::test]
async fn an_image_that_crashes_after_its_confirmation_is_left_and_can_be_blocked() {
    a_bad_image_falls_back(Behaviour::CrashesLater).await;
}

#[tokio::test]
async fn an_image_that_failed_twice_after_boot_is_quarantined_on_that_device() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.image("1.0.0");
    let bad = workshop.behaving("1.1.0", Behaviour::CrashesAtBoot);
    server.publish(PRODUCT, "1.1.0", &bad, Promote::Production).await;
    let broker = server.register("hall", PRODUCT).await;
    let _device = VirtualDevice::start("hall", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("hall", "1.0.0").await;
    for attempt in 1..=2 {
        server.offer_soon("hall", "1.1.0").await;
        server
            .device_when("hall", "fallen back", |device| {
                state(device) == Some(UpdateState::RolledBack) && device.online
            })
            .await;
        assert_eq!(server.history("hall").await.len(), attempt);
    }
    let answer = server.check("hall").await;
    assert_eq!(answer.decision, "quarantined", "{answer:?} after {:?}", server.history("hall").await);
    assert_eq!(server.history("hall").await.len(), 2);
}

#[tokio::test]
async fn a_device_on_a_blocked_version_is_offered_the_channels_lower_one() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let (good, bad) = (workshop.image("1.0.0"), workshop.image("1.1.0"));
    server.publish(PRODUCT, "1.0.0", &good, Promote::Production).await;
    server.publish(PRODUCT, "1.1.0", &bad, Promote::No).await;
    let broker = server.register("stair", PRODUCT).await;
    let _device = VirtualDevice::start("stair", PRODUCT, &broker, &bad, "1.1.0");
    server.device_runs("stair", "1.1.0").await;
    assert_eq!(server.check("stair").await.decision, "newer_than_channel");

    Said::by(server.remote(["block", "1.1.0", "-p", PRODUCT, "--reason", "overheats"])).await.ok();
    server.offer("stair", "1.0.0").await;
    server.update_is("stair", UpdateState::Succeeded).await;
    server.device_runs("stair", "1.0.0").await;
}
