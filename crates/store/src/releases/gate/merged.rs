//! A picture of a whole flash chip where an application was wanted: what tells that it is one, and how the application
//! is cut out of it.
//!
//! Nothing is hashed to tell it; to find the application at most as many bytes as the file has, whatever its partition
//! table says.

use std::fmt::Write as _;

use cause::{Cause, gate};
use image::{ImageError, Prefix, Verifier};

/// Where partition tables are put: on one of the sectors from the first to the second.
const TABLE_FIRST: usize = 0x8000;
const TABLE_LAST: usize = 0x1_0000;
const SECTOR_BYTES: usize = 0x1000;
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
    /// Where the partition table lies, if there is one.
    table: Option<usize>,
    /// Whether what should be the bootloader is none.
    is_bootloader_corrupt: bool,
}

impl Merged {
    /// Whether bytes that are refused as an image are one. Its bootloader may be corrupt, in any way: then a partition
    /// table that names an application tells it, or the head of an application where one usually lies.
    pub(super) fn find(bytes: &[u8], error: &ImageError) -> Option<Self> {
        if let ImageError::MergedFlashImage { partition_table } = error {
            let table = usize::try_from(*partition_table).ok();
            return Some(Self { table, is_bootloader_corrupt: false });
        }
        let mut places = (TABLE_FIRST..=TABLE_LAST).step_by(SECTOR_BYTES);
        let table = places.find(|place| is_table(bytes, *place));
        let is_merged = table.is_some() || is_app_head(bytes, APP_OFFSET);
        is_merged.then_some(Self { table, is_bootloader_corrupt: true })
    }

    /// What it is, and the command that cuts the application out of it. `file` is what the person calls it.
    pub(super) fn cause(&self, bytes: &[u8], file: Option<&str>) -> Cause {
        let mut budget = bytes.len();
        let found = self.table.and_then(|table| application(bytes, table, &mut budget));
        let is_guessed = found.is_none();
        let (offset, length) = match found {
            Some((offset, length)) => (offset, Some(length)),
            None => (APP_OFFSET, length_at(bytes, APP_OFFSET, &mut budget)),
        };
        let file = quoted(file.unwrap_or("merged.bin"));
        // `tail` counts from 1; both programs are on every system that builds for these chips but Windows without a shell.
        let mut command = format!("tail -c +{} {file}", offset + 1);
        if let Some(length) = length {
            let _ = write!(command, " | head -c {length}");
        }
        gate::MERGED_IMAGE
            .with("table", self.table.map(|table| format!("0x{table:x}")))
            .with("offset", format!("0x{offset:x}"))
            .with("guessed", is_guessed.then_some("yes"))
            .with("command", command)
            .with("corrupt", self.is_bootloader_corrupt.then_some("yes"))
    }
}

/// The entries of the partition table that begins there.
fn entries(bytes: &[u8], table: usize) -> impl Iterator<Item = &[u8; ENTRY_BYTES]> {
    let (entries, _) = bytes.get(table..).unwrap_or_default().as_chunks::<ENTRY_BYTES>();
    entries.iter().take(ENTRIES_MAX).take_while(|entry| entry.starts_with(&ENTRY_MAGIC))
}

/// Where the applications' partitions of a table begin.
fn apps(bytes: &[u8], table: usize) -> impl Iterator<Item = usize> {
    entries(bytes, table).filter(|entry| entry[2] == 0).take(APPS_MAX).filter_map(|entry| {
        usize::try_from(u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]])).ok()
    })
}

/// Whether a partition table with an application begins there, rather than an application's own data: each entry lies
/// behind the table and begins a sector.
fn is_table(bytes: &[u8], table: usize) -> bool {
    let is_plausible = |entry: &[u8; ENTRY_BYTES]| {
        let offset = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]) as usize;
        let label = entry[12..28].split(|byte| *byte == 0).next().unwrap_or_default();
        offset > table && offset.is_multiple_of(SECTOR_BYTES) && label.iter().all(u8::is_ascii_graphic)
    };
    apps(bytes, table).next().is_some() && entries(bytes, table).all(is_plausible)
}

/// Whether an application begins there: a header, and behind it an application's descriptor.
fn is_app_head(bytes: &[u8], offset: usize) -> bool {
    let head = bytes.get(offset..).map(Prefix::parse);
    matches!(head, Some(Ok(Prefix { descriptor: Some(_), .. })))
}

/// Where the first sound application lies that the partition table names, and how long it is.
fn application(bytes: &[u8], table: usize, budget: &mut usize) -> Option<(usize, u32)> {
    apps(bytes, table).find_map(|offset| Some((offset, length_at(bytes, offset, budget)?)))
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
