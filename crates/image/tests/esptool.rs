//! Espressif's own tool takes what we build, for every chip.

use std::path::Path;
use std::process::{Command, Output};

use updraft_image::build::Build;
use updraft_image::{Behaviour, Chip, Region, Stamp, stamp, verify};

/// Runs `esptool image-info`, as a command or as a Python module.
fn image_info(path: &Path) -> Output {
    let run = |program: &str, first: &[&str]| {
        Command::new(program).args(first).arg("image-info").arg(path).env("NO_COLOR", "1").output().ok()
    };
    let is_missing = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("No module named");
    run("esptool", &[])
        .or_else(|| run("python3", &["-m", "esptool"]).filter(|output| !is_missing(output)))
        .expect("this test needs esptool 5: install it with `pip install esptool`")
}

/// The digest is optional, the checksum is not; esptool says "invalid" and still exits with 0.
fn assert_accepted(build: &Build) {
    assert_accepted_bytes(build, &build.bytes());
}

/// The same of an image that was changed since it was built.
fn assert_accepted_bytes(build: &Build, bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let path = directory.path().join("firmware.bin");
    std::fs::write(&path, bytes).expect("written");
    let output = image_info(&path);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{build:?}: {said}");
    for expected in [
        format!("Detected image type: {}", build.chip.title()),
        format!("Image size: {} bytes", bytes.len()),
        format!("Project name: {}", build.project_name),
        format!("App version: {}", build.version),
        format!("ESP-IDF: {}", build.idf_version),
    ] {
        assert!(said.contains(&expected), "{build:?}: no {expected:?} in {said}");
    }
    let valid = said.matches("(valid)").count();
    assert_eq!(valid, 1 + usize::from(build.hash_appended), "{build:?}: {said}");
    assert!(!said.contains("invalid") && !said.to_lowercase().contains("warning"), "{build:?}: {said}");
    assert_same_regions(build, bytes, &said);
}

/// Our names of the memory regions are esptool's.
fn assert_same_regions(build: &Build, bytes: &[u8], said: &str) {
    let summary = verify(bytes).expect("a sound image");
    for segment in summary.segments.iter() {
        let address = format!("{:#010x}", segment.load_address);
        let table = said.split_once("Segments Information").expect("a table of segments").1;
        let line = table.lines().find(|line| line.contains(&address)).expect("the segment's line");
        let expected = match summary.region(segment).expect("a known region") {
            Region::Flash => "DROM, IROM",
            Region::Ram => "IRAM",
            region => region.name(),
        };
        assert!(line.contains(expected), "{}: no {expected} in {line}", build.chip);
    }
}

#[test]
fn esptool_takes_a_built_image_for_every_chip() {
    for chip in Chip::ALL {
        assert_accepted(&Build { size_bytes: 300_000, ..Build::new(chip, "1.2.0") });
    }
}

#[test]
fn esptool_takes_built_images_of_all_sizes_and_kinds() {
    for size_bytes in [0, 1024, 196_607, 196_608, 1_400_000] {
        for hash_appended in [true, false] {
            let behaviour = if hash_appended { Some(Behaviour::CrashesAtBoot) } else { None };
            let build =
                Build { size_bytes, hash_appended, behaviour, ..Build::new(Chip::Esp32S3, "1.2.0-rc.1+b7") };
            assert_accepted(&build);
        }
    }
}

#[test]
fn esptool_takes_a_stamped_image_and_reads_the_stamp() {
    for (chip, hash_appended) in [(Chip::Esp32S3, true), (Chip::Esp32C3, false)] {
        let library = Build { hash_appended, project_name: "libespidf".into(), ..Build::new(chip, "0.0.0") };
        let mut bytes = library.bytes();
        stamp(&mut bytes, &Stamp { version: "1.2.0", product: "lamp", secure_version: Some(3) })
            .expect("stamped");
        let said = Build { version: "1.2.0".into(), project_name: "lamp".into(), ..library };
        assert_accepted_bytes(&said, &bytes);
    }
}
