extern crate std;
use std::vec;
use std::vec::Vec as StdVec;

use ::md5::{Digest, Md5};
use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind};

use super::*;

struct Bytes(StdVec<u8>);

impl ErrorType for Bytes {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Bytes {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        0x40_0000
    }
}

fn entry(kind: u8, subtype: u8, offset: u32, size: u32, label: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&[0xAA, 0x50, kind, subtype]);
    bytes[4..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&size.to_le_bytes());
    bytes[12..12 + label.len()].copy_from_slice(label.as_bytes());
    bytes
}

fn usual() -> StdVec<[u8; 32]> {
    vec![
        entry(1, 2, 0x9000, 0x5000, "nvs"),
        entry(1, 0, 0xE000, 0x2000, "otadata"),
        entry(0, 0x10, 0x1_0000, 0x10_0000, "app0"),
        entry(0, 0x11, 0x11_0000, 0x10_0000, "app1"),
    ]
}

fn read(entries: &[[u8; 32]], md5: bool) -> Result<Table, TableError> {
    let mut flash = vec![0xFF; 0x1_0000];
    let table = entries.concat();
    flash[TABLE_OFFSET as usize..][..table.len()].copy_from_slice(&table);
    if md5 {
        let mut entry = [0xFF; 32];
        entry[..2].copy_from_slice(&[0xEB, 0xEB]);
        entry[16..].copy_from_slice(&Md5::digest(&table));
        flash[TABLE_OFFSET as usize + table.len()..][..32].copy_from_slice(&entry);
    }
    Table::read(&mut Bytes(flash))
}

#[test]
fn a_table_reads_with_and_without_its_md5() {
    let table = read(&usual(), true).expect("valid");
    assert_eq!(table, read(&usual(), false).expect("valid"));
    assert_eq!(table.slots.len(), 2);
    assert_eq!(table.slots[1], Partition { offset: 0x11_0000, size_bytes: 0x10_0000 });
    assert_eq!(table.nvs.map(|nvs| nvs.offset), Some(0x9000));
}

#[test]
fn a_corrupt_table_is_refused_whole() {
    let mut flash = vec![0xFF; 0x1_0000];
    assert_eq!(Table::read(&mut Bytes(flash.clone())), Err(TableError::NotATable));
    flash[TABLE_OFFSET as usize..][..32].copy_from_slice(&[0xEB; 32]);
    assert_eq!(Table::read(&mut Bytes(flash)), Err(TableError::Digest));
}

#[test]
fn overlaps_gaps_and_missing_partitions_are_refused() {
    let change = |at: usize, with: [u8; 32]| {
        let mut entries = usual();
        entries[at] = with;
        read(&entries, true)
    };
    assert_eq!(change(3, entry(0, 0x11, 0x10_0000, 0x10_0000, "app1")), Err(TableError::Layout));
    assert_eq!(change(3, entry(0, 0x11, 0x3F_0000, 0x10_0000, "app1")), Err(TableError::Layout));
    assert_eq!(change(3, entry(0, 0x11, 0xFFFF_F000, 0x2000, "app1")), Err(TableError::Layout));
    assert_eq!(change(3, entry(0, 0x12, 0x11_0000, 0x10_0000, "app2")), Err(TableError::Slots));
    assert_eq!(change(1, entry(1, 0, 0xE000, 0x1000, "otadata")), Err(TableError::NoOtadata));
}
