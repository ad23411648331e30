//! A device for fuzz targets: a small flash in memory, as a port sees it.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use md5::{Digest, Md5};
use sha2::Sha256;
use updraft_agent::{Encryption, NotKept, Port, RECORD_BYTES, RETAINED_BYTES};

/// The flash's size, in bytes.
pub const FLASH_BYTES: usize = 0x4_0000;
/// Where the table lies.
pub const TABLE_AT: usize = 0x8000;
/// Two sectors.
pub const OTADATA_AT: usize = 0x9000;
/// Two sectors.
pub const UPDRAFT_AT: usize = 0xB000;
/// `ota_0` and `ota_1`, and a factory app.
pub const SLOTS_AT: [usize; 3] = [0x1_0000, 0x2_0000, 0x3_0000];
/// The length of each of them.
pub const SLOT_BYTES: usize = 0x1_0000;

/// NOR flash: what is written clears bits, in memory.
#[derive(Clone)]
pub struct Device {
    /// What it holds.
    pub flash: Vec<u8>,
    /// What outlives resets, if anything does.
    pub retained: Option<[u8; RETAINED_BYTES]>,
    /// What the port's own store holds, if it has one.
    pub store: Option<[u8; RECORD_BYTES]>,
    /// As the port says.
    pub encryption: Encryption,
    /// So many more writes and erases work.
    pub operations_left: u32,
}

impl Device {
    /// Erased, but for a table with two slots, a factory app and, if wanted, the agent's partition.
    pub fn new(with_updraft: bool) -> Self {
        let mut flash = vec![0xFF; FLASH_BYTES];
        let mut rows = vec![(1, 0, OTADATA_AT, 0x2000, "otadata")];
        if with_updraft {
            rows.push((1, 0x40, UPDRAFT_AT, 0x2000, "updraft"));
        }
        for (subtype, at) in [0x10, 0x11, 0].into_iter().zip(SLOTS_AT) {
            rows.push((0, subtype, at, SLOT_BYTES, "app"));
        }
        let rows: Vec<u8> = rows
            .iter()
            .flat_map(|(kind, subtype, at, size, label)| row(*kind, *subtype, *at, *size, label))
            .collect();
        put(&mut flash, TABLE_AT, &with_digest(&rows));
        Self { flash, retained: None, store: None, encryption: Encryption::Off, operations_left: u32::MAX }
    }

    fn stretch(&mut self, offset: u32, bytes: usize) -> Result<&mut [u8], Refused> {
        let end = (offset as usize).checked_add(bytes).ok_or(Refused)?;
        self.flash.get_mut(offset as usize..end).ok_or(Refused)
    }

    fn spend(&mut self) -> Result<(), Refused> {
        self.operations_left = self.operations_left.checked_sub(1).ok_or(Refused)?;
        Ok(())
    }
}

fn row(kind: u8, subtype: u8, at: usize, size: usize, label: &str) -> Vec<u8> {
    let mut row = vec![0xAA, 0x50, kind, subtype];
    row.extend((at as u32).to_le_bytes());
    row.extend((size as u32).to_le_bytes());
    row.extend(label.as_bytes());
    row.resize(32, 0);
    row
}

/// Table rows and the digest that makes them count.
pub fn with_digest(rows: &[u8]) -> Vec<u8> {
    let mut table = rows.to_vec();
    table.extend([0xEB, 0xEB]);
    table.extend([0xFF; 14]);
    table.extend(Md5::digest(rows));
    table
}

/// A record whose tag is right, whatever it holds.
pub fn tagged(bytes: &[u8]) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let body = RECORD_BYTES - 8;
    let taken = bytes.len().min(body - 4);
    record[..4].copy_from_slice(b"UDR2");
    record[4..4 + taken].copy_from_slice(&bytes[..taken]);
    let tag = Sha256::digest(&record[..body]);
    record[body..].copy_from_slice(&tag[..8]);
    record
}

/// Puts bytes on the flash, as far as they fit.
pub fn put(flash: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in flash[at..].iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// The flash said no.
#[derive(Debug)]
pub struct Refused;

impl NorFlashError for Refused {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl ErrorType for Device {
    type Error = Refused;
}

impl ReadNorFlash for Device {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Refused> {
        assert!(offset.is_multiple_of(4) && bytes.len().is_multiple_of(4), "the agent reads aligned");
        bytes.copy_from_slice(self.stretch(offset, bytes.len())?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl NorFlash for Device {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Refused> {
        assert!(from.is_multiple_of(4096) && to.is_multiple_of(4096), "the agent erases sectors");
        self.spend()?;
        self.stretch(from, to.checked_sub(from).ok_or(Refused)? as usize)?.fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Refused> {
        assert!(offset.is_multiple_of(32) && bytes.len().is_multiple_of(32), "the agent writes whole units");
        self.spend()?;
        for (to, from) in self.stretch(offset, bytes.len())?.iter_mut().zip(bytes) {
            *to &= *from;
        }
        Ok(())
    }
}

impl Port for Device {
    fn encryption(&self) -> Encryption {
        self.encryption
    }

    fn load(&mut self, record: &mut [u8; RECORD_BYTES]) -> Result<(), NotKept> {
        *record = self.store.ok_or(NotKept)?;
        Ok(())
    }

    fn save(&mut self, record: &[u8; RECORD_BYTES]) -> Result<(), NotKept> {
        *self.store.as_mut().ok_or(NotKept)? = *record;
        Ok(())
    }

    fn retained(&mut self) -> Option<&mut [u8; RETAINED_BYTES]> {
        self.retained.as_mut()
    }
}
