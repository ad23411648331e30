//! The bootloader model against what two real ESP32-C3 bootloaders did, case by case.

use agent::otadata::{Entry, Running, State};
use image::Chip;
use image::build::Build;
use updraft_virtual_device::bootloader::{NoBoot, Rollback, boot};
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::{FACTORY, Layout, OTADATA, SLOTS, program, write_layout};

const CHIP: Chip = Chip::Esp32C3;

fn parse_entry(text: &str) -> Option<Entry> {
    if text == "empty" {
        return None;
    }
    let mut parts = text.split('/');
    let (first, second) = (parts.next().expect("a number"), parts.next().unwrap_or("UNDEF"));
    let seq = number(first);
    let state = match second {
        "NEW" => State::New,
        "PENDING" => State::PendingVerify,
        "VALID" => State::Valid,
        "INVALID" => State::Invalid,
        "ABORTED" => State::Aborted,
        "UNDEF" => State::Undefined,
        other => State::Unknown(number(other)),
    };
    let mut entry = Entry::new(seq, state);
    if matches!(parts.next(), Some("badcrc" | "crcBAD")) {
        entry.crc ^= 1;
    }
    Some(entry)
}

fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).expect("hexadecimal"),
        None => text.parse().expect("a number"),
    }
}

fn same(found: Option<Entry>, expected: Option<Entry>, bad_crc: bool) -> bool {
    match (found, expected) {
        (None, None) => true,
        (Some(found), Some(expected)) => {
            let right = Entry::new(found.seq, found.state).crc == found.crc;
            found.seq == expected.seq && found.state == expected.state && right != bad_crc
        }
        _ => false,
    }
}

fn read_entry(flash: &mut Flash, index: u32) -> Option<Entry> {
    use embedded_storage::nor_flash::ReadNorFlash;
    let mut bytes = [0; 32];
    flash.read(OTADATA.offset + index * 4096, &mut bytes).expect("in bounds");
    (bytes != [0xFF; 32]).then(|| Entry::parse(&bytes))
}

fn image(seed: u64, chip: Chip) -> Vec<u8> {
    let mut build = Build::new(chip, "1.0.0");
    build.size_bytes = 100 * 1024;
    build.seed = seed;
    build.bytes()
}

/// Corrupts an image as the column "slots" says.
fn corrupt(mut bytes: Vec<u8>, how: &str) -> Vec<u8> {
    let end = bytes.len();
    match how {
        _ if how.contains("appended sha256") => bytes[end - 1] ^= 1,
        _ if how.contains("checksum byte") => bytes[end - 33] ^= 1,
        _ if how.contains("slot empty") => bytes.clear(),
        _ if how.contains("first 64 KiB") => bytes.truncate(64 * 1024),
        _ if how.contains("magic byte") => bytes[0] = 0xE8,
        _ if how.contains("chip id") => bytes = image(9, Chip::Esp32S3),
        _ if how.contains("flipped") => bytes[end / 2] ^= 1,
        other => panic!("the vectors know no {other:?}"),
    }
    bytes
}

fn set_up(slots: &str) -> Flash {
    let (mut a, mut b) = (image(1, CHIP), image(2, CHIP));
    match slots {
        _ if slots.starts_with("A and B good") => {}
        _ if slots.starts_with("both") => {
            a = corrupt(a, "flipped");
            b = corrupt(b, "flipped");
        }
        _ => match slots.split_once(": ").expect("slot: damage") {
            ("A", how) => a = corrupt(a, how),
            (_, how) => b = corrupt(b, how),
        },
    }
    let mut flash = Flash::in_memory();
    let with_factory = slots.contains("factory good");
    let layout = if with_factory { Layout::TwoSlotsAndFactory } else { Layout::TwoSlots };
    write_layout(&mut flash, layout).expect("a layout");
    program(&mut flash, SLOTS[0].offset, &a).expect("fits");
    program(&mut flash, SLOTS[1].offset, &b).expect("fits");
    if with_factory {
        program(&mut flash, FACTORY.offset, &image(3, CHIP)).expect("fits");
    }
    flash
}

#[test]
fn every_measured_case_is_reproduced() {
    let vectors = include_str!("data/bootloader-vectors.csv");
    let mut boots = 0;
    for line in vectors.lines().skip(1) {
        let fields: Vec<_> = line.split(';').collect();
        let [kind, first, second, slots, expected] = fields[..] else { panic!("five columns: {line}") };
        let rollback = if kind == "on" { Rollback::On } else { Rollback::Off };
        let mut flash = set_up(slots);
        for (index, text) in (0..).zip([first, second]) {
            if let Some(entry) = parse_entry(text) {
                let offset = OTADATA.offset + index * 4096;
                program(&mut flash, offset, &entry.to_bytes()).expect("fits");
            }
        }
        for (nth, expected) in expected.split(" > ").enumerate() {
            let (app, after) = expected.split_once(": ").expect("app: entries");
            let ran = match boot(&mut flash, CHIP, rollback) {
                Ok(Running::Slot(0)) => "A",
                Ok(Running::Slot(_)) => "B",
                Ok(Running::Factory) => "F",
                Err(NoBoot::NoBootableApp) => "NO BOOTABLE APP",
                Err(error) => panic!("{line}: {error}"),
            };
            assert_eq!(ran, app, "boot {nth} of {line}");
            let after: Vec<_> = after.split(" , ").map(str::trim).collect();
            for (index, text) in (0..).zip(&after) {
                let found = read_entry(&mut flash, index);
                assert!(
                    same(found, parse_entry(text), text.contains("BAD")),
                    "entry {index} after boot {nth} of {line}: {found:?}"
                );
            }
            boots += 1;
        }
    }
    println!("{} cases, {boots} boots", vectors.lines().count() - 1);
}
