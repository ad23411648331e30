//! What the sectors lie in, a file or memory that identical sectors share, and how large it all is.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};

/// What is erased at once, in bytes.
pub const SECTOR_BYTES: usize = 4096;
/// What [`super::Flash::erase_blocks`] erases at once where it can, in bytes.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// What is programmed at once, in bytes: a cut can fall between two of them.
pub const PAGE_BYTES: usize = 256;
/// The flash of a usual module, in bytes.
pub const CAPACITY_BYTES: usize = 4 * 1024 * 1024;

pub(super) type Sector = [u8; SECTOR_BYTES];

#[derive(Debug)]
pub(super) enum Medium {
    File(FlashFile),
    Memory(Vec<Option<Arc<Sector>>>),
}

#[derive(Debug)]
pub(super) struct FlashFile {
    file: File,
    /// Of a new file: where it lies while it is not complete, and where it belongs.
    unfinished: Option<(PathBuf, PathBuf)>,
}

impl Medium {
    pub(super) fn in_memory() -> Self {
        Self::Memory(vec![None; CAPACITY_BYTES / SECTOR_BYTES])
    }

    /// A new file has another name until [`Self::keep`], so that whatever a kill leaves of it is begun again.
    pub(super) fn in_file(path: &Path) -> io::Result<Self> {
        let length = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if length == CAPACITY_BYTES as u64 {
            let file = File::options().read(true).write(true).open(path)?;
            return Ok(Self::File(FlashFile { file, unfinished: None }));
        }
        if length != 0 {
            let what = format!("{} is {length} bytes long, not a flash of 4 MiB", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut name = OsString::from(path);
        name.push(".unfinished");
        let begun = PathBuf::from(name);
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&begun)?;
        for _ in 0..CAPACITY_BYTES / SECTOR_BYTES {
            file.write_all(&[0xFF; SECTOR_BYTES])?;
        }
        Ok(Self::File(FlashFile { file, unfinished: Some((begun, path.to_owned())) }))
    }

    pub(super) fn is_new(&self) -> bool {
        match self {
            Self::File(file) => file.unfinished.is_some(),
            Self::Memory(_) => true,
        }
    }

    pub(super) fn keep(&mut self) -> io::Result<()> {
        if let Self::File(FlashFile { file, unfinished }) = self
            && let Some((begun, path)) = unfinished
        {
            file.sync_all()?;
            fs::rename(begun, path)?;
            *unfinished = None;
        }
        Ok(())
    }

    pub(super) fn load(&mut self, index: usize) -> io::Result<Sector> {
        match self {
            Self::Memory(sectors) => Ok(sectors[index].as_deref().copied().unwrap_or([0xFF; SECTOR_BYTES])),
            Self::File(FlashFile { file, .. }) => {
                let mut sector = [0; SECTOR_BYTES];
                file.seek(SeekFrom::Start((index * SECTOR_BYTES) as u64))?;
                file.read_exact(&mut sector)?;
                Ok(sector)
            }
        }
    }

    pub(super) fn save(&mut self, index: usize, sector: &Sector) -> io::Result<()> {
        match self {
            Self::Memory(sectors) => {
                sectors[index] = (!is_blank(sector)).then(|| shared(sector));
                Ok(())
            }
            Self::File(FlashFile { file, .. }) => {
                file.seek(SeekFrom::Start((index * SECTOR_BYTES) as u64))?;
                file.write_all(sector)
            }
        }
    }

    pub(super) fn read(&mut self, offset: usize, bytes: &mut [u8]) -> io::Result<()> {
        let sectors = match self {
            Self::File(FlashFile { file, .. }) => {
                file.seek(SeekFrom::Start(offset as u64))?;
                return file.read_exact(bytes);
            }
            Self::Memory(sectors) => sectors,
        };
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let within = at % SECTOR_BYTES;
            let (piece, after) = rest.split_at_mut((SECTOR_BYTES - within).min(rest.len()));
            match &sectors[at / SECTOR_BYTES] {
                Some(sector) => piece.copy_from_slice(&sector[within..within + piece.len()]),
                None => piece.fill(0xFF),
            }
            (at, rest) = (at + piece.len(), after);
        }
        Ok(())
    }
}

pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xFF)
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
        // Each time the pool doubles, what no device has any more is dropped from it.
        pool.retain(|_, sector| sector.strong_count() > 0);
    }
    let sector = Arc::new(*sector);
    pool.insert(digest, Arc::downgrade(&sector));
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_share_what_is_the_same() {
        let (mut one, mut two) = (Medium::in_memory(), Medium::in_memory());
        for medium in [&mut one, &mut two] {
            medium.save(0, &[0x5A; SECTOR_BYTES]).expect("memory");
        }
        let (Medium::Memory(one), Medium::Memory(two)) = (&one, &two) else { panic!("memory") };
        assert!(Arc::ptr_eq(one[0].as_ref().expect("written"), two[0].as_ref().expect("written")));
    }
}
