//! What else lies in a flash chip of these devices: file systems, tables, settings, a bootloader's data. Each by its layout.

use cause::{Cause, file};

/// One entry of a partition table (`gen_esp32part.py`).
const ENTRY_BYTES: usize = 32;
const SECTOR_BYTES: usize = 4096;
/// So much of the sector is table; a signature may follow.
const TABLE_BYTES: usize = 0xC00;
/// `SPIFFS_MAGIC`, of which an object lookup page holds the lower half.
const SPIFFS_MAGIC: u32 = 0x2014_0529;
/// States of an NVS page: active, full, freeing.
const NVS_STATES: [u32; 3] = [0xFFFF_FFFE, 0xFFFF_FFFC, 0xFFFF_FFF8];

/// What these bytes are, if they are the content of a partition that is no application.
pub(super) fn known(bytes: &[u8]) -> Option<Cause> {
    let first = bytes.first()?;
    if bytes.iter().all(|byte| byte == first) {
        return Some(file::ERASED.with("byte", format!("0x{first:02X}")));
    }
    let kinds = [
        (is_partition_table(bytes), file::PARTITION_TABLE),
        (is_littlefs(bytes), file::LITTLEFS),
        (is_spiffs(bytes), file::SPIFFS),
        (is_fat(bytes), file::FAT),
        (is_nvs(bytes), file::NVS),
        (is_otadata(bytes), file::OTADATA),
    ];
    kinds.into_iter().find(|(is_one, _)| *is_one).map(|(_, entry)| entry.cause())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Alone in a file: nothing behind it but its digest and erased flash.
fn is_partition_table(bytes: &[u8]) -> bool {
    let is_part =
        |entry: &[u8; ENTRY_BYTES]| matches!(entry, [0xAA, 0x50, ..] | [0xEB, 0xEB, ..] | [0xFF, 0xFF, ..]);
    let (entries, _) =
        bytes.get(..TABLE_BYTES.min(bytes.len())).unwrap_or_default().as_chunks::<ENTRY_BYTES>();
    bytes.starts_with(&[0xAA, 0x50]) && entries.iter().all(is_part)
}

/// The first of the two superblocks, of which either can be the newer one.
fn is_littlefs(bytes: &[u8]) -> bool {
    let is_superblock = |at: usize| bytes.get(at + 8..at + 16) == Some(b"littlefs");
    [0, 512, 1024, 2048, SECTOR_BYTES, 2 * SECTOR_BYTES].into_iter().any(is_superblock)
}

/// The lookup page of the first block ends with a number made of the page's size and, as a rule, of how many blocks there are.
fn is_spiffs(bytes: &[u8]) -> bool {
    let (size, lower) = (bytes.len(), |number: u32| (number & 0xFFFF) as u16);
    [256_usize, 512, 1024].into_iter().any(|page| {
        [SECTOR_BYTES, 2 * SECTOR_BYTES, 16 * SECTOR_BYTES].into_iter().any(|block| {
            let lookup = (block / page * 2).div_ceil(page) * page;
            let said = bytes.get(lookup - 4..).and_then(<[u8]>::first_chunk).copied().map(u16::from_le_bytes);
            let without_blocks = SPIFFS_MAGIC ^ u32::try_from(page).unwrap_or(0);
            let with_blocks = without_blocks ^ u32::try_from(size / block).unwrap_or(0);
            size.is_multiple_of(block)
                && size >= block
                && [without_blocks, with_blocks].into_iter().any(|magic| said == Some(lower(magic)))
        })
    })
}

/// A boot sector; ESP-IDF's wear levelling puts a sector before it or none.
fn is_fat(bytes: &[u8]) -> bool {
    [0, SECTOR_BYTES].into_iter().any(|at| {
        let part = |from: usize, length: usize| bytes.get(at + from..at + from + length);
        part(510, 2) == Some(&[0x55, 0xAA]) && (part(54, 3) == Some(b"FAT") || part(82, 3) == Some(b"FAT"))
    })
}

/// The head of a page: its state, its number, its version, and nothing up to its checksum.
fn is_nvs(bytes: &[u8]) -> bool {
    bytes.len() >= SECTOR_BYTES
        && u32_at(bytes, 0).is_some_and(|state| NVS_STATES.contains(&state))
        && u32_at(bytes, 4).is_some_and(|number| number < 0x1_0000)
        && matches!(bytes.get(8), Some(0xFD..=0xFF))
        && bytes.get(9..28).is_some_and(|rest| rest.iter().all(|byte| *byte == 0xFF))
}

/// One or two entries, each at the beginning of a sector and followed by nothing.
fn is_otadata(bytes: &[u8]) -> bool {
    let is_erased = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xFF);
    let is_sector = |sector: &[u8]| {
        let is_entry = u32_at(sector, 0).is_some_and(|number| (1..0x1_0000).contains(&number));
        (is_entry || is_erased(sector)) && sector.get(ENTRY_BYTES..).is_some_and(is_erased)
    };
    bytes.len() == 2 * SECTOR_BYTES && bytes.chunks(SECTOR_BYTES).all(is_sector)
}
