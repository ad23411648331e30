//! NOR flash on paper: a file, or memory that identical sectors share, with the rules of the real thing.
//!
//! Owned here: erasing sets whole sectors to 0xFF, writing only clears bits and is aligned, and the power can
//! be cut before, during or after any operation. Refused: whatever real flash would silently get wrong.

mod cipher;
mod cut;
mod medium;
mod port;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use agent::partition::{TABLE_MAX_BYTES, TABLE_OFFSET};
use agent::{Encryption, RETAINED_BYTES};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

pub use cut::{Cut, Moment, Tear};
pub use medium::{BLOCK_BYTES, CAPACITY_BYTES, PAGE_BYTES, SECTOR_BYTES};

use cipher::{Cipher, UNIT_BYTES};
use medium::{Medium, is_blank};

/// What flash refuses.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// Beyond the end.
    #[error("the flash has no offset {0:#x}")]
    OutOfBounds(u32),
    /// Erases must be whole sectors, writes whole words, and encrypted writes 16 bytes.
    #[error("{0:#x} is not aligned")]
    NotAligned(u32),
    /// A write that would have to set a bit.
    #[error("the flash at {0:#x} was not erased before it was written")]
    NotErased(u32),
    /// The power is off; nothing works until [`Flash::power_on`].
    #[error("the power is off")]
    PowerOff,
    /// The file underneath.
    #[error("the flash file: {0}")]
    Io(#[from] io::Error),
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::OutOfBounds(_) => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned(_) => NorFlashErrorKind::NotAligned,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// One chip.
#[derive(Debug)]
pub struct Flash {
    medium: Medium,
    operations: u64,
    /// How often each sector was erased; those that never were are left out.
    erases: BTreeMap<usize, u32>,
    blocks: bool,
    cut: Option<Cut>,
    powered: bool,
    power_ons: u64,
    cipher: Option<Cipher>,
    encryption: Encryption,
    retained: [u8; RETAINED_BYTES],
}

impl Flash {
    /// Erased flash in memory; sectors with the same content are kept once for all devices.
    pub fn in_memory() -> Self {
        Self::of(Medium::in_memory())
    }

    /// Flash in a file, byte for byte; a new file is erased flash. `true`: it is new, and not a device's flash before
    /// [`Self::keep`] says so: until then it has another name, and what a kill leaves of it is begun again.
    pub fn in_file(path: &Path) -> io::Result<(Self, bool)> {
        let medium = Medium::in_file(path)?;
        let new = medium.is_new();
        Ok((Self::of(medium), new))
    }

    fn of(medium: Medium) -> Self {
        let mut flash = Self {
            medium,
            operations: 0,
            erases: BTreeMap::new(),
            blocks: false,
            cut: None,
            powered: true,
            power_ons: 0,
            cipher: None,
            encryption: Encryption::Off,
            retained: [0; RETAINED_BYTES],
        };
        flash.power_on();
        flash
    }

    /// Gives a new file its name: it is complete now.
    pub fn keep(&mut self) -> io::Result<()> {
        self.medium.keep()
    }

    /// How many sectors or blocks were erased and pages written so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// How often a sector was erased, which is what wears it: usual flash stands 100,000. `sector`: its number, from 0.
    pub fn erases(&self, sector: usize) -> u32 {
        self.erases.get(&sector).copied().unwrap_or(0)
    }

    /// From now on whole aligned 64 KiB of an erase are one operation, as drivers do it to be quick.
    pub fn erase_blocks(&mut self) {
        self.blocks = true;
    }

    /// Plans a power cut, in place of any other.
    pub fn cut_at(&mut self, cut: Option<Cut>) {
        self.cut = cut;
    }

    /// Cuts the power now.
    pub fn power_off(&mut self) {
        self.powered = false;
    }

    /// Brings the power back. What was torn stays torn, and retained memory holds anything.
    pub fn power_on(&mut self) {
        self.powered = true;
        self.power_ons += 1;
        let mut random = self.power_ons;
        self.retained.fill_with(|| cut::next(&mut random));
    }

    /// Whether the power is on.
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// A copy of flash in memory, its power on, with no cut to come; flash in a file has none.
    pub fn copy(&self) -> Option<Self> {
        let Medium::Memory(sectors) = &self.medium else { return None };
        Some(Self {
            medium: Medium::Memory(sectors.clone()),
            erases: self.erases.clone(),
            cipher: self.cipher.clone(),
            cut: None,
            powered: true,
            ..*self
        })
    }

    /// Turns bits over without regard to the rules, as wear or a stray ray would; on encrypted flash those of the cipher
    /// text.
    pub fn corrupt(&mut self, offset: u32, mask: u8) -> Result<(), FlashError> {
        self.check(offset, 1, 1)?;
        let mut sector = self.medium.load(offset as usize / SECTOR_BYTES)?;
        sector[offset as usize % SECTOR_BYTES] ^= mask;
        Ok(self.medium.save(offset as usize / SECTOR_BYTES, &sector)?)
    }

    /// Encrypts what was flashed, as the first boot of a device with flash encryption does: all but NVS and data
    /// partitions without the flag. From then on reads and writes go through it, and the port says
    /// [`Encryption::Transparent`].
    pub fn encrypt(&mut self, key: u64) -> Result<(), FlashError> {
        let mut table = [0; TABLE_MAX_BYTES];
        self.read(TABLE_OFFSET, &mut table)?;
        let cipher = Cipher::new(key, &table);
        for index in 0..CAPACITY_BYTES / SECTOR_BYTES {
            let mut sector = self.medium.load(index)?;
            if !is_blank(&sector) {
                cipher.encrypt(index * SECTOR_BYTES, &mut sector);
                self.medium.save(index, &sector)?;
            }
        }
        self.cipher = Some(cipher);
        self.encryption = Encryption::Transparent;
        Ok(())
    }

    /// The same on a device whose port has no encrypted writes: what the application writes lies there as it is, and is
    /// noise to whoever reads it. The bootloader's own writes are encrypted all the same.
    pub fn encrypt_without_support(&mut self, key: u64) -> Result<(), FlashError> {
        self.encrypt(key)?;
        self.encryption = Encryption::Unsupported;
        Ok(())
    }

    /// Writes as the bootloader does, which always can what the device needs.
    pub(crate) fn write_by_bootloader(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let support = self.encryption;
        if self.cipher.is_some() {
            self.encryption = Encryption::Transparent;
        }
        let written = self.write(offset, bytes);
        self.encryption = support;
        written
    }

    fn check(&self, offset: u32, length: usize, align: usize) -> Result<(), FlashError> {
        if !(offset as usize).is_multiple_of(align) || !length.is_multiple_of(align) {
            return Err(FlashError::NotAligned(offset));
        }
        if offset as usize > CAPACITY_BYTES || length > CAPACITY_BYTES - offset as usize {
            return Err(FlashError::OutOfBounds(offset));
        }
        if self.powered { Ok(()) } else { Err(FlashError::PowerOff) }
    }

    /// Counts an operation; how it is to be torn if the power goes now.
    fn begin(&mut self) -> Result<Option<Moment>, FlashError> {
        self.operations += 1;
        let moment = self.cut.filter(|cut| cut.operation == self.operations).map(|cut| cut.moment);
        if moment.is_some() {
            self.cut = None;
            self.powered = false;
        }
        if moment == Some(Moment::Before) { Err(FlashError::PowerOff) } else { Ok(moment) }
    }

    fn erase_at_once(&mut self, first: usize, sectors: usize) -> Result<(), FlashError> {
        let moment = self.begin()?;
        let mut after = vec![0xFF; sectors * SECTOR_BYTES];
        if let Some(Moment::During(tear)) = moment {
            let mut before = after.clone();
            self.medium.read(first * SECTOR_BYTES, &mut before)?;
            after = tear.of_erase(&before);
        }
        for (index, sector) in (first..).zip(after.as_chunks().0) {
            *self.erases.entry(index).or_default() += 1;
            self.medium.save(index, sector)?;
        }
        moment.map_or(Ok(()), |_| Err(FlashError::PowerOff))
    }

    fn write_page(&mut self, offset: usize, bytes: &[u8]) -> Result<(), FlashError> {
        let mut sector = self.medium.load(offset / SECTOR_BYTES)?;
        let page = &mut sector[offset % SECTOR_BYTES..][..bytes.len()];
        if page.iter().zip(bytes).any(|(old, new)| old & new != *new) {
            return Err(FlashError::NotErased(offset as u32));
        }
        let moment = self.begin()?;
        match moment {
            Some(Moment::During(tear)) => {
                let torn = tear.of_write(page, bytes);
                page.copy_from_slice(&torn);
            }
            _ => page.copy_from_slice(bytes),
        }
        self.medium.save(offset / SECTOR_BYTES, &sector)?;
        moment.map_or(Ok(()), |_| Err(FlashError::PowerOff))
    }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.check(offset, bytes.len(), Self::READ_SIZE)?;
        let start = offset as usize;
        let Some(cipher) = self.cipher.as_ref().filter(|cipher| cipher.concerns(start, bytes.len())) else {
            return Ok(self.medium.read(start, bytes)?);
        };
        let first = start / UNIT_BYTES * UNIT_BYTES;
        let mut units = vec![0; (start + bytes.len()).next_multiple_of(UNIT_BYTES) - first];
        self.medium.read(first, &mut units)?;
        cipher.decrypt(first, &mut units);
        bytes.copy_from_slice(&units[start - first..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        CAPACITY_BYTES
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let length = to.checked_sub(from).ok_or(FlashError::OutOfBounds(to))? as usize;
        self.check(from, length, SECTOR_BYTES)?;
        let (mut at, end) = (from as usize, to as usize);
        while at < end {
            let block = self.blocks && at.is_multiple_of(BLOCK_BYTES) && end - at >= BLOCK_BYTES;
            let length = if block { BLOCK_BYTES } else { SECTOR_BYTES };
            self.erase_at_once(at / SECTOR_BYTES, length / SECTOR_BYTES)?;
            at += length;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.check(offset, bytes.len(), Self::WRITE_SIZE)?;
        let mut at = offset as usize;
        let mut stored = bytes.to_vec();
        if let Some(cipher) = &self.cipher
            && self.encryption != Encryption::Unsupported
            && cipher.concerns(at, bytes.len())
        {
            self.check(offset, bytes.len(), UNIT_BYTES)?;
            cipher.encrypt(at, &mut stored);
        }
        let mut rest = stored.as_slice();
        while !rest.is_empty() {
            let (page, after) = rest.split_at(rest.len().min(PAGE_BYTES - at % PAGE_BYTES));
            self.write_page(at, page)?;
            (at, rest) = (at + page.len(), after);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
