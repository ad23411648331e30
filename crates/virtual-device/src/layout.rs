//! What lies where on the flash of a virtual device, and flashing it at the factory.

use agent::Agent;
use agent::partition::{Partition, TABLE_OFFSET};
use contract::Version;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use image::Summary;

use crate::flash::{Flash, SECTOR_BYTES};

/// `ESP_PARTITION_SUBTYPE_DATA_UNDEFINED`.
const SUBTYPE_UNDEFINED: u8 = 6;

/// Both otadata sectors.
pub const OTADATA: Partition = Partition { offset: 0xF000, size_bytes: 0x2000 };
/// The settings, where the table has an `updraft` partition behind them.
pub const NVS: Partition = Partition { offset: 0x9000, size_bytes: 0x4000 };
/// The settings in tables that know nothing of Updraft, as ESP-IDF's own examples have them.
pub const NVS_ALONE: Partition = Partition { offset: 0x9000, size_bytes: 0x6000 };
/// The agent's record.
pub const UPDRAFT: Partition = Partition { offset: 0xD000, size_bytes: 0x2000 };
/// `ota_0` and `ota_1`; the largest that a module with 4 MiB has room for.
pub const SLOTS: [Partition; 2] = [
    Partition { offset: 0x2_0000, size_bytes: 0x1E_0000 },
    Partition { offset: 0x20_0000, size_bytes: 0x1E_0000 },
];
/// `ota_0` to `ota_2`, in layouts that have three.
pub const THREE_SLOTS: [Partition; 3] = [
    Partition { offset: 0x2_0000, size_bytes: 0x10_0000 },
    Partition { offset: 0x12_0000, size_bytes: 0x10_0000 },
    Partition { offset: 0x22_0000, size_bytes: 0x10_0000 },
];
/// A factory app, in layouts that have one.
pub const FACTORY: Partition = Partition { offset: 0x3E_0000, size_bytes: 0x2_0000 };

/// What partitions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Two slots, settings and the agent's own partition.
    TwoSlots,
    /// The same and a small factory app at the end.
    TwoSlotsAndFactory,
    /// The same with three slots and no factory app.
    ThreeSlots,
    /// The first one, with the flag that has the agent's own partition encrypted where flash is.
    TwoSlotsFlagged,
    /// Two slots and settings: a table from before there was an agent.
    WithoutUpdraft,
    /// Two slots and nowhere to keep anything.
    Bare,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TwoSlots,
        Self::TwoSlotsAndFactory,
        Self::ThreeSlots,
        Self::TwoSlotsFlagged,
        Self::WithoutUpdraft,
        Self::Bare,
    ];

    /// `ota_0`, `ota_1`, …
    pub const fn slots(self) -> &'static [Partition] {
        match self {
            Self::ThreeSlots => &THREE_SLOTS,
            _ => &SLOTS,
        }
    }

    /// The settings.
    pub const fn nvs(self) -> Option<Partition> {
        match self {
            Self::WithoutUpdraft => Some(NVS_ALONE),
            Self::Bare => None,
            _ => Some(NVS),
        }
    }

    /// The agent's own partition.
    pub const fn updraft(self) -> Option<Partition> {
        match self {
            Self::WithoutUpdraft | Self::Bare => None,
            _ => Some(UPDRAFT),
        }
    }
}

/// Writes the bootloader's magic where chips look for it, and the partition table with its MD5.
pub fn write_layout(flash: &mut Flash, layout: Layout) -> Result<(), crate::flash::FlashError> {
    // The bootloader itself is `crate::bootloader`; what lies here only marks the place.
    let mut mark = [0xFF; 256];
    mark[0] = 0xE9;
    mark[16..47].copy_from_slice(b"a virtual device's bootloader \0");
    program(flash, 0, &mark)?;
    let mut table = Vec::new();
    let mut add = |kind: u8, subtype: u8, partition: Partition, label: &str, encrypted: bool| {
        let mut entry = [0; 32];
        entry[..4].copy_from_slice(&[0xAA, 0x50, kind, subtype]);
        entry[4..8].copy_from_slice(&partition.offset.to_le_bytes());
        entry[8..12].copy_from_slice(&partition.size_bytes.to_le_bytes());
        entry[12..12 + label.len()].copy_from_slice(label.as_bytes());
        entry[28] = u8::from(encrypted);
        table.extend_from_slice(&entry);
    };
    if let Some(nvs) = layout.nvs() {
        add(1, 2, nvs, "nvs", false);
    }
    if let Some(updraft) = layout.updraft() {
        add(1, SUBTYPE_UNDEFINED, updraft, "updraft", layout == Layout::TwoSlotsFlagged);
    }
    add(1, 0, OTADATA, "otadata", false);
    for (nth, slot) in (0..).zip(layout.slots()) {
        add(0, 0x10 + nth, *slot, &format!("ota_{nth}"), false);
    }
    if layout == Layout::TwoSlotsAndFactory {
        add(0, 0, FACTORY, "factory", false);
    }
    let digest = <md5::Md5 as md5::Digest>::digest(&table);
    table.extend_from_slice(&[0xEB, 0xEB]);
    table.extend_from_slice(&[0xFF; 14]);
    table.extend_from_slice(&digest);
    program(flash, TABLE_OFFSET, &table)
}

/// Erases what it needs and writes bytes, as a flashing tool does; the end is padded.
pub fn program(flash: &mut Flash, offset: u32, bytes: &[u8]) -> Result<(), crate::flash::FlashError> {
    let end = offset + (bytes.len() as u32).next_multiple_of(SECTOR_BYTES as u32);
    flash.erase(offset, end)?;
    let mut padded = bytes.to_vec();
    // Encrypted flash is written 16 bytes at a time.
    padded.resize(bytes.len().next_multiple_of(16), 0xFF);
    flash.write(offset, &padded)
}

/// A device as it leaves the factory: layout, and an image in `ota_0`; its version is remembered if given.
pub fn provision(
    flash: &mut Flash,
    firmware: &[u8],
    summary: &Summary,
    version: Option<&Version>,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        firmware.len() <= SLOTS[0].size_bytes as usize,
        "the image has {} bytes, and a slot only {}",
        firmware.len(),
        SLOTS[0].size_bytes
    );
    write_layout(flash, Layout::TwoSlots)?;
    program(flash, SLOTS[0].offset, firmware)?;
    if let Some(version) = version {
        Agent::remember(flash, |record| record.remember_version(summary.sha256, version.clone()))
            .map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(())
}

/// The bytes of a slot, for tests and observers.
pub fn slot_bytes(flash: &mut Flash, slot: u8, length: usize) -> Result<Vec<u8>, crate::flash::FlashError> {
    let mut bytes = vec![0; length];
    flash.read(SLOTS[usize::from(slot)].offset, &mut bytes)?;
    Ok(bytes)
}
