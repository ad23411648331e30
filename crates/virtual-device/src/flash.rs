//! NOR flash on paper: a file, or memory that identical sectors share, with the rules of the real thing.
//!
//! Owned here: erasing sets whole sectors to 0xFF, writing only clears bits and is aligned, and the power can
//! be cut before, during or after any operation. Refused: whatever real flash would silently get wrong.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use sha2::{Digest, Sha256};

/// What is erased at once, in bytes.
pub const SECTOR_BYTES: usize = 4096;
/// What is programmed at once, in bytes: a cut can fall between two of them.
pub const PAGE_BYTES: usize = 256;
/// The flash of a usual module, in bytes.
pub const CAPACITY_BYTES: usize = 4 * 1024 * 1024;

type Sector = [u8; SECTOR_BYTES];

/// What flash refuses.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// Beyond the end.
    #[error("the flash has no offset {0:#x}")]
    OutOfBounds(u32),
    /// Erases must be whole sectors, writes whole words.
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

/// When in an operation the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it happened.
    Before,
    /// Half of it happened; the seed decides which bits.
    During {
        /// Of the torn bits.
        seed: u64,
    },
    /// All of it happened.
    After,
}

/// A power cut to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// At which operation, counted from 1 over the flash's life (an erased sector, a written page).
    pub operation: u64,
    /// When in it.
    pub moment: Moment,
}

#[derive(Debug)]
enum Medium {
    File(File),
    Memory(Vec<Option<Arc<Sector>>>),
}

/// One chip.
#[derive(Debug)]
pub struct Flash {
    medium: Medium,
    capacity: usize,
    operations: u64,
    cut: Option<Cut>,
    powered: bool,
}

impl Flash {
    /// Erased flash in memory; sectors with the same content are kept once for all devices.
    pub fn in_memory() -> Self {
        Self::of(Medium::Memory(vec![None; CAPACITY_BYTES / SECTOR_BYTES]))
    }

    /// Flash in a file, byte for byte; a new file is erased flash. `true`: it is new.
    pub fn in_file(path: &Path) -> io::Result<(Self, bool)> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        if length != 0 && length != CAPACITY_BYTES as u64 {
            let what = format!("{} is {length} bytes long, not a flash of 4 MiB", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if length == 0 {
            for _ in 0..CAPACITY_BYTES / SECTOR_BYTES {
                file.write_all(&[0xFF; SECTOR_BYTES])?;
            }
        }
        Ok((Self::of(Medium::File(file)), length == 0))
    }

    fn of(medium: Medium) -> Self {
        Self { medium, capacity: CAPACITY_BYTES, operations: 0, cut: None, powered: true }
    }

    /// How many sectors were erased and pages written so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Plans a power cut, in place of any other.
    pub fn cut_at(&mut self, cut: Option<Cut>) {
        self.cut = cut;
    }

    /// Cuts the power now.
    pub fn power_off(&mut self) {
        self.powered = false;
    }

    /// Brings the power back. What was torn stays torn.
    pub fn power_on(&mut self) {
        self.powered = true;
    }

    /// Whether the power is on.
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// A copy of flash in memory, its power on, with no cut to come; flash in a file has none.
    pub fn copy(&self) -> Option<Self> {
        let Medium::Memory(sectors) = &self.medium else { return None };
        let medium = Medium::Memory(sectors.clone());
        Some(Self { operations: self.operations, ..Self::of(medium) })
    }

    /// Turns bits over without regard to the rules, as wear or a stray ray would.
    pub fn damage(&mut self, offset: u32, mask: u8) -> Result<(), FlashError> {
        self.check(offset, 1, 1)?;
        let mut sector = self.load(offset as usize / SECTOR_BYTES)?;
        sector[offset as usize % SECTOR_BYTES] ^= mask;
        self.save(offset as usize / SECTOR_BYTES, &sector)
    }

    fn check(&self, offset: u32, length: usize, align: usize) -> Result<(), FlashError> {
        if !(offset as usize).is_multiple_of(align) || !length.is_multiple_of(align) {
            return Err(FlashError::NotAligned(offset));
        }
        if offset as usize > self.capacity || length > self.capacity - offset as usize {
            return Err(FlashError::OutOfBounds(offset));
        }
        if self.powered { Ok(()) } else { Err(FlashError::PowerOff) }
    }

    fn load(&mut self, index: usize) -> Result<Sector, FlashError> {
        match &mut self.medium {
            Medium::Memory(sectors) => Ok(sectors[index].as_deref().copied().unwrap_or([0xFF; SECTOR_BYTES])),
            Medium::File(file) => {
                let mut sector = [0; SECTOR_BYTES];
                file.seek(SeekFrom::Start((index * SECTOR_BYTES) as u64))?;
                file.read_exact(&mut sector)?;
                Ok(sector)
            }
        }
    }

    fn save(&mut self, index: usize, sector: &Sector) -> Result<(), FlashError> {
        match &mut self.medium {
            Medium::Memory(sectors) => {
                let blank = sector.iter().all(|byte| *byte == 0xFF);
                sectors[index] = (!blank).then(|| shared(sector));
            }
            Medium::File(file) => {
                file.seek(SeekFrom::Start((index * SECTOR_BYTES) as u64))?;
                file.write_all(sector)?;
            }
        }
        Ok(())
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

    fn erase_sector(&mut self, index: usize) -> Result<(), FlashError> {
        let moment = self.begin()?;
        let mut sector = [0xFF; SECTOR_BYTES];
        if let Some(Moment::During { seed }) = moment {
            // Erasing pushes bits towards 1, in no order.
            let mut random = seed;
            for (byte, before) in sector.iter_mut().zip(self.load(index)?) {
                *byte = before | next(&mut random);
            }
        }
        self.save(index, &sector)?;
        moment.map_or(Ok(()), |_| Err(FlashError::PowerOff))
    }

    fn write_page(&mut self, offset: usize, bytes: &[u8]) -> Result<(), FlashError> {
        let mut sector = self.load(offset / SECTOR_BYTES)?;
        let page = &mut sector[offset % SECTOR_BYTES..][..bytes.len()];
        if page.iter().zip(bytes).any(|(old, new)| old & new != *new) {
            return Err(FlashError::NotErased(offset as u32));
        }
        let moment = self.begin()?;
        let (mut random, mut whole) = (0, bytes.len());
        if let Some(Moment::During { seed }) = moment {
            random = seed;
            whole = usize::from(next(&mut random)) % bytes.len();
        }
        for (at, (old, new)) in page.iter_mut().zip(bytes).enumerate() {
            // What comes first is whole, then some bits are cleared, and the rest was not reached.
            let reached =
                if at < whole { 0 } else { next(&mut random) | if at < whole + 8 { 0 } else { 0xFF } };
            *old &= new | reached;
        }
        self.save(offset / SECTOR_BYTES, &sector)?;
        moment.map_or(Ok(()), |_| Err(FlashError::PowerOff))
    }
}

/// xorshift64*: torn bits must be repeatable, nothing more.
fn next(random: &mut u64) -> u8 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*random ^ (*random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 56) as u8
}

/// One copy of each content for the whole process: a thousand devices with the same image need the memory of one.
fn shared(sector: &Sector) -> Arc<Sector> {
    static POOL: Mutex<Option<HashMap<[u8; 32], Weak<Sector>>>> = Mutex::new(None);
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = pool.get_or_insert_default();
    let digest = Sha256::digest(sector).into();
    if let Some(found) = pool.get(&digest).and_then(Weak::upgrade) {
        return found;
    }
    if pool.len().is_power_of_two() {
        // Each time the pool doubles, what nobody has any more is dropped from it.
        pool.retain(|_, sector| sector.strong_count() > 0);
    }
    let sector = Arc::new(*sector);
    pool.insert(digest, Arc::downgrade(&sector));
    sector
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.check(offset, bytes.len(), Self::READ_SIZE)?;
        if let Medium::File(file) = &mut self.medium {
            file.seek(SeekFrom::Start(u64::from(offset)))?;
            return Ok(file.read_exact(bytes)?);
        }
        let (mut at, mut done) = (offset as usize, 0);
        while done < bytes.len() {
            let within = at % SECTOR_BYTES;
            let length = (SECTOR_BYTES - within).min(bytes.len() - done);
            let sector = self.load(at / SECTOR_BYTES)?;
            bytes[done..done + length].copy_from_slice(&sector[within..within + length]);
            (at, done) = (at + length, done + length);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let length = to.checked_sub(from).ok_or(FlashError::OutOfBounds(to))? as usize;
        self.check(from, length, SECTOR_BYTES)?;
        for index in from as usize / SECTOR_BYTES..to as usize / SECTOR_BYTES {
            self.erase_sector(index)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.check(offset, bytes.len(), Self::WRITE_SIZE)?;
        let (mut at, mut rest) = (offset as usize, bytes);
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
