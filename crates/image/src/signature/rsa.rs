//! RSASSA-PSS-VERIFY (RFC 8017, 8.1.2) for 3072 bits, SHA-256 and a salt of 32 bytes.
//!
//! Three numbers of 384 bytes on the stack, no table, one multiplication routine. Nothing here is secret, so
//! nothing takes care to take the same time.
//!
//! Besides N and e the block brings R = 2^6144 mod N and M′ = −N⁻¹ mod 2^32, which Montgomery's multiplication needs.
//! Both follow from N, so both are checked against it: in a forged key they can only make it refused.

use sha2::{Digest, Sha256};

use super::error::SignatureError;
use super::layout::SIGNATURE_BLOCK_BYTES;
use crate::u32_at;

/// A number of 3072 bits, the least significant word first.
const WORDS: usize = 96;
type Number = [u32; WORDS];

const MODULUS_OFFSET: usize = 36;
const EXPONENT_OFFSET: usize = 420;
const R_OFFSET: usize = 424;
const M_PRIME_OFFSET: usize = 808;
const SIGNATURE_OFFSET: usize = 812;

/// The encoded message: masked salt and padding, a hash, and a byte that is always the same.
const ENCODED_BYTES: usize = 4 * WORDS;
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
const MASKED_BYTES: usize = ENCODED_BYTES - HASH_BYTES - 1;
const PADDING_BYTES: usize = MASKED_BYTES - SALT_BYTES - 1;
const TRAILER: u8 = 0xBC;

/// Whether the block's key signed the block's digest. Never inlined: one scheme must not pay with the
/// other's stack.
#[inline(never)]
pub(super) fn verify(block: &[u8; SIGNATURE_BLOCK_BYTES]) -> Result<(), SignatureError> {
    let mut message = [0; WORDS];
    let mut spare = [0; WORDS];
    let message = power(block, &mut message, &mut spare)?;
    if is_encoding_of(&block[4..MODULUS_OFFSET], message) {
        Ok(())
    } else {
        Err(SignatureError::BadSignature)
    }
}

/// RSAVP1 (5.2.2): the signature to the power of e, modulo N. Gives the buffer that holds it. Never inlined, for the
/// same reason.
#[inline(never)]
fn power<'a>(
    block: &[u8; SIGNATURE_BLOCK_BYTES],
    first: &'a mut Number,
    second: &'a mut Number,
) -> Result<&'a Number, SignatureError> {
    let r = |index: usize| u32_at(block, R_OFFSET + 4 * index);
    let signature = |index: usize| u32_at(block, SIGNATURE_OFFSET + 4 * index);
    let modulus = Modulus::of(block);
    modulus.check()?;
    let e = u32_at(block, EXPONENT_OFFSET);
    // 3.1: odd, from 3 up; that it has 32 bits bounds the work.
    if e < 3 || e.is_multiple_of(2) {
        return Err(SignatureError::BadKey);
    }
    let (mut result, mut spare) = (first, second);
    modulus.check_r(r, result, spare)?;
    // Step 1: the signature representative is less than N.
    if !modulus.exceeds(signature) {
        return Err(SignatureError::BadSignature);
    }
    // Step 2, from e's second bit down. `spare` is R since it was checked; what is multiplied by R is in Montgomery's
    // form, and a product with the plain signature leaves that form.
    modulus.multiply(result, spare, &signature);
    for bit in (0..e.ilog2()).rev() {
        let factor = &*result;
        modulus.multiply(spare, factor, &|index| word(factor, index));
        core::mem::swap(&mut result, &mut spare);
        if (e >> bit) & 1 == 1 {
            modulus.multiply(spare, result, &signature);
            core::mem::swap(&mut result, &mut spare);
            // e is odd, so this is skipped once, at the end.
            if bit > 0 {
                modulus.multiply(spare, result, &r);
                core::mem::swap(&mut result, &mut spare);
            }
        }
    }
    Ok(result)
}

/// N, and −N⁻¹ mod 2^32.
struct Modulus {
    n: Number,
    m_prime: u32,
}

impl Modulus {
    fn of(block: &[u8; SIGNATURE_BLOCK_BYTES]) -> Self {
        let mut modulus = Self { n: [0; WORDS], m_prime: u32_at(block, M_PRIME_OFFSET) };
        for (index, word) in modulus.n.iter_mut().enumerate() {
            *word = u32_at(block, MODULUS_OFFSET + 4 * index);
        }
        modulus
    }

    /// Refuses an N that is even or shorter than 3072 bits, and an M′ that is not its own.
    fn check(&self) -> Result<(), SignatureError> {
        // The product is −1 only if N is odd.
        if self.n[WORDS - 1] >> 31 == 0 || self.n[0].wrapping_mul(self.m_prime) != u32::MAX {
            return Err(SignatureError::BadKey);
        }
        Ok(())
    }

    /// Refuses an R that is not 2^6144 mod N; leaves the right one in `kept`.
    fn check_r(
        &self,
        r: impl Fn(usize) -> u32,
        scratch: &mut Number,
        kept: &mut Number,
    ) -> Result<(), SignatureError> {
        if !self.exceeds(&r) {
            return Err(SignatureError::BadKey);
        }
        for (index, word) in kept.iter_mut().enumerate() {
            *word = r(index);
        }
        // R · 1 · 2^-3072 must be 2^3072 mod N, which is 2^3072 − N since N's top bit is set. R, being less than N, is
        // the only number of which that is true.
        self.multiply(scratch, kept, &|index| u32::from(index == 0));
        let mut carry = 0;
        for (word, n) in scratch.iter().zip(&self.n) {
            let sum = u64::from(*word) + u64::from(*n) + carry;
            if low(sum) != 0 {
                return Err(SignatureError::BadKey);
            }
            carry = sum >> 32;
        }
        if carry == 1 { Ok(()) } else { Err(SignatureError::BadKey) }
    }

    /// Whether N is greater than the number with these words.
    fn exceeds(&self, number: impl Fn(usize) -> u32) -> bool {
        let differs = (0..WORDS).rev().find(|index| number(*index) != self.n[*index]);
        differs.is_some_and(|index| number(index) < self.n[index])
    }

    /// Montgomery's product, `factor` · `other` · 2^-3072 mod N, for a `factor` less than N and any `other`.
    fn multiply(&self, product: &mut Number, factor: &Number, other: &dyn Fn(usize) -> u32) {
        product.fill(0);
        // Below 2N after each round, so its 97th word is 0 or 1.
        let mut top = 0;
        for round in 0..WORDS {
            let other = u64::from(other(round));
            let sum = u64::from(product[0]) + u64::from(factor[0]) * other;
            // As often as N must be added for the lowest word to become 0 and drop out.
            let times = u64::from(low(sum).wrapping_mul(self.m_prime));
            let reduced = u64::from(low(sum)) + times * u64::from(self.n[0]);
            let (mut carry, mut reduced_carry) = (sum >> 32, reduced >> 32);
            for index in 1..WORDS {
                let sum = u64::from(product[index]) + u64::from(factor[index]) * other + carry;
                let reduced = u64::from(low(sum)) + times * u64::from(self.n[index]) + reduced_carry;
                product[index - 1] = low(reduced);
                (carry, reduced_carry) = (sum >> 32, reduced >> 32);
            }
            let sum = top + carry + reduced_carry;
            product[WORDS - 1] = low(sum);
            top = sum >> 32;
        }
        if top == 1 || !self.exceeds(|index| word(product, index)) {
            let mut borrow = false;
            for (word, n) in product.iter_mut().zip(&self.n) {
                let (difference, first) = word.overflowing_sub(*n);
                let (difference, second) = difference.overflowing_sub(u32::from(borrow));
                (*word, borrow) = (difference, first || second);
            }
        }
    }
}

/// One word; the index is below [`WORDS`].
fn word(number: &Number, index: usize) -> u32 {
    number.get(index).copied().unwrap_or_default()
}

/// EMSA-PSS-VERIFY (9.1.2), with 3071 bits for the encoded message. Never inlined: its hashes need the stack that
/// the modulus no longer does.
#[inline(never)]
fn is_encoding_of(digest: &[u8], message: &Number) -> bool {
    // I2OSP (4.1): the most significant byte first.
    let byte = |index: usize| (word(message, WORDS - 1 - index / 4) >> (24 - index % 4 * 8)) as u8;
    // Step 4, and step 6: the one bit that is beyond the 3071.
    if byte(ENCODED_BYTES - 1) != TRAILER || byte(0) & 0x80 != 0 {
        return false;
    }
    let mut hash = [0; HASH_BYTES];
    for (index, place) in hash.iter_mut().enumerate() {
        *place = byte(MASKED_BYTES + index);
    }
    // Steps 7 to 11, a block of MGF1's mask (appendix B.2.1) at a time.
    let mut salt = [0; SALT_BYTES];
    let mut counter = 0_u32;
    let mut mask = [0; HASH_BYTES];
    for index in 0..MASKED_BYTES {
        if index.is_multiple_of(HASH_BYTES) {
            mask = Sha256::new_with_prefix(hash).chain_update(counter.to_be_bytes()).finalize().into();
            counter += 1;
        }
        let mut unmasked = byte(index) ^ mask[index % HASH_BYTES];
        if index == 0 {
            unmasked &= 0x7F;
        }
        match index {
            0..PADDING_BYTES if unmasked != 0 => return false,
            0..PADDING_BYTES => {}
            PADDING_BYTES if unmasked != 1 => return false,
            PADDING_BYTES => {}
            _ => salt[index - PADDING_BYTES - 1] = unmasked,
        }
    }
    // Steps 12 to 14.
    let expected = Sha256::new_with_prefix([0; 8]).chain_update(digest).chain_update(salt).finalize();
    <[u8; HASH_BYTES]>::from(expected) == hash
}

#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with these numbers, given by their lowest word, what fills the middle, and their highest word.
    fn block(n: [u32; 3], e: u32, r: [u32; 3], signature: [u32; 3]) -> [u8; SIGNATURE_BLOCK_BYTES] {
        let mut block = [0; SIGNATURE_BLOCK_BYTES];
        let mut put =
            |offset: usize, word: u32| block[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
        for (offset, number) in [(MODULUS_OFFSET, n), (R_OFFSET, r), (SIGNATURE_OFFSET, signature)] {
            for (index, word) in number_of(number).into_iter().enumerate() {
                put(offset + 4 * index, word);
            }
        }
        put(EXPONENT_OFFSET, e);
        // For the two lowest words that are used below, each of which is its own inverse.
        put(M_PRIME_OFFSET, n[0].wrapping_neg());
        block
    }

    fn number_of([lowest, middle, highest]: [u32; 3]) -> Number {
        let mut number = [middle; WORDS];
        (number[0], number[WORDS - 1]) = (lowest, highest);
        number
    }

    fn power_is(block: &[u8; SIGNATURE_BLOCK_BYTES], expected: [u32; 3]) {
        let (mut first, mut second) = ([7; WORDS], [7; WORDS]);
        assert_eq!(power(block, &mut first, &mut second), Ok(&number_of(expected)));
    }

    #[test]
    fn powers_at_the_ends_of_the_range_are_right() {
        // N = 2^3072 − 1, so R = 1; N = 2^3071 + 1, so R = 4.
        let largest = ([u32::MAX; 3], [1, 0, 0]);
        let smallest = ([1, 0, 1 << 31], [4, 0, 0]);
        for (n, r) in [largest, smallest] {
            let minus_one = [n[0] - 1, n[1], n[2]];
            for e in [3, 5, 7, 101, 65_537, u32::MAX] {
                power_is(&block(n, e, r, [0, 0, 0]), [0, 0, 0]);
                power_is(&block(n, e, r, [1, 0, 0]), [1, 0, 0]);
                power_is(&block(n, e, r, minus_one), minus_one);
            }
            power_is(&block(n, 7, r, [3, 0, 0]), [2187, 0, 0]);
            power_is(&block(n, 31, r, [2, 0, 0]), [1 << 31, 0, 0]);
        }
        // 2^3071 is −1 for the second, so 2^3073 is −4.
        power_is(&block(smallest.0, 3073, smallest.1, [2, 0, 0]), [u32::MAX - 2, u32::MAX, (1 << 31) - 1]);
    }
}
