extern crate std;

use contract::Code;
use image::build::Build;
use image::{Chip, Prefix, Stamp, stamp};
use std::vec::Vec;

use super::*;
use crate::port::Settings;

const CHIP: Chip = Chip::Esp32S3;

fn image() -> Vec<u8> {
    Build::new(CHIP, "1.0.0").bytes()
}

fn traits(bytes: &[u8]) -> Traits {
    let prefix = Prefix::parse(bytes).expect("an image");
    Traits::of(&prefix.header, prefix.descriptor.as_ref())
}

fn wanted<'a>(settings: &'a Settings, running: Option<&'a Traits>) -> Wanted<'a> {
    Wanted { hardware: &settings.hardware, running, secure_version: 0, version: None }
}

fn verdict(bytes: &[u8], settings: &Settings, running: Option<&Traits>) -> Option<Code> {
    verdict_on(bytes, wanted(settings, running))
}

fn verdict_on(bytes: &[u8], wanted: Wanted<'_>) -> Option<Code> {
    let prefix = Prefix::parse(bytes).expect("an image");
    let fits = fits(&prefix.header, prefix.descriptor.as_ref(), &wanted);
    fits.err().map(|refusal| refusal.says.code())
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
        let settings = Settings::new(CHIP);
        let refusal = fits(&prefix.header, prefix.descriptor.as_ref(), &wanted(&settings, Some(&running)));
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
    settings.hardware.secure_version = Some(3);
    assert_eq!(verdict(&secure(2), &settings, None), Some(Code::SecureVersion), "than the eFuse");
    settings.hardware.secure_version = None;
    let confirmed = Wanted { secure_version: 3, ..wanted(&settings, Some(&running)) };
    assert_eq!(verdict_on(&secure(2), confirmed), Some(Code::SecureVersion), "than what was confirmed");
    assert_eq!(verdict_on(&secure(3), confirmed), None);
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

/// A descriptor with this project and version, stamped or not.
fn descriptor(project: &str, version: &str, stamped: bool) -> Vec<u8> {
    let project_name = if stamped { "arduino-lib-builder" } else { project }.into();
    let mut image = Build { project_name, ..Build::new(CHIP, version) }.bytes();
    if stamped {
        stamp(&mut image, &Stamp { version, product: project, secure_version: None }).expect("stamped");
    }
    image
}

#[test]
fn an_image_that_says_its_own_version_is_taken_under_no_other() {
    let (settings, longest) = (Settings::new(CHIP), "1.2.0-rc.012345678901234567890a");
    let cut = std::format!("{longest}bc");
    for (image, named, is_taken) in [
        (descriptor("lamp", "1.2.0", false), "1.2.0", true),
        (descriptor("lamp", "v1.2.0+b7", false), "1.2.0", true),
        (descriptor("lamp", "1.2.0", false), "1.2.1", false),
        (descriptor("lamp", "1.2.0", true), "1.2.1", false),
        (descriptor("lamp", "1.2.0", true), "1.2.0", true),
        (descriptor("lamp", longest, true), longest, true),
        (descriptor("lamp", longest, true), &cut, false),
        // What says nothing of the application: a library's, none, ESP-IDF's own word for none, and one that was cut.
        (descriptor("arduino-lib-builder", "1.2.0", false), "1.2.1", true),
        (descriptor("", "1.2.0", false), "1.2.1", true),
        (descriptor("lamp", "1", false), "1.2.1", true),
        (descriptor("lamp", "b1c75d1-dirty", false), "1.2.1", true),
        (descriptor("lamp", &cut, false), &cut, true),
    ] {
        let version = named.parse().expect("a version");
        let named_so = Wanted { version: Some(&version), ..wanted(&settings, None) };
        let expected = (!is_taken).then_some(Code::WrongVersion);
        assert_eq!(verdict_on(&image, named_so), expected, "{:?} as {named}", Prefix::parse(&image));
        assert_eq!(verdict(&image, &settings, None), None, "nobody named a version");
    }
}
