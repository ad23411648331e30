//! No content of flash makes the agent's readers panic, and what they find lies on the flash.
#![no_main]

use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use libfuzzer_sys::fuzz_target;
use updraft_agent::otadata::{ENTRY_BYTES, Entries, Entry};
use updraft_agent::partition::{TABLE_OFFSET, Table};

const FLASH_BYTES: usize = 4 * 1024 * 1024;

/// The input from the partition table on; erased elsewhere.
struct Flash<'a>(&'a [u8]);

#[derive(Debug)]
struct Beyond;

impl NorFlashError for Beyond {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl ErrorType for Flash<'_> {
    type Error = Beyond;
}

impl ReadNorFlash for Flash<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Beyond> {
        let offset = offset as usize;
        if offset.checked_add(bytes.len()).is_none_or(|end| end > FLASH_BYTES) {
            return Err(Beyond);
        }
        for (at, byte) in (offset..).zip(bytes) {
            let place = at.checked_sub(TABLE_OFFSET as usize);
            *byte = place.and_then(|place| self.0.get(place)).copied().unwrap_or(0xFF);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

fuzz_target!(|bytes: &[u8]| {
    for entry in bytes.chunks_exact(ENTRY_BYTES) {
        let entry: &[u8; ENTRY_BYTES] = entry.try_into().expect("the chunk has the length of an entry");
        let parsed = Entry::parse(entry);
        assert_eq!(Entry::parse(&parsed.to_bytes()), parsed);
    }
    let mut flash = Flash(bytes);
    let Ok(table) = Table::read(&mut flash) else { return };
    for slot in &table.slots {
        assert!(u64::from(slot.offset) + u64::from(slot.size_bytes) <= FLASH_BYTES as u64);
    }
    let slots = u8::try_from(table.slots.len()).expect("at most 16 slots");
    if let Some(selected) =
        Entries::read(&mut flash, table.otadata).ok().and_then(|entries| entries.selected(slots))
    {
        assert!(selected.slot < slots);
    }
});
