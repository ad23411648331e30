extern crate std;

use contract::Code;
use image::build::Build;
use image::{Chip, Prefix};
use std::vec::Vec;

use super::*;

const CHIP: Chip = Chip::Esp32S3;

fn image() -> Vec<u8> {
    Build::new(CHIP, "1.0.0").bytes()
}

fn traits(bytes: &[u8]) -> Traits {
    let prefix = Prefix::parse(bytes).expect("an image");
    Traits::of(&prefix.header, prefix.descriptor.as_ref())
}

fn verdict(bytes: &[u8], settings: &Settings, running: Option<&Traits>) -> Option<Code> {
    let prefix = Prefix::parse(bytes).expect("an image");
    fits(&prefix.header, prefix.descriptor.as_ref(), settings, running)
        .err()
        .map(|refusal| refusal.says.code())
}

/// The header begins at 0, the descriptor at 0x20.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn flash_modes_are_named() {
    let running = Traits { flash_mode_code: 2, ..traits(&image()) };
    for (code, name) in
        [(0, "qio"), (1, "qout"), (3, "dout"), (4, "fast_read"), (5, "slow_read"), (77, "unknown")]
    {
        let prefix = with(2, &[code]);
        let prefix = Prefix::parse(&prefix).expect("an image");
        let refusal = fits(&prefix.header, prefix.descriptor.as_ref(), &Settings::new(CHIP), Some(&running));
        let words = std::format!("the image has flash mode {name}, the running one has dio [flash_mode]");
        assert_eq!(refusal.expect_err("refused").reason("").as_str(), words);
    }
}

#[test]
fn each_mismatch_is_refused_by_its_code() {
    let running = traits(&image());
    let mut settings = Settings::new(CHIP);
    settings.hardware.revision = Some(Revision(102));
    settings.hardware.efuse_block_revision = Some(Revision(101));
    settings.hardware.secure_version = Some(2);
    let secure = |version: u8| with(0x20 + 4, &[version, 0, 0, 0]);
    assert_eq!(verdict(&secure(2), &settings, Some(&running)), None, "all is well");
    settings.hardware.secure_version = None;
    for (what, bytes, code) in [
        ("another chip", with(12, &[5, 0]), Code::WrongChip),
        ("an unknown chip", with(12, &[0x77, 0x07]), Code::WrongChip),
        ("a later chip", with(15, &[200, 0]), Code::ChipRevision),
        ("an earlier chip", with(17, &[100, 0]), Code::ChipRevision),
        ("a later eFuse block", with(0x20 + 176, &[200, 0]), Code::EfuseRevision),
        ("an earlier eFuse block", with(0x20 + 178, &[100, 0]), Code::EfuseRevision),
        ("small pages", with(0x20 + 180, &[15]), Code::MmuPageSize),
        ("another flash mode", with(2, &[image()[2] ^ 1]), Code::FlashMode),
        ("another project", with(0x20 + 48, b"toaster\0"), Code::WrongProject),
    ] {
        assert_eq!(verdict(&bytes, &settings, Some(&running)), Some(code), "{what}");
    }
    let newer = Traits { secure_version: 3, ..running };
    assert_eq!(
        verdict(&secure(2), &settings, Some(&newer)),
        Some(Code::SecureVersion),
        "than the running one"
    );
    settings.hardware.secure_version = Some(3);
    assert_eq!(verdict(&secure(2), &settings, None), Some(Code::SecureVersion), "than the eFuse");
}

#[test]
fn what_a_device_does_not_know_of_itself_is_not_asked() {
    let settings = Settings::new(CHIP);
    for bytes in [with(15, &[200, 0]), with(0x20 + 176, &[200, 0]), with(0x20 + 48, b"toaster\0")] {
        assert_eq!(verdict(&bytes, &settings, None), None);
    }
}

#[test]
fn a_library_s_descriptor_names_no_project() {
    let running = traits(&image());
    let arduino = with(0x20 + 48, b"arduino-lib-builder\0");
    assert_eq!(verdict(&arduino, &Settings::new(CHIP), Some(&running)), None);
}

#[test]
fn upper_bounds_count_only_where_they_are_set() {
    let mut settings = Settings::new(CHIP);
    settings.hardware.revision = Some(Revision(300));
    for unset in [[0, 0], [0xFF, 0xFF]] {
        assert_eq!(verdict(&with(17, &unset), &settings, None), None);
    }
}
