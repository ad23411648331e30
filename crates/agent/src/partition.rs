//! The partition table as `gen_esp32part.py` writes it: what lies where on this device.
//!
//! Owned here: reading and checking. Nothing is ever written: tables in the field cannot change. A table that
//! does not check out is refused whole, because every write the agent does is relative to it.

use core::fmt;

use embedded_storage::nor_flash::ReadNorFlash;
use heapless::Vec;

use crate::bytes::{are_equal, part, put, word};
use crate::flash::{self, Fault, SECTOR_BYTES};
use crate::md5;

/// Where ESP-IDF puts the table unless it is configured otherwise.
pub const TABLE_OFFSET: u32 = 0x8000;
/// The bootloader reads at most so many bytes of it (`ESP_PARTITION_TABLE_MAX_LEN`).
pub const TABLE_MAX_BYTES: usize = 0xC00;
/// One entry, in bytes.
pub const ENTRY_BYTES: usize = 32;
/// At most so many ota slots (subtypes 0x10 to 0x1f).
pub const SLOTS_MAX: usize = 16;

/// A partition of this name is the agent's own; the field is filled up with NULs.
const LABEL: &[u8] = b"updraft\0";
const ENTRIES_MAX: u32 = (TABLE_MAX_BYTES / ENTRY_BYTES) as u32;
const ENTRY_MAGIC: u16 = 0x50AA;
const MD5_MAGIC: u16 = 0xEBEB;
const TYPE_APP: u8 = 0;
const TYPE_DATA: u8 = 1;
const SUBTYPE_FACTORY: u8 = 0;
const SUBTYPE_OTA: core::ops::Range<u8> = 0x10..0x20;
const SUBTYPE_OTADATA: u8 = 0;
const SUBTYPE_NVS: u8 = 2;

/// A stretch of flash, in bytes; begins and ends at a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// From the start of the flash.
    pub offset: u32,
    /// Its length.
    pub size_bytes: u32,
}

impl Partition {
    /// Where no partition lies: the bootloader does.
    pub(crate) const NOWHERE: Self = Self { offset: 0, size_bytes: 0 };

    /// The first offset behind it.
    pub const fn end(self) -> u32 {
        self.offset + self.size_bytes
    }
}

/// What an update needs to know of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Both otadata sectors.
    pub otadata: Partition,
    /// The slots `ota_0`, `ota_1`, … without gaps; at least two.
    pub slots: Vec<Partition, SLOTS_MAX>,
    /// The factory app, where there is one.
    pub factory: Option<Partition>,
    /// The partition of subtype nvs, where there is one.
    pub nvs: Option<Partition>,
    /// A data partition named `updraft`, where there is one.
    pub updraft: Option<Partition>,
}

/// Why a table was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableError {
    /// The flash did not answer.
    Flash(Fault),
    /// Neither an entry nor the end where one must be.
    NotATable,
    /// The table's own MD5 does not match.
    Digest,
    /// A partition does not lie on sectors, overlaps another, or lies outside the flash.
    Layout,
    /// There is no otadata partition of two sectors.
    NoOtadata,
    /// Fewer than two ota slots, or a gap in their numbers.
    Slots,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(fault) => write!(f, "the partition table cannot be read: {fault}"),
            Self::NotATable => f.write_str("there is no partition table"),
            Self::Digest => f.write_str("the partition table's MD5 does not match it"),
            Self::Layout => {
                f.write_str("the partition table has partitions that overlap or lie outside the flash")
            }
            Self::NoOtadata => f.write_str("the partition table has no otadata partition of two sectors"),
            Self::Slots => {
                f.write_str("the partition table has fewer than two ota slots, or a gap between them")
            }
        }
    }
}

impl core::error::Error for TableError {}

impl Table {
    /// Of a device that was not looked at yet.
    pub(crate) const NONE: Self =
        Self { otadata: Partition::NOWHERE, slots: Vec::new(), factory: None, nvs: None, updraft: None };

    /// Reads the table at [`TABLE_OFFSET`].
    pub fn read<F: ReadNorFlash>(flash: &mut F) -> Result<Self, TableError> {
        let mut table = Self::NONE;
        table.fill(flash)?;
        Ok(table)
    }

    /// As [`Self::read`], in place of [`Self::NONE`]; of no use after an error.
    #[inline(never)]
    pub(crate) fn fill<F: ReadNorFlash>(&mut self, flash: &mut F) -> Result<(), TableError> {
        let mut count = 0;
        while count < ENTRIES_MAX {
            let entry = read_entry(flash, count)?;
            match u16::from_le_bytes([entry[0], entry[1]]) {
                ENTRY_MAGIC => self.add(flash, &entry, count)?,
                // Tables from before ESP-IDF 3.1 have none; where there is one it must be right.
                MD5_MAGIC if are_equal(part(&entry, 16, 16), &digest(flash, count)?) => break,
                MD5_MAGIC => return Err(TableError::Digest),
                0xFFFF => break,
                _ => return Err(TableError::NotATable),
            }
            count += 1;
        }
        if count == 0 {
            return Err(TableError::NotATable);
        }
        if self.slots.len() < 2 || self.slots.contains(&Partition::NOWHERE) {
            return Err(TableError::Slots);
        }
        if (self.otadata.size_bytes as usize) < 2 * SECTOR_BYTES {
            return Err(TableError::NoOtadata);
        }
        Ok(())
    }

    /// Takes the entry of number `count`, if it agrees with those before it. These are read again: to remember them all
    /// would take 768 bytes.
    fn add<F: ReadNorFlash>(
        &mut self,
        flash: &mut F,
        entry: &[u8; ENTRY_BYTES],
        count: u32,
    ) -> Result<(), TableError> {
        let partition = partition_in(entry);
        let Partition { offset, size_bytes } = partition;
        let end = offset.checked_add(size_bytes).ok_or(TableError::Layout)?;
        let capacity = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        if !(offset | size_bytes).is_multiple_of(SECTOR_BYTES as u32) || end > capacity {
            return Err(TableError::Layout);
        }
        for before in 0..count {
            let other = partition_in(&read_entry(flash, before)?);
            if offset < other.end() && other.offset < end {
                return Err(TableError::Layout);
            }
        }
        let (kind, subtype) = (entry[2], entry[3]);
        match (kind, subtype) {
            (TYPE_APP, SUBTYPE_FACTORY) => self.factory = Some(partition),
            (TYPE_APP, slot) if SUBTYPE_OTA.contains(&slot) => {
                let slot = usize::from(slot - SUBTYPE_OTA.start);
                while self.slots.len() <= slot && self.slots.push(Partition::NOWHERE).is_ok() {}
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = partition;
                }
            }
            (TYPE_DATA, SUBTYPE_OTADATA) => self.otadata = partition,
            (TYPE_DATA, _) if entry.get(12..).is_some_and(|label| label.starts_with(LABEL)) => {
                self.updraft = Some(partition);
            }
            (TYPE_DATA, SUBTYPE_NVS) => self.nvs = self.nvs.or(Some(partition)),
            _ => {}
        }
        Ok(())
    }
}

#[inline(never)]
fn read_entry<F: ReadNorFlash>(flash: &mut F, number: u32) -> Result<[u8; ENTRY_BYTES], TableError> {
    let mut entry = [0; ENTRY_BYTES];
    flash::read(flash, TABLE_OFFSET + number * ENTRY_BYTES as u32, &mut entry).map_err(TableError::Flash)?;
    Ok(entry)
}

fn partition_in(entry: &[u8; ENTRY_BYTES]) -> Partition {
    Partition { offset: word(entry, 4), size_bytes: word(entry, 8) }
}

/// MD5 of the first entries; two of them fill a block.
#[inline(never)]
fn digest<F: ReadNorFlash>(flash: &mut F, entries: u32) -> Result<[u8; 16], TableError> {
    let mut state = md5::INITIAL;
    for first in (0..=entries).step_by(2) {
        let mut block = [0; 2 * ENTRY_BYTES];
        let here = ((entries - first) as usize).min(2) * ENTRY_BYTES;
        for number in first..entries.min(first + 2) {
            put(&mut block, (number - first) as usize * ENTRY_BYTES, &read_entry(flash, number)?);
        }
        if here < block.len() {
            // The last one: a mark, and the length in bits.
            put(&mut block, here, &[0x80]);
            put(&mut block, 56, &(entries * 8 * ENTRY_BYTES as u32).to_le_bytes());
        }
        md5::compress(&mut state, &block);
    }
    let mut bytes = [0; 16];
    for (number, word) in state.into_iter().enumerate() {
        put(&mut bytes, 4 * number, &word.to_le_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
