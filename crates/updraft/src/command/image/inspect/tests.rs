use ::image::build::Build;
use ::image::signature::Scheme;
use ::image::signing::{SigningKey, sign};
use ::image::{Behaviour, Chip, verify};

use super::*;

fn summary(build: &Build) -> Summary {
    verify(&build.bytes()).expect("a sound image")
}

fn page(build: &Build) -> String {
    text(Path::new("firmware.bin"), &summary(build), &[], false)
}

#[test]
fn a_person_reads_chip_version_and_behaviour() {
    let build = Build { behaviour: Some(Behaviour::CrashesAtBoot), ..Build::new(Chip::Esp32C3, "1.1.0") };
    let page = page(&build);
    for expected in ["ESP32-C3", "updraft-demo", "1.1.0", "crashes-at-boot", "DROM", "Nov 2 2026 12:00:00"] {
        assert!(page.contains(expected), "no {expected} in\n{page}");
    }
    assert!(!page.contains("--version"), "{page}");
    assert!(!page.contains('\x1b'));
}

#[test]
fn a_foreign_descriptor_is_called_foreign() {
    let build =
        Build { project_name: "arduino-lib-builder".into(), ..Build::new(Chip::Esp32, "esp-idf: v4.4.3") };
    assert!(page(&build).contains("publish with --version"));
    assert_eq!(json(Path::new("f"), &summary(&build), &[])["descriptor"]["is_apps_own"], false);
}

#[test]
fn an_image_cannot_command_the_terminal() {
    let build = Build { project_name: "\x1b[2Jgone".into(), ..Build::new(Chip::Esp32, "1.0.0\x07") };
    assert!(!page(&build).contains(['\x1b', '\x07']));
}

#[test]
fn signatures_are_shown_with_the_keys_digest() {
    let key = SigningKey::generate(Scheme::EcdsaP256).expect("a key");
    let bytes = sign(&Build::new(Chip::Esp32S3, "1.0.0").bytes(), &key).expect("signed");
    let summary = verify(&bytes).expect("a sound image");
    let found = crate::command::image::signatures::of(&bytes, &summary);
    let digest = Sha256(key.public().digest()).to_string();
    let page = text(Path::new("f"), &summary, &found, false);
    assert!(page.contains(&format!("block 1: good, ECDSA P-256, by key {digest}")), "{page}");
    let json = json(Path::new("f"), &summary, &found);
    assert_eq!(json["signatures"][0]["key"], digest);
    assert_eq!((&json["signatures"][0]["ok"], &json["signature_blocks"]), (&true.into(), &1.into()));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let summary = summary(&Build::new(Chip::Esp32S3, "1.0.0"));
    let coloured = text(Path::new("f"), &summary, &[], true);
    let plain = text(Path::new("f"), &summary, &[], false);
    let mut stripped = coloured.clone();
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m"] {
        stripped = stripped.replace(code, "");
    }
    assert_ne!(coloured, plain);
    assert_eq!(stripped, plain);
}

#[test]
fn sizes_are_human_and_exact() {
    assert_eq!(size(900), "900 bytes");
    assert_eq!(size(65_536), "64.0 KiB (65,536 bytes)");
    assert_eq!(size(1_503_744), "1.43 MiB (1,503,744 bytes)");
}
