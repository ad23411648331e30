//! ESP-IDF's second-stage bootloader, as far as it decides what runs.
//!
//! Measured on two real bootloaders; `tests/data/bootloader-vectors.csv` holds every case seen. Its own writes
//! go through the same flash, so the power can be cut in the middle of them too. It shares with the agent what an
//! entry and an image are, and none of the decisions.

use agent::flash::SECTOR_BYTES;
use agent::otadata::{Entry, Running, State, crc_of};
use agent::partition::{Partition, Table, TableError};
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use image::{Chip, Verifier};

use crate::flash::{Flash, FlashError};

/// How the bootloader was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// `CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE=y`.
    On,
    /// As espflash carries it.
    Off,
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum NoBoot {
    /// The flash failed, as it does when the power is cut.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// There is no partition table.
    #[error(transparent)]
    Table(TableError),
    /// No slot holds an image that verifies.
    #[error("no bootable app")]
    NoBootableApp,
}

/// Boots once: chooses a slot, writes what a bootloader writes, and says what runs.
pub fn boot(flash: &mut Flash, chip: Chip, rollback: Rollback) -> Result<Running, NoBoot> {
    let table = Table::read(flash).map_err(NoBoot::Table)?;
    let slots = table.slots.len() as u8;
    let mut entries = [read_entry(flash, &table, 0)?, read_entry(flash, &table, 1)?];
    let blank = entries.iter().all(|entry| entry.seq == u32::MAX);
    if rollback == Rollback::On {
        for (index, entry) in entries.iter_mut().enumerate() {
            if entry.state == State::PendingVerify {
                entry.state = State::Aborted;
                write_entry(flash, &table, index, *entry)?;
            }
        }
    }
    let start = match active(&entries) {
        Some(index) => {
            if rollback == Rollback::On && entries[index].state == State::New {
                entries[index].state = State::PendingVerify;
                write_entry(flash, &table, index, entries[index])?;
            }
            Running::Slot(entries[index].slot(slots))
        }
        None if table.factory.is_some() => Running::Factory,
        None => Running::Slot(0),
    };
    let chosen = search(flash, &table, chip, start)?;
    if let (true, Running::Slot(slot)) = (blank, chosen) {
        write_entry(flash, &table, 0, Entry::new(u32::from(slot) + 1, State::Valid))?;
    }
    Ok(chosen)
}

/// Down from the chosen slot to ota_0, the factory app, then up from behind the chosen one; states are ignored.
fn search(flash: &mut Flash, table: &Table, chip: Chip, start: Running) -> Result<Running, NoBoot> {
    let first = match start {
        Running::Factory => None,
        Running::Slot(slot) => Some(slot),
    };
    let down = first.into_iter().flat_map(|first| (0..=first).rev()).map(Running::Slot);
    let up = (first.map_or(0, |first| first + 1)..table.slots.len() as u8).map(Running::Slot);
    for candidate in down.chain([Running::Factory]).chain(up) {
        let partition = match candidate {
            Running::Factory => table.factory,
            Running::Slot(slot) => Some(table.slots[usize::from(slot)]),
        };
        if let Some(partition) = partition
            && is_bootable(flash, partition, chip)?
        {
            return Ok(candidate);
        }
    }
    Err(NoBoot::NoBootableApp)
}

fn is_bootable(flash: &mut Flash, slot: Partition, chip: Chip) -> Result<bool, FlashError> {
    let mut verifier = Verifier::in_slot();
    let mut chunk = [0; SECTOR_BYTES];
    for offset in (slot.offset..slot.end()).step_by(SECTOR_BYTES) {
        flash.read(offset, &mut chunk)?;
        if verifier.push(&chunk).is_err()
            || verifier.header().is_some_and(|header| header.chip() != Some(chip))
        {
            return Ok(false);
        }
        if !verifier.wants_more() {
            break;
        }
    }
    Ok(verifier.finish().is_ok())
}

fn active(entries: &[Entry; 2]) -> Option<usize> {
    let usable = entries.each_ref().map(|entry| {
        entry.seq != u32::MAX
            && entry.crc == crc_of(entry.seq)
            && !matches!(entry.state, State::Invalid | State::Aborted)
    });
    match usable {
        [true, true] => Some(usize::from(entries[1].seq > entries[0].seq)),
        [true, false] => Some(0),
        [false, true] => Some(1),
        [false, false] => None,
    }
}

fn read_entry(flash: &mut Flash, table: &Table, index: usize) -> Result<Entry, FlashError> {
    let mut bytes = [0; 32];
    flash.read(table.otadata.offset + (index * SECTOR_BYTES) as u32, &mut bytes)?;
    Ok(Entry::parse(&bytes))
}

fn write_entry(flash: &mut Flash, table: &Table, index: usize, entry: Entry) -> Result<(), FlashError> {
    let offset = table.otadata.offset + (index * SECTOR_BYTES) as u32;
    flash.erase(offset, offset + SECTOR_BYTES as u32)?;
    flash.write(offset, &entry.to_bytes())
}
