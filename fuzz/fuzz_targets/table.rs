//! No partition table panics the reader, and one that it takes has slots that lie apart, on sectors, inside the flash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_agent::partition::{Partition, Table};
use updraft_fuzz::{Device, FLASH_BYTES, TABLE_AT, put, with_digest};

fuzz_target!(|bytes: &[u8]| {
    // As it is; then as rows of a table whose marks and digest are right.
    let mut rows = bytes[..bytes.len() / 32 * 32].to_vec();
    for row in rows.chunks_exact_mut(32) {
        row[..2].copy_from_slice(&[0xAA, 0x50]);
    }
    for table in [bytes.to_vec(), with_digest(&rows)] {
        let mut device = Device::new(true);
        put(&mut device.flash, TABLE_AT, &table);
        let Ok(table) = Table::read(&mut device) else { continue };
        assert!(table.slots.len() >= 2 && table.otadata.size_bytes >= 8192);
        let all: Vec<Partition> = table
            .slots
            .iter()
            .copied()
            .chain(table.factory)
            .chain(table.updraft)
            .chain([table.otadata])
            .collect();
        for (index, one) in all.iter().enumerate() {
            assert!(one.end() as usize <= FLASH_BYTES && (one.offset | one.size_bytes).is_multiple_of(4096));
            assert!(all[..index].iter().all(|other| one.end() <= other.offset
                || other.end() <= one.offset
                || one.size_bytes == 0
                || other.size_bytes == 0));
        }
    }
});
