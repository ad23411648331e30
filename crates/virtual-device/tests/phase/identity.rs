//! What an image is, its bytes say; what a URL or a header says of it counts only where they say nothing.

use agent::{Event, Phase, ResetReason, Settings};
use contract::{Code, Outcome};
use image::build::Build;
use image::{Stamp, stamp};
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::provision;

use crate::bench::{Bench, CHIP, image, settings};
use crate::tail::{refused, signed, signed_bench, trusting};

/// An image whose descriptor is the Arduino core's.
fn arduino(seed: u64) -> Vec<u8> {
    let project_name = "arduino-lib-builder".into();
    let build = Build {
        size_bytes: 20 * 1024,
        seed,
        behaviour: None,
        project_name,
        ..Build::new(CHIP, "esp-idf: v4.4.3")
    };
    build.bytes()
}

fn stamped(version: &str, secure_version: u32) -> Vec<u8> {
    let mut image = arduino(1);
    let secure_version = Some(secure_version);
    stamp(&mut image, &Stamp { version, product: "lamp", secure_version }).expect("stamped");
    image
}

/// What the device says that it runs.
fn version(bench: &Bench) -> String {
    bench.agent.report().expect("a version").version.as_str().to_owned()
}

#[test]
fn old_signed_code_under_another_name_is_refused_before_anything_is_erased() {
    for relabelled in ["1.1.0", "9.9.8"] {
        // 1.1.0 runs; the URL ends in another release's path and serves the signed 1.0.0.
        let mut bench = signed_bench(trusting());
        bench.update_to(&signed("1.1.0", 0));
        let mut bench = bench.reboot(ResetReason::Software);
        bench.tell(Event::Connected);
        assert_eq!(version(&bench), "1.1.0");
        bench.messages.clear();
        let old = signed("1.0.0", 0);
        let before = bench.flash.operations();
        bench.update_as(relabelled, &old);
        assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::WrongVersion))), "{relabelled}");
        let said = bench.agent.record().last.as_ref().map(|last| last.reason.words());
        let words = format!("the image is not {relabelled}, as the server named it");
        assert_eq!(said, Some(&words[..]));
        assert!(
            bench.flash.operations() - before <= 1 + agent::RECORD_BYTES as u64 / 256,
            "no more than a record"
        );
        assert_eq!((bench.restart, version(&bench).as_str()), (false, "1.1.0"));
    }
}

#[test]
fn the_running_image_under_another_name_is_no_success() {
    let mut bench = Bench::new();
    bench.update_as("9.9.8", &image("1.0.0"));
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::WrongVersion))));
    assert_eq!(version(&bench), "1.0.0");
}

#[test]
fn a_header_that_names_another_version_is_believed_no_more_than_a_url() {
    let mut bench = Bench::new();
    bench.announced = Some("9.9.8");
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(b"https://server/d/token"));
    bench.serve(&image("2.0.0"));
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::WrongVersion))));
}

#[test]
fn a_stamped_image_reports_its_stamp_whatever_it_was_called_before() {
    // A device with an image that says nothing goes by what it was told.
    let mut bench = Bench::new();
    bench.update_as("1.4.0", &arduino(2));
    let mut bench = bench.reboot(ResetReason::Software);
    bench.tell(Event::Connected);
    let report = bench.agent.report().expect("a version");
    assert_eq!((version(&bench).as_str(), report.stamped), ("1.4.0", Some(false)));
    for (named, refused) in [("1.6.0", true), ("1.5.0", false)] {
        bench.update_as(named, &stamped("1.5.0", 7));
        assert_eq!(bench.restart, !refused, "{named}");
    }
    let mut bench = bench.reboot(ResetReason::Software);
    bench.tell(Event::Connected);
    let report = bench.agent.report().expect("a version");
    assert_eq!(
        (report.version.as_str(), report.stamped, report.secure_version),
        ("1.5.0", Some(true), Some(7))
    );
    // Of another product, stamped as well.
    let mut other = arduino(3);
    stamp(&mut other, &Stamp { version: "2.0.0", product: "pump", secure_version: Some(7) })
        .expect("stamped");
    assert_eq!(refused(&mut bench, &other, "another product"), Some(Code::WrongProject));
}

#[test]
fn what_is_compiled_in_goes_before_what_a_server_says() {
    let mut bench = Bench::new();
    bench.update_as("1.4.0", &arduino(2));
    let bench = Bench::boot(bench.flash, Settings { version: "1.3.9".parse().ok(), ..settings() });
    assert_eq!(bench.agent.version().map(contract::Version::as_str), Some("1.3.9"));
}

#[test]
fn a_name_that_comes_in_mid_download_is_held_against_the_whole_image() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.lose_at(&new, 9000);
    bench.tell(Event::Trigger(b"https://server/p/releases/v3.0.0/firmware.bin"));
    bench.serve(&new);
    while !bench.restart && bench.agent.phase() != Phase::Idle {
        bench.wait();
    }
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::WrongVersion))));
}

#[test]
fn a_commit_s_name_contradicts_no_version_and_is_the_last_resort() {
    let commit = Build { size_bytes: 20 * 1024, behaviour: None, ..Build::new(CHIP, "7e12ab0-dirty") };
    let mut flash = Flash::in_memory();
    let summary = image::verify(&commit.bytes()).expect("good");
    provision(&mut flash, &commit.bytes(), &summary, None).expect("fits");
    let mut bench = Bench::boot(flash, settings());
    assert_eq!(version(&bench), "7e12ab0-dirty", "nobody named it");
    bench.update_as("1.4.0", &Build { seed: 2, ..commit }.bytes());
    let mut bench = bench.reboot(ResetReason::Software);
    bench.tell(Event::Connected);
    assert_eq!(version(&bench), "1.4.0");
}
