//! Where what lies in a signature sector.

/// The sector that follows the padded image; the last of the file.
pub const SIGNATURE_SECTOR_BYTES: usize = 4096;
/// One block of it.
pub const SIGNATURE_BLOCK_BYTES: usize = 1216;
/// How many blocks a sector holds.
pub const SIGNATURE_BLOCKS_MAX: usize = 3;

pub(crate) const BLOCK_MAGIC: u8 = 0xE7;
/// Magic, version, two more bytes, and the digest that was signed.
pub(crate) const BLOCK_HEAD_BYTES: usize = 36;
pub(crate) const VERSION_RSA: u8 = 2;
pub(crate) const VERSION_ECDSA: u8 = 3;
/// Byte 2 of an ECDSA block that signs a SHA-384 digest, and is laid out otherwise.
pub(super) const HASH_SHA384: u8 = 1;
pub(super) const CURVE_P192: u8 = 1;
pub(crate) const CURVE_P256: u8 = 2;
/// The CRC-32 of all before it; 16 zero bytes follow.
pub(crate) const CRC_OFFSET: usize = 1196;
/// The public key of an RSA block: N, e, R and M′; that of a P-256 block: the curve's number, X and Y.
pub(super) const RSA_KEY_END: usize = 812;
pub(super) const P256_KEY_END: usize = 101;
/// Where a P-256 block's signature ends, and nothing but zeros follows.
pub(super) const P256_END: usize = 165;
