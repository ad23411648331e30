//! SHA-256 as devices need it. One function for each use: copies of them in every caller take kilobytes of a device's flash.

use sha2::{Digest, Sha256};

/// Takes more bytes.
#[inline(never)]
pub fn digest_on(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(bytes);
}

/// The digest of bytes that are in memory as a whole.
#[inline(never)]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    digest_on(&mut hash, bytes);
    digest_so_far(&hash)
}

/// The digest of all that was taken so far; more can follow.
#[inline(never)]
pub fn digest_so_far(hash: &Sha256) -> [u8; 32] {
    hash.clone().finalize().into()
}
