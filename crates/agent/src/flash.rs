//! The flash as the agent sees it: whole 4 KiB sectors, and faults that say where they happened.
//!
//! The medium itself is passed by trait, because the order of writes is the product; everything here only
//! puts an address and an operation to an error, so that a report can say what failed.

use core::fmt;

use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// What every erase is a multiple of, in bytes.
pub const SECTOR_BYTES: usize = 4096;

/// Writes are padded with 0xFF to a multiple of this; it suits every ESP32, with and without encryption.
pub const WRITE_ALIGN_BYTES: usize = 32;

/// What the agent was doing when the flash refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading.
    Read,
    /// Erasing sectors.
    Erase,
    /// Writing.
    Write,
    /// Comparing what was written with what is there now.
    ReadBack,
}

/// A flash operation that did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What was being done.
    pub operation: Operation,
    /// Where, from the start of the flash.
    pub offset: u32,
    /// What the driver said.
    pub kind: NorFlashErrorKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::Read => "reading",
            Operation::Erase => "erasing",
            Operation::Write => "writing",
            Operation::ReadBack => "checking what was written to",
        };
        write!(f, "{operation} the flash at {:#x} failed", self.offset)
    }
}

impl core::error::Error for Fault {}

/// Reads `bytes.len()` bytes at `offset`; both are multiples of the flash's read size.
#[inline(never)]
pub fn read<F: ReadNorFlash>(flash: &mut F, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
    flash.read(offset, bytes).map_err(|error| Fault {
        operation: Operation::Read,
        offset,
        kind: error.kind(),
    })
}

/// Erases one sector to 0xFF.
pub(crate) fn erase<F: NorFlash>(flash: &mut F, offset: u32) -> Result<(), Fault> {
    erase_range(flash, offset, offset.saturating_add(SECTOR_BYTES as u32))
}

/// Erases whole sectors to 0xFF, in one operation where the flash has one for that length.
#[inline(never)]
pub(crate) fn erase_range<F: NorFlash>(flash: &mut F, offset: u32, end: u32) -> Result<(), Fault> {
    flash.erase(offset, end).map_err(|error| Fault {
        operation: Operation::Erase,
        offset,
        kind: error.kind(),
    })
}

/// Writes bytes to erased flash; length and offset are multiples of [`WRITE_ALIGN_BYTES`].
#[inline(never)]
pub(crate) fn write<F: NorFlash>(flash: &mut F, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
    flash.write(offset, bytes).map_err(|error| Fault {
        operation: Operation::Write,
        offset,
        kind: error.kind(),
    })
}

/// Whether the agent can work on this flash: sectors of at most 4 KiB and writes of at most 32 bytes.
pub(crate) fn is_supported<F: NorFlash>() -> bool {
    SECTOR_BYTES.is_multiple_of(F::ERASE_SIZE)
        && WRITE_ALIGN_BYTES.is_multiple_of(F::WRITE_SIZE)
        && WRITE_ALIGN_BYTES.is_multiple_of(F::READ_SIZE)
}
