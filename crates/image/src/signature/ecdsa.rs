//! ECDSA verification (FIPS 186-5, 6.4.2) on NIST P-256, over the block's SHA-256 digest.
//!
//! Written for size (docs/decisions/small-agent.md): with the crate `p256` an agent took 25 KB of flash more. Nothing
//! here is secret, so nothing takes care to take the same time. Tests hold every answer against that crate's.

mod curve;
mod number;

use self::curve::Point;
use self::number::{Number, ORDER, PRIME, exceeds, is_zero, plus};
use super::error::SignatureError;
use super::layout::SIGNATURE_BLOCK_BYTES;
use crate::u32_at;

const DIGEST_OFFSET: usize = 4;
const X_OFFSET: usize = 37;
const Y_OFFSET: usize = 69;
const R_OFFSET: usize = 101;
const S_OFFSET: usize = 133;

/// Whether the block's key signed the block's digest. Never inlined: one scheme must not pay with the
/// other's stack.
#[inline(never)]
pub(super) fn verify(block: &[u8; SIGNATURE_BLOCK_BYTES]) -> Result<(), SignatureError> {
    let key = Point::on_curve(&number(block, X_OFFSET), &number(block, Y_OFFSET));
    let key = key.ok_or(SignatureError::BadKey)?;
    let (r, s) = (number(block, R_OFFSET), number(block, S_OFFSET));
    // Step 1.
    let is_in_range = |number: &Number| !is_zero(number) && exceeds(&ORDER.n, number);
    if !is_in_range(&r) || !is_in_range(&s) {
        return Err(SignatureError::BadSignature);
    }
    // Steps 3 to 5. A product with one factor in Montgomery's form is in plain form.
    let inverse = ORDER.inverse(&s);
    let (u, v) = (ORDER.multiply(&digest(block), &inverse), ORDER.multiply(&r, &inverse));
    // Steps 6 to 9: the point's x is r, or r and the order where that is still below the prime.
    let point = Point::sum_of_products(&u, &v, &key);
    let (wrapped, carry) = plus(&r, &ORDER.n);
    if point.has_x(&r) || (!carry && exceeds(&PRIME.n, &wrapped) && point.has_x(&wrapped)) {
        Ok(())
    } else {
        Err(SignatureError::BadSignature)
    }
}

/// A number of the block, the least significant byte first.
fn number(block: &[u8; SIGNATURE_BLOCK_BYTES], offset: usize) -> Number {
    let mut number = [0; _];
    for (index, word) in number.iter_mut().enumerate() {
        *word = u32_at(block, offset + 4 * index);
    }
    number
}

/// The digest as a number, the most significant byte first.
fn digest(block: &[u8; SIGNATURE_BLOCK_BYTES]) -> Number {
    let mut number = number(block, DIGEST_OFFSET).map(u32::swap_bytes);
    number.reverse();
    number
}

#[cfg(test)]
mod tests;
