//! Numbers of 256 bits, and arithmetic modulo the curve's prime and its order.
//!
//! All of it can be computed at compile time, where the constants of the curve come from.

#![allow(clippy::cast_possible_truncation, reason = "the lower half of a sum or product is what is wanted")]

/// The least significant word first.
pub(super) const WORDS: usize = 8;
pub(super) type Number = [u32; WORDS];

/// The field's prime (SP 800-186, 3.2.1.3).
pub(super) static PRIME: Modulus = Modulus::PRIME;
/// The order of the curve's group.
pub(super) static ORDER: Modulus = Modulus::new([
    0xFC63_2551,
    0xF3B9_CAC2,
    0xA717_9E84,
    0xBCE6_FAAD,
    0xFFFF_FFFF,
    0xFFFF_FFFF,
    0,
    0xFFFF_FFFF,
]);

/// An odd number above 2^255, and what Montgomery's multiplication needs of it.
pub(super) struct Modulus {
    pub(super) n: Number,
    /// −n⁻¹ mod 2^32.
    m_prime: u32,
    /// 2^512 mod n.
    r_squared: Number,
}

impl Modulus {
    pub(super) const PRIME: Self =
        Self::new([0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0, 0, 0, 1, 0xFFFF_FFFF]);

    const fn new(n: Number) -> Self {
        // Each round doubles the bits that are right (Hensel).
        let (mut inverse, mut round) = (1_u32, 0);
        while round < 5 {
            inverse = inverse.wrapping_mul(2_u32.wrapping_sub(n[0].wrapping_mul(inverse)));
            round += 1;
        }
        let mut modulus = Self { n, m_prime: inverse.wrapping_neg(), r_squared: [0; WORDS] };
        let (mut power, mut bit) = ([1, 0, 0, 0, 0, 0, 0, 0], 0);
        while bit < 2 * 32 * WORDS {
            power = modulus.add(&power, &power);
            bit += 1;
        }
        modulus.r_squared = power;
        modulus
    }

    /// The sum of two numbers below n.
    #[inline(never)]
    pub(super) const fn add(&self, left: &Number, right: &Number) -> Number {
        let (sum, carry) = plus(left, right);
        let (reduced, borrow) = minus(&sum, &self.n);
        if carry || !borrow { reduced } else { sum }
    }

    /// The difference of two numbers below n.
    #[inline(never)]
    pub(super) const fn subtract(&self, left: &Number, right: &Number) -> Number {
        let (difference, borrow) = minus(left, right);
        if borrow { plus(&difference, &self.n).0 } else { difference }
    }

    /// Montgomery's product, `left` · `right` · 2^-256 mod n, for a `left` below n and any `right`.
    #[inline(never)]
    pub(super) const fn multiply(&self, left: &Number, right: &Number) -> Number {
        let (mut product, mut top, mut round) = ([0; WORDS], 0_u64, 0);
        while round < WORDS {
            let factor = right[round] as u64;
            let sum = product[0] as u64 + left[0] as u64 * factor;
            // As often as n must be added for the lowest word to become 0 and drop out.
            let times = (sum as u32).wrapping_mul(self.m_prime) as u64;
            let reduced = sum as u32 as u64 + times * self.n[0] as u64;
            let (mut carry, mut reduced_carry, mut index) = (sum >> 32, reduced >> 32, 1);
            while index < WORDS {
                let sum = product[index] as u64 + left[index] as u64 * factor + carry;
                let reduced = sum as u32 as u64 + times * self.n[index] as u64 + reduced_carry;
                product[index - 1] = reduced as u32;
                (carry, reduced_carry) = (sum >> 32, reduced >> 32);
                index += 1;
            }
            let sum = top + carry + reduced_carry;
            product[WORDS - 1] = sum as u32;
            top = sum >> 32;
            round += 1;
        }
        // Below 2n after each round.
        let (reduced, borrow) = minus(&product, &self.n);
        if top == 1 || !borrow { reduced } else { product }
    }

    /// A number below n in Montgomery's form.
    pub(super) const fn form(&self, number: &Number) -> Number {
        self.multiply(number, &self.r_squared)
    }

    /// The inverse of a number that is not 0, modulo n, in Montgomery's form; n is a prime (Fermat).
    #[inline(never)]
    pub(super) fn inverse(&self, number: &Number) -> Number {
        let (exponent, _) = minus(&self.n, &[2, 0, 0, 0, 0, 0, 0, 0]);
        let base = self.form(number);
        // The highest bit is set.
        let mut power = base;
        for bit in (0..32 * WORDS - 1).rev() {
            power = self.multiply(&power, &power);
            if bit_of(&exponent, bit) {
                power = self.multiply(&power, &base);
            }
        }
        power
    }
}

/// The sum, and whether it has a 257th bit.
pub(super) const fn plus(left: &Number, right: &Number) -> (Number, bool) {
    let (mut sum, mut carry, mut index) = ([0; WORDS], 0, 0);
    while index < WORDS {
        let word = left[index] as u64 + right[index] as u64 + carry;
        sum[index] = word as u32;
        carry = word >> 32;
        index += 1;
    }
    (sum, carry == 1)
}

/// The difference, and whether it is below 0.
const fn minus(left: &Number, right: &Number) -> (Number, bool) {
    let (mut difference, mut borrow, mut index) = ([0; WORDS], false, 0);
    while index < WORDS {
        let (word, first) = left[index].overflowing_sub(right[index]);
        let (word, second) = word.overflowing_sub(borrow as u32);
        difference[index] = word;
        borrow = first || second;
        index += 1;
    }
    (difference, borrow)
}

pub(super) fn is_zero(number: &Number) -> bool {
    number.iter().all(|word| *word == 0)
}

/// Whether the first is greater than the second.
pub(super) fn exceeds(greater: &Number, less: &Number) -> bool {
    minus(less, greater).1
}

/// A bit, from the lowest on.
pub(super) fn bit_of(number: &Number, bit: usize) -> bool {
    number.get(bit / 32).is_some_and(|word| word >> (bit % 32) & 1 == 1)
}
