//! A picture of a whole flash chip where an application was wanted: what tells that it is one, and how the application
//! is cut out of it.
//!
//! Nothing is hashed to tell it; to find the application at most as many bytes as the file has, whatever its partition
//! table says.

use std::fmt::Write as _;

use cause::{Cause, gate, grouped};
use image::{ImageError, Prefix, Verifier};

/// Where partition tables are looked for: on every sector of the first 256 KiB. ESP-IDF puts them at 0x8000 unless it is told
/// otherwise, and the file may begin where the bootloader does.
const TABLE_FIRST: usize = 0x1000;
const TABLE_LAST: usize = 0x4_0000;
const TABLE_USUAL: usize = 0x8000;
const SECTOR_BYTES: usize = 0x1000;
/// Where bootloaders lie in the flash chip, and files begin that are merged from there on.
const BASES: [usize; 3] = [0, 0x1000, 0x2000];
/// The application's place where nobody says another one (ESP-IDF's default partition table).
const APP_OFFSET: usize = 0x1_0000;
/// One entry of a partition table, of which there are at most 95 (`gen_esp32part.py`).
const ENTRY_BYTES: usize = 32;
const ENTRIES_MAX: usize = 95;
/// Of which so many can be applications: factory, sixteen slots, test.
const APPS_MAX: usize = 18;
const ENTRY_MAGIC: [u8; 2] = [0xAA, 0x50];

/// A picture of a flash chip, by what was found in it.
pub(super) struct Merged {
    /// Where the partition table lies in the file, if there is one.
    table: Option<usize>,
    /// Which place of the flash chip the file begins with.
    base: usize,
    /// Whether what should be the bootloader is none.
    is_bootloader_corrupt: bool,
}

/// An application's partition.
struct App {
    name: String,
    /// In the file.
    offset: usize,
}

impl Merged {
    /// Whether bytes that are refused as an image are one. Its bootloader may be corrupt, in any way: then a partition
    /// table that names an application tells it, or the head of an application where one usually lies.
    pub(super) fn find(bytes: &[u8], error: &ImageError) -> Option<Self> {
        let mut places = (TABLE_FIRST..=TABLE_LAST).step_by(SECTOR_BYTES);
        let found = places.find_map(|place| Some((place, base_of(bytes, place)?)));
        if let Some((table, base)) = found {
            let is_whole = matches!(
                error,
                ImageError::MergedFlashImage { .. }
                    | ImageError::NotAnApplication
                    | ImageError::TrailingBytes { .. }
                    | ImageError::NotAnImage { first_byte: 0xFF }
            );
            return Some(Self { table: Some(table), base, is_bootloader_corrupt: !is_whole });
        }
        if let ImageError::MergedFlashImage { partition_table } = error {
            let table = usize::try_from(*partition_table).ok();
            return Some(Self { table, base: 0, is_bootloader_corrupt: false });
        }
        let base = BASES.into_iter().find(|base| is_app_head(bytes, APP_OFFSET - base))?;
        Some(Self { table: None, base, is_bootloader_corrupt: true })
    }

    /// What it is, which applications are in it, and the command that cuts the one out that an update brings. `file` is what
    /// the person calls it.
    pub(super) fn cause(&self, bytes: &[u8], file: Option<&str>) -> Cause {
        let mut budget = bytes.len();
        let whole = self.table.map_or_else(Vec::new, |table| whole(bytes, table, self.base, &mut budget));
        // An update goes into a slot; what has none is updated by nobody.
        let chosen = whole.iter().min_by_key(|(app, _)| (!app.name.starts_with("ota_"), app.offset));
        let (offset, length) = match chosen {
            Some((app, length)) => (app.offset, Some(*length)),
            None => {
                let offset = APP_OFFSET - self.base;
                (offset, length_at(bytes, offset, &mut budget))
            }
        };
        let said = |(app, length): &(App, u32)| {
            format!("{} at 0x{:x} with {} bytes", app.name, app.offset, grouped(u64::from(*length)))
        };
        let several: Vec<String> = whole.iter().filter(|_| whole.len() > 1).map(said).collect();
        let name = chosen.filter(|_| whole.len() > 1).map(|(app, _)| app.name.as_str());
        let file = quoted(file.unwrap_or("merged.bin"));
        // `tail` counts from 1; both programs are on every system that builds for these chips but Windows without a shell.
        let mut command = format!("tail -c +{} {file}", offset + 1);
        if let Some(length) = length {
            let _ = write!(command, " | head -c {length}");
        }
        gate::MERGED_IMAGE
            .with("table", self.table.map(|table| format!("0x{table:x}")))
            .with("applications", several)
            .with("name", name)
            .with("offset", format!("0x{offset:x}"))
            .with("guessed", chosen.is_none().then_some("yes"))
            .with("command", command)
            .with("corrupt", self.is_bootloader_corrupt.then_some("yes"))
    }
}

/// The entries of the partition table that begins there.
fn entries(bytes: &[u8], table: usize) -> impl Iterator<Item = &[u8; ENTRY_BYTES]> {
    let (entries, _) = bytes.get(table..).unwrap_or_default().as_chunks::<ENTRY_BYTES>();
    entries.iter().take(ENTRIES_MAX).take_while(|entry| entry.starts_with(&ENTRY_MAGIC))
}

/// Where a partition begins in the flash chip.
fn place_of(entry: &[u8; ENTRY_BYTES]) -> usize {
    u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]) as usize
}

/// The applications' partitions of a table, in a file that begins with this place of the flash chip.
fn apps(bytes: &[u8], table: usize, base: usize) -> impl Iterator<Item = App> {
    let apps = entries(bytes, table).filter(|entry| entry[2] == 0).take(APPS_MAX);
    apps.filter_map(move |entry| {
        let name = match entry[3] {
            0 => "factory".to_owned(),
            slot @ 0x10..=0x1F => format!("ota_{}", slot - 0x10),
            0x20 => "test".to_owned(),
            other => format!("application 0x{other:02x}"),
        };
        Some(App { name, offset: place_of(entry).checked_sub(base)? })
    })
}

/// Those that hold a sound application, and how long it is.
fn whole(bytes: &[u8], table: usize, base: usize, budget: &mut usize) -> Vec<(App, u32)> {
    let apps = apps(bytes, table, base);
    apps.filter_map(|app| length_at(bytes, app.offset, budget).map(|length| (app, length))).collect()
}

/// Which place of the flash chip the file begins with, if a partition table with an application begins at `table`, rather than
/// an application's own data: each entry lies behind the table and begins a sector. Where the head of an application lies tells
/// the place; else that the table lies where it usually does.
fn base_of(bytes: &[u8], table: usize) -> Option<usize> {
    let is_plausible = |entry: &[u8; ENTRY_BYTES]| {
        let offset = place_of(entry);
        let label = entry[12..28].split(|byte| *byte == 0).next().unwrap_or_default();
        offset > table && offset.is_multiple_of(SECTOR_BYTES) && label.iter().all(u8::is_ascii_graphic)
    };
    let is_table = apps(bytes, table, 0).next().is_some() && entries(bytes, table).all(is_plausible);
    if !is_table {
        return None;
    }
    let tells = |base: &usize| apps(bytes, table, *base).any(|app| is_app_head(bytes, app.offset));
    let usual = BASES.into_iter().find(|base| table + base == TABLE_USUAL);
    Some(BASES.into_iter().find(tells).or(usual).unwrap_or(0))
}

/// Whether an application begins there: a header, and behind it an application's descriptor.
fn is_app_head(bytes: &[u8], offset: usize) -> bool {
    let head = bytes.get(offset..).map(Prefix::parse);
    matches!(head, Some(Ok(Prefix { descriptor: Some(_), .. })))
}

/// How long the image is that begins there, if there is a sound one that is not longer than `budget`, from which what was
/// read is taken.
fn length_at(bytes: &[u8], offset: usize, budget: &mut usize) -> Option<u32> {
    let mut verifier = Verifier::in_slot();
    let pieces = bytes.get(offset..)?.chunks(SECTOR_BYTES);
    for piece in pieces {
        if !verifier.wants_more() {
            break;
        }
        *budget = budget.checked_sub(piece.len())?;
        verifier.push(piece).ok()?;
    }
    verifier.finish().ok().map(|summary| summary.total_bytes)
}

/// A file's name as a shell takes it.
fn quoted(file: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if !file.is_empty() && !file.starts_with('-') && file.chars().all(plain) {
        return file.to_owned();
    }
    format!("'{}'", file.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
