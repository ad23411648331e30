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

/// Where `esp_app_desc_t` lies in an image, and what it begins with (esp_app_desc.h).
const DESCRIPTOR_AT: u32 = 0x20;
const DESCRIPTOR_MAGIC: u32 = 0xABCD_5432;

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

/// Boots once with a bootloader that knows no anti-rollback; see [`Bootloader::boot`].
pub fn boot(flash: &mut Flash, chip: Chip, rollback: Rollback) -> Result<Running, NoBoot> {
    Bootloader { chip, rollback, secure_version: None }.boot(flash)
}

/// A bootloader and the eFuses it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootloader {
    /// Images for others are passed over.
    pub chip: Chip,
    /// Whether it gives new images one boot to confirm themselves.
    pub rollback: Rollback,
    /// The secure version in eFuse, where it was built with `CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK` (which excludes a
    /// factory app): images below it do not boot, and a confirmed image raises it for good. Read in
    /// bootloader_utility.c, not measured.
    pub secure_version: Option<u32>,
}

impl Bootloader {
    /// Boots once: chooses a slot, writes what a bootloader writes, and says what runs. A wake from deep sleep is a boot
    /// like any other, and takes an image that is not confirmed yet for one that failed.
    pub fn boot(&mut self, flash: &mut Flash) -> Result<Running, NoBoot> {
        let table = Table::read(flash).map_err(NoBoot::Table)?;
        let slots = table.slots.len() as u8;
        let mut entries = [read_entry(flash, &table, 0)?, read_entry(flash, &table, 1)?];
        let initial = table.factory.is_none() && entries.iter().all(|entry| entry.seq == u32::MAX);
        if self.rollback == Rollback::On {
            for (index, entry) in entries.iter_mut().enumerate() {
                if entry.state == State::PendingVerify {
                    entry.state = State::Aborted;
                    write_entry(flash, &table, index, *entry)?;
                }
            }
        }
        let start = match self.active(flash, &table, &entries)? {
            Some(index) => {
                let slot = entries[index].slot(slots);
                if self.rollback == Rollback::On && entries[index].state == State::New {
                    entries[index].state = State::PendingVerify;
                    write_entry(flash, &table, index, entries[index])?;
                }
                if entries[index].state == State::Valid {
                    self.raise_secure_version(flash, table.slots[usize::from(slot)])?;
                }
                Running::Slot(slot)
            }
            None if table.factory.is_some() => Running::Factory,
            None => Running::Slot(0),
        };
        let chosen = self.search(flash, &table, start)?;
        if let (true, Running::Slot(slot)) = (initial, chosen) {
            write_entry(flash, &table, 0, Entry::new(u32::from(slot) + 1, State::Valid))?;
            self.raise_secure_version(flash, table.slots[usize::from(slot)])?;
        }
        Ok(chosen)
    }

    fn active(
        &self,
        flash: &mut Flash,
        table: &Table,
        entries: &[Entry; 2],
    ) -> Result<Option<usize>, FlashError> {
        let mut usable = [false; 2];
        for (usable, entry) in usable.iter_mut().zip(entries) {
            *usable = is_whole(entry) && !matches!(entry.state, State::Invalid | State::Aborted) && {
                let slot = entry.slot(table.slots.len() as u8);
                self.is_new_enough(flash, table.slots[usize::from(slot)])?
            };
        }
        Ok(match usable {
            [true, true] => Some(usize::from(entries[1].seq > entries[0].seq)),
            [true, false] => Some(0),
            [false, true] => Some(1),
            [false, false] => None,
        })
    }

    fn is_new_enough(&self, flash: &mut Flash, slot: Partition) -> Result<bool, FlashError> {
        let Some(least) = self.secure_version else { return Ok(true) };
        Ok(secure_version_in(flash, slot)?.is_some_and(|version| version >= least))
    }

    fn raise_secure_version(&mut self, flash: &mut Flash, slot: Partition) -> Result<(), FlashError> {
        if let Some(least) = self.secure_version {
            self.secure_version = secure_version_in(flash, slot)?.max(Some(least));
        }
        Ok(())
    }

    /// Down from the chosen slot to ota_0, the factory app, then up from behind the chosen one; states are ignored.
    fn search(&self, flash: &mut Flash, table: &Table, start: Running) -> Result<Running, NoBoot> {
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
                && self.is_new_enough(flash, partition)?
                && is_bootable(flash, partition, self.chip)?
            {
                return Ok(candidate);
            }
        }
        Err(NoBoot::NoBootableApp)
    }
}

/// What the app descriptor says, read from its fixed place without regard to the rest of the image.
fn secure_version_in(flash: &mut Flash, slot: Partition) -> Result<Option<u32>, FlashError> {
    let mut bytes = [0; 8];
    flash.read(slot.offset + DESCRIPTOR_AT, &mut bytes)?;
    let [magic, version] = [0, 4].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte])));
    Ok((magic == DESCRIPTOR_MAGIC).then_some(version))
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

fn is_whole(entry: &Entry) -> bool {
    entry.seq != u32::MAX && entry.crc == crc_of(entry.seq)
}

fn read_entry(flash: &mut Flash, table: &Table, index: usize) -> Result<Entry, FlashError> {
    let mut bytes = [0; 32];
    flash.read(table.otadata.offset + (index * SECTOR_BYTES) as u32, &mut bytes)?;
    Ok(Entry::parse(&bytes))
}

fn write_entry(flash: &mut Flash, table: &Table, index: usize, entry: Entry) -> Result<(), FlashError> {
    let offset = table.otadata.offset + (index * SECTOR_BYTES) as u32;
    flash.erase(offset, offset + SECTOR_BYTES as u32)?;
    flash.write_by_bootloader(offset, &entry.to_bytes())
}
