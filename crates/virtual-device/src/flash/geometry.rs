//! How large the flash and its parts are.

/// What is erased at once, in bytes.
pub const SECTOR_BYTES: usize = 4096;
/// What [`super::Flash::erase_blocks`] erases at once where it can, in bytes.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// What is programmed at once, in bytes: a cut can fall between two of them.
pub const PAGE_BYTES: usize = 256;
/// The flash of a usual module, in bytes.
pub const CAPACITY_BYTES: usize = 4 * 1024 * 1024;
