//! The partition table as `gen_esp32part.py` writes it: what lies where on this device.
//!
//! Owned here: reading and checking. Nothing is ever written: tables in the field cannot change. A table that
//! does not check out is refused whole, because every write the agent does is relative to it.

use core::fmt;

use embedded_storage::nor_flash::ReadNorFlash;
use heapless::Vec;
use md5::{Digest, Md5};

use crate::flash::{self, Fault, SECTOR_BYTES};

/// Where ESP-IDF puts the table unless it was told otherwise.
pub const TABLE_OFFSET: u32 = 0x8000;
/// The most the bootloader reads of it, in bytes (`ESP_PARTITION_TABLE_MAX_LEN`).
pub const TABLE_MAX_BYTES: usize = 0xC00;
/// One entry, in bytes.
pub const ENTRY_BYTES: usize = 32;
/// The most ota slots there can be (subtypes 0x10 to 0x1f).
pub const SLOTS_MAX: usize = 16;

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
    pub(crate) const NONE: Self = Self {
        otadata: Partition { offset: 0, size_bytes: 0 },
        slots: Vec::new(),
        factory: None,
        nvs: None,
        updraft: None,
    };

    /// Reads the table at [`TABLE_OFFSET`].
    pub fn read<F: ReadNorFlash>(flash: &mut F) -> Result<Self, TableError> {
        let capacity = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        let mut builder = Builder::default();
        let mut digest = Md5::new();
        let mut bytes = [0; ENTRY_BYTES];
        for at in (0..TABLE_MAX_BYTES as u32).step_by(ENTRY_BYTES) {
            flash::read(flash, TABLE_OFFSET + at, &mut bytes).map_err(TableError::Flash)?;
            match u16::from_le_bytes([bytes[0], bytes[1]]) {
                ENTRY_MAGIC => builder.add(&bytes, capacity)?,
                // Tables from before ESP-IDF 3.1 have none; where there is one it must be right.
                MD5_MAGIC if bytes[16..] == digest.finalize_reset()[..] => break,
                MD5_MAGIC => return Err(TableError::Digest),
                0xFFFF => break,
                _ => return Err(TableError::NotATable),
            }
            digest.update(bytes);
        }
        builder.finish()
    }
}

#[derive(Default)]
struct Builder {
    all: Vec<Partition, { TABLE_MAX_BYTES / ENTRY_BYTES }>,
    slots: [Option<Partition>; SLOTS_MAX],
    otadata: Option<Partition>,
    factory: Option<Partition>,
    nvs: Option<Partition>,
    updraft: Option<Partition>,
}

impl Builder {
    fn add(&mut self, entry: &[u8; ENTRY_BYTES], capacity: u32) -> Result<(), TableError> {
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let (kind, subtype) = (entry[2], entry[3]);
        let partition = Partition { offset: word(4), size_bytes: word(8) };
        let end = partition.offset.checked_add(partition.size_bytes).ok_or(TableError::Layout)?;
        let on_sectors = (partition.offset | partition.size_bytes).is_multiple_of(SECTOR_BYTES as u32);
        let overlaps = self.all.iter().any(|other| partition.offset < other.end() && other.offset < end);
        if !on_sectors || overlaps || end > capacity {
            return Err(TableError::Layout);
        }
        let label = entry[12..28].split(|byte| *byte == 0).next().unwrap_or_default();
        match (kind, subtype) {
            (TYPE_APP, SUBTYPE_FACTORY) => self.factory = Some(partition),
            (TYPE_APP, slot) if SUBTYPE_OTA.contains(&slot) => {
                self.slots[usize::from(slot - SUBTYPE_OTA.start)] = Some(partition);
            }
            (TYPE_DATA, SUBTYPE_OTADATA) => self.otadata = Some(partition),
            (TYPE_DATA, _) if label == b"updraft" => self.updraft = Some(partition),
            (TYPE_DATA, SUBTYPE_NVS) => self.nvs = self.nvs.or(Some(partition)),
            _ => {}
        }
        // The loop that reads entries is bounded by the same number.
        self.all.push(partition).map_err(|_| TableError::NotATable)
    }

    fn finish(self) -> Result<Table, TableError> {
        if self.all.is_empty() {
            return Err(TableError::NotATable);
        }
        let slots: Vec<Partition, SLOTS_MAX> = self.slots.iter().map_while(|slot| *slot).collect();
        if slots.len() < 2 || slots.len() != self.slots.iter().flatten().count() {
            return Err(TableError::Slots);
        }
        let otadata = self
            .otadata
            .filter(|otadata| otadata.size_bytes as usize >= 2 * SECTOR_BYTES)
            .ok_or(TableError::NoOtadata)?;
        Ok(Table { otadata, slots, factory: self.factory, nvs: self.nvs, updraft: self.updraft })
    }
}

#[cfg(test)]
mod tests;
