//! ECDSA on NIST P-256, over the block's SHA-256 digest. The curve is the `p256` crate's; the block's byte order is not.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};

use super::error::SignatureError;
use super::layout::SIGNATURE_BLOCK_BYTES;

const DIGEST_OFFSET: usize = 4;
const DIGEST_END: usize = 36;
const POINT_OFFSET: usize = 37;
const SIGNATURE_OFFSET: usize = 101;

/// Whether the block's key signed the block's digest. Never inlined: one scheme must not pay with the
/// other's stack.
#[inline(never)]
pub(super) fn verify(block: &[u8; SIGNATURE_BLOCK_BYTES]) -> Result<(), SignatureError> {
    // SEC 1, 2.3.3: a point that is not compressed begins with 4.
    let mut point = [4; 65];
    point[1..].copy_from_slice(&big_endian(block, POINT_OFFSET));
    // Refuses a point that is not on the curve.
    let key = VerifyingKey::from_sec1_bytes(&point).map_err(|_| SignatureError::BadKey)?;
    // Refuses r and s that are 0 or not below the curve's order.
    let signature = Signature::from_slice(&big_endian(block, SIGNATURE_OFFSET));
    let signature = signature.map_err(|_| SignatureError::BadSignature)?;
    key.verify_prehash(&block[DIGEST_OFFSET..DIGEST_END], &signature)
        .map_err(|_| SignatureError::BadSignature)
}

/// Two little-endian numbers of 32 bytes, each turned around.
fn big_endian(block: &[u8; SIGNATURE_BLOCK_BYTES], offset: usize) -> [u8; 64] {
    let mut pair = [0; 64];
    pair.copy_from_slice(&block[offset..offset + 64]);
    pair[..32].reverse();
    pair[32..].reverse();
    pair
}
