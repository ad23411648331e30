//! The C library's examples against the server: whatever is cut or lost, they update or say why not.
use std::process::Command;

use api::UpdateState;
use e2e::command::updraft;
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::server::{Promote, Server, runs};
use e2e::sketch::Sketch;
use e2e::workspace;
use image::build::Build;
use image::{Behaviour, Chip};

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

/// Runs a command to its end; what it printed.
fn said(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn signatures_of_this_program_hold_for_mbedtls() {
    let (workshop, folder) = (Workshop::open(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    let mut image = workshop.image("1.0.0");
    let mut keys = String::new();
    for (scheme, also) in [("rsa3072", None), ("p256", Some("--append"))] {
        keys += &said(updraft(["key", "new"]).arg(path(scheme)).args(["--type", scheme]));
        let signed = path(&format!("{scheme}.bin"));
        said(
            updraft(["image", "sign"])
                .arg(&image)
                .args(also)
                .arg("--key")
                .arg(path(scheme))
                .arg("-o")
                .arg(&signed),
        );
        image = signed;
    }
    let check = path("check");
    let sources =
        ["test/signature/check.c", "src/esp/signature.c", "src/updraft/signature.c", "src/updraft/sha256.c"];
    let sources = sources.into_iter().chain(["src/updraft/refusal.c", "src/updraft/text.c"]);
    let options =
        ["-std=c99", "-DESP_PLATFORM", "-D_POSIX_C_SOURCE=200809L", "-Isrc", "-isystem", "test/stand-in"];
    said(
        Command::new("cc")
            .current_dir(workspace().join("platformio"))
            .args(options)
            .args(sources)
            .args(["-lmbedcrypto", "-o"])
            .arg(&check),
    );
    assert_eq!(said(Command::new(check).arg(image)), keys);
}

#[tokio::test]
async fn both_agents_give_the_same_reasons() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let old = workshop.image("1.0.0");
    server.publish("lamp", "1.0.0", &old, Promote::Production).await;
    let (in_c, in_rust) = (server.register("in-c", "lamp").await, server.register("in-rust", "lamp").await);
    let device = Sketch::start(SMALLEST, "in-c", &in_c, &old, &[]);
    let _other = VirtualDevice::start("in-rust", "lamp", &in_rust, &old, "1.0.0");
    server.device_runs("in-c", "1.0.0").await;
    server.device_runs("in-rust", "1.0.0").await;

    let toaster = Build { project_name: "toaster".into(), ..Build::new(Chip::Esp32S3, "1.2.0") };
    let bad = [
        ("1.1.0", workshop.behaving("1.1.0", Behaviour::CrashesAtBoot), UpdateState::RolledBack),
        ("1.2.0", workshop.file("toaster.bin", &toaster.bytes()), UpdateState::Failed),
    ];
    for (version, image, state) in bad {
        server.publish("lamp", version, &image, Promote::Production).await;
        let mut reasons = Vec::new();
        for id in ["in-c", "in-rust"] {
            server.offer_soon(id, version).await;
            reasons.push(server.update_is(id, state).await.reason);
        }
        assert!(reasons[0].is_some(), "{}", device.log());
        assert_eq!(reasons[0], reasons[1], "{version}");
    }
}
