//! What lies where on the flash of a virtual device, and flashing it at the factory.

use agent::Agent;
use agent::partition::{Partition, TABLE_OFFSET};
use contract::Version;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use image::Summary;

use crate::flash::{Flash, SECTOR_BYTES};

/// Both otadata sectors.
pub const OTADATA: Partition = Partition { offset: 0xF000, size_bytes: 0x2000 };
/// Its first two sectors hold the agent's record.
pub const NVS: Partition = Partition { offset: 0x9000, size_bytes: 0x6000 };
/// `ota_0` and `ota_1`; the largest that a module with 4 MiB has room for.
pub const SLOTS: [Partition; 2] = [
    Partition { offset: 0x2_0000, size_bytes: 0x1E_0000 },
    Partition { offset: 0x20_0000, size_bytes: 0x1E_0000 },
];
/// A factory app, in layouts that have one.
pub const FACTORY: Partition = Partition { offset: 0x3E_0000, size_bytes: 0x2_0000 };

/// Whether there is a factory app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Two slots.
    TwoSlots,
    /// Two slots and a small factory app at the end.
    TwoSlotsAndFactory,
}

/// Writes the bootloader's magic where chips look for it, and the partition table with its MD5.
pub fn write_layout(flash: &mut Flash, layout: Layout) -> Result<(), crate::flash::FlashError> {
    // The bootloader itself is `crate::bootloader`; what lies here only marks the place.
    let mut mark = [0xFF; 256];
    mark[0] = 0xE9;
    mark[16..47].copy_from_slice(b"a virtual device's bootloader \0");
    program(flash, 0, &mark)?;
    let mut table = Vec::new();
    let mut add = |kind: u8, subtype: u8, partition: Partition, label: &str| {
        let mut entry = [0; 32];
        entry[..4].copy_from_slice(&[0xAA, 0x50, kind, subtype]);
        entry[4..8].copy_from_slice(&partition.offset.to_le_bytes());
        entry[8..12].copy_from_slice(&partition.size_bytes.to_le_bytes());
        entry[12..12 + label.len()].copy_from_slice(label.as_bytes());
        table.extend_from_slice(&entry);
    };
    add(1, 2, NVS, "nvs");
    add(1, 0, OTADATA, "otadata");
    add(0, 0x10, SLOTS[0], "ota_0");
    add(0, 0x11, SLOTS[1], "ota_1");
    if layout == Layout::TwoSlotsAndFactory {
        add(0, 0, FACTORY, "factory");
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
    padded.resize(bytes.len().next_multiple_of(4), 0xFF);
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
    if let (Some(version), Some(chip)) = (version, summary.chip()) {
        let mut settings = agent::Settings::new(chip);
        settings.record = Some(NVS);
        Agent::remember(flash, &settings, |record| record.learn(summary.sha256, version.clone()))
            .map_err(|fault| anyhow::anyhow!("{fault}"))?;
    }
    Ok(())
}

/// The bytes of a slot, for tests and observers.
pub fn slot_bytes(flash: &mut Flash, slot: u8, length: usize) -> Result<Vec<u8>, crate::flash::FlashError> {
    let mut bytes = vec![0; length];
    flash.read(SLOTS[usize::from(slot)].offset, &mut bytes)?;
    Ok(bytes)
}
