//! A chip's flash, read from outside: the partition table that ESP-IDF writes, the OTA slots and what selects them.

const TABLE: usize = 0x8000;
const ENTRY_BYTES: usize = 32;
const ENTRY_MAGIC: [u8; 2] = [0xAA, 0x50];
const TYPE_APP: u8 = 0;
const TYPE_DATA: u8 = 1;
const SUBTYPE_OTADATA: u8 = 0;
const SUBTYPE_OTA_0: u8 = 0x10;
const SUBTYPE_OTA_15: u8 = 0x1F;

/// The bytes of each OTA slot, `ota_0` first.
pub fn slots(flash: &[u8]) -> Vec<&[u8]> {
    partitions(flash, |kind, subtype| kind == TYPE_APP && (SUBTYPE_OTA_0..=SUBTYPE_OTA_15).contains(&subtype))
}

/// The two sectors that say which slot to boot.
pub fn otadata(flash: &[u8]) -> &[u8] {
    partitions(flash, |kind, subtype| kind == TYPE_DATA && subtype == SUBTYPE_OTADATA)[0]
}

/// Which slot begins with exactly these bytes.
pub fn slot_with(flash: &[u8], image: &[u8]) -> Option<usize> {
    slots(flash).iter().position(|slot| slot.starts_with(image))
}

fn partitions(flash: &[u8], wanted: impl Fn(u8, u8) -> bool) -> Vec<&[u8]> {
    let word = |entry: &[u8], at: usize| {
        let bytes = entry[at..at + 4].try_into().expect("four bytes");
        usize::try_from(u32::from_le_bytes(bytes)).expect("a flash offset fits")
    };
    flash[TABLE..]
        .chunks_exact(ENTRY_BYTES)
        .take_while(|entry| entry[..2] == ENTRY_MAGIC)
        .filter(|entry| wanted(entry[2], entry[3]))
        .map(|entry| &flash[word(entry, 4)..word(entry, 4) + word(entry, 8)])
        .collect()
}
