use image::Chip;
use image::build::Build;

use super::*;

fn app() -> Vec<u8> {
    Build { size_bytes: 100_000, ..Build::new(Chip::Esp32S3, "1.1.0") }.bytes()
}

/// What takes the bootloader's place: it ends before the partition table begins.
fn bootloader() -> Vec<u8> {
    Build { size_bytes: 16_384, ..Build::new(Chip::Esp32S3, "1.0.0") }.bytes()
}

fn entry(kind: u8, offset: usize) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..4].copy_from_slice(&[0xAA, 0x50, kind, 0x10]);
    entry[4..8].copy_from_slice(&u32::try_from(offset).expect("small").to_le_bytes());
    entry[12..17].copy_from_slice(b"ota_0");
    entry
}

/// A bootloader, a partition table at 0x8000 that names these places of
/// applications, and an application at each.
fn flash(places: &[usize]) -> Vec<u8> {
    let mut flash = bootloader();
    flash.resize(0x40_0000, 0xFF);
    let mut entries = vec![entry(1, 0x9000)];
    entries.extend(places.iter().map(|place| entry(0, *place)));
    for (index, entry) in entries.iter().enumerate() {
        flash[0x8000 + index * ENTRY_BYTES..][..ENTRY_BYTES].copy_from_slice(entry);
    }
    for place in places {
        flash[*place..][..app().len()].copy_from_slice(&app());
    }
    flash
}

/// What is said of these bytes, which are refused.
fn said(bytes: &[u8]) -> Option<String> {
    let error = image::verify(bytes).expect_err("refused");
    Merged::find(bytes, &error).map(|merged| merged.cause(bytes, Some("merged.bin")).sentence())
}

#[test]
fn a_merged_image_is_named_whatever_is_wrong_with_its_bootloader() {
    let whole = flash(&[0x2_0000]);
    let cut = format!("0x20000: `tail -c +131073 merged.bin | head -c {} > firmware.bin`", app().len());
    let good = said(&whole).expect("merged");
    assert!(good.contains("partition table at 0x8000") && good.ends_with(&cut), "{good}");
    // First byte, segment count, a segment's length, its data, the digest behind it; all of it; none of it.
    let digest = bootloader().len() - 1;
    for (from, to, with) in [
        (0, 1, 0x00),
        (1, 2, 0x00),
        (1, 2, 0x77),
        (29, 32, 0x7F),
        (30, 31, 0x08),
        (400, 401, 0x55),
        (digest, digest + 1, 0x55),
        (0, 0x8000, 0x00),
        (12, 14, 0x77),
    ] {
        let mut bytes = whole.clone();
        bytes[from..to].fill(with);
        let sentence = said(&bytes).unwrap_or_else(|| panic!("{from}..{to} with {with:#x} is not told"));
        assert!(sentence.contains(&cut) && sentence.contains("partition table at 0x8000"), "{sentence}");
    }
    let mut bytes = whole;
    bytes[400] ^= 1;
    let sentence = said(&bytes).expect("merged");
    assert!(sentence.ends_with("; what it begins with, the bootloader, is damaged"), "{sentence}");
}

/// The entries of a table, and applications where they say.
fn with_table(mut flash: Vec<u8>, table: usize, base: usize, parts: &[(u8, usize)]) -> Vec<u8> {
    for (index, (subtype, place)) in parts.iter().enumerate() {
        let mut entry = entry(0, *place);
        entry[3] = *subtype;
        flash[table + index * ENTRY_BYTES..][..ENTRY_BYTES].copy_from_slice(&entry);
        flash[place - base..][..app().len()].copy_from_slice(&app());
    }
    flash
}

#[test]
fn a_table_is_found_wherever_esp_idf_puts_it() {
    let cut = |at: usize| format!("0x{at:x}: `tail -c +{} merged.bin | head -c {} >", at + 1, app().len());
    // At 0x8000 and moved; whole, from the bootloader's place of an ESP32 on, and from that of an ESP32-P4.
    for place in [0x8000, 0x9000, 0xC000, 0x1_0000, 0x2_0000, 0x3_F000] {
        for base in [0, 0x1000, 0x2000] {
            let (mut flash, app_at) = (bootloader(), place.max(0x1_0000) + 0x1_0000);
            flash.resize(0x10_0000, 0xFF);
            let flash = with_table(flash, place - base, base, &[(0x10, app_at)]);
            let sentence = said(&flash).unwrap_or_else(|| panic!("{place:#x} from {base:#x}"));
            assert!(sentence.contains(&cut(app_at - base)), "{place:#x} from {base:#x}: {sentence}");
            assert!(!sentence.contains("damaged"), "{sentence}");
        }
    }
    // An ESP32's, whose bootloader lies at 0x1000 behind erased flash.
    let mut flash = vec![0xFF; 0x1000];
    flash.extend(bootloader());
    flash.resize(0x10_0000, 0xFF);
    let sentence = said(&with_table(flash, 0x8000, 0, &[(0x10, 0x1_0000)])).expect("merged");
    assert!(sentence.contains(&cut(0x1_0000)) && !sentence.contains("damaged"), "{sentence}");
}

#[test]
fn of_several_applications_each_is_named_and_that_of_a_slot_is_cut_out() {
    let mut flash = bootloader();
    flash.resize(0x10_0000, 0xFF);
    let flash = with_table(flash, 0x8000, 0, &[(0x00, 0x1_0000), (0x11, 0x8_0000), (0x10, 0x4_0000)]);
    let sentence = said(&flash).expect("merged");
    let length = grouped(app().len() as u64);
    for part in [
        "factory at 0x10000",
        "ota_1 at 0x80000",
        "ota_0 at 0x40000",
        "brings, ota_0, which lies at 0x40000",
        &length,
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    // Slots that are erased hold none.
    let mut flash = flash;
    flash[0x4_0000..].fill(0xFF);
    let sentence = said(&flash).expect("merged");
    assert!(sentence.contains("which lies at 0x10000: ") && !sentence.contains("ota_"), "{sentence}");
}

#[test]
fn without_a_table_the_head_of_an_application_tells_it() {
    let mut bytes = flash(&[0x1_0000]);
    bytes[..0x9000].fill(0);
    let sentence = said(&bytes).expect("merged");
    let cut = format!(
        "0x10000, if the application lies where it usually does: `tail -c +65537 merged.bin | head -c {} >",
        app().len()
    );
    assert!(sentence.contains("(bootloader, application)") && sentence.contains(&cut), "{sentence}");
}

#[test]
fn a_corrupt_application_is_not_taken_for_a_merged_image() {
    let good = app();
    for at in [1, 30, 100, 40_000, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        assert_eq!(said(&bytes), None, "corrupt at {at}");
    }
    // Nor for two bytes that happen to stand where a table would.
    for place in (TABLE_FIRST..good.len() - 2).step_by(SECTOR_BYTES) {
        let mut bytes = good.clone();
        bytes[place..place + 2].copy_from_slice(&ENTRY_MAGIC);
        assert_eq!(said(&bytes), None, "a magic at {place:#x}");
        bytes[place + 2] = 0;
        assert_eq!(said(&bytes), None, "an application's entry at {place:#x}");
    }
    assert_eq!(said(&good[..good.len() - 100]), None);
}

#[test]
fn a_table_of_overlapping_applications_is_read_no_longer_than_the_file() {
    // Each place holds the beginning of an image that goes on to the end of the file, and is not sound.
    let length = 0x20_0000;
    let places: Vec<usize> = (0..APPS_MAX).map(|index| 0x1_0000 + index * SECTOR_BYTES).collect();
    let mut bytes = flash(&places[..1]);
    bytes.truncate(length);
    for (index, place) in places.iter().enumerate() {
        bytes[0x8000 + index * ENTRY_BYTES..][..ENTRY_BYTES].copy_from_slice(&entry(0, *place));
        let mut head = app();
        head.truncate(32);
        let left = u32::try_from(length - place - 64).expect("small");
        head[1] = 1;
        head[28..32].copy_from_slice(&left.to_le_bytes());
        bytes[*place..*place + 32].copy_from_slice(&head);
    }
    let mut budget = bytes.len();
    assert!(whole(&bytes, 0x8000, 0, &mut budget).is_empty());
    assert!(budget < SECTOR_BYTES * APPS_MAX * 2, "what is left was not enough for the next: {budget}");
    assert!(said(&bytes).expect("merged").contains("if the application lies where it usually does"));
}
