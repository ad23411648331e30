//! The curve y² = x³ − 3x + b, in projective coordinates: (x : y : z) is the point (x/z, y/z), and z is 0 at infinity.

use core::ops::{Add, Mul, Sub};

use super::number::{Modulus, Number, PRIME, WORDS, bit_of, exceeds, is_zero};

/// A number modulo the prime, in Montgomery's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element(Number);

impl Element {
    const ZERO: Self = Self([0; WORDS]);
    const ONE: Self = Self::new(&[1, 0, 0, 0, 0, 0, 0, 0]);
    const B: Self = Self::new(&[
        0x27D2_604B,
        0x3BCE_3C3E,
        0xCC53_B0F6,
        0x651D_06B0,
        0x7698_86BC,
        0xB3EB_BD55,
        0xAA3A_93E7,
        0x5AC6_35D8,
    ]);

    /// Of a number below the prime.
    const fn new(number: &Number) -> Self {
        Self(Modulus::PRIME.form(number))
    }

    fn triple(self) -> Self {
        self + self + self
    }
}

impl Add for Element {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(PRIME.add(&self.0, &other.0))
    }
}

impl Sub for Element {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(PRIME.subtract(&self.0, &other.0))
    }
}

impl Mul for Element {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self(PRIME.multiply(&self.0, &other.0))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    x: Element,
    y: Element,
    z: Element,
}

impl Point {
    const INFINITY: Self = Self { x: Element::ZERO, y: Element::ONE, z: Element::ZERO };
    /// What the order is the order of.
    const BASE: Self = Self {
        x: Element::new(&[
            0xD898_C296,
            0xF4A1_3945,
            0x2DEB_33A0,
            0x7703_7D81,
            0x63A4_40F2,
            0xF8BC_E6E5,
            0xE12C_4247,
            0x6B17_D1F2,
        ]),
        y: Element::new(&[
            0x37BF_51F5,
            0xCBB6_4068,
            0x6B31_5ECE,
            0x2BCE_3357,
            0x7C0F_9E16,
            0x8EE7_EB4A,
            0xFE1A_7F9B,
            0x4FE3_42E2,
        ]),
        z: Element::ONE,
    };

    /// The point with these coordinates, if the curve has it.
    #[inline(never)]
    pub(super) fn on_curve(x: &Number, y: &Number) -> Option<Self> {
        if !exceeds(&PRIME.n, x) || !exceeds(&PRIME.n, y) {
            return None;
        }
        let (x, y) = (Element(PRIME.form(x)), Element(PRIME.form(y)));
        (y * y == x * x * x - x.triple() + Element::B).then_some(Self { x, y, z: Element::ONE })
    }

    /// `u` times the base point and `v` times `other`, bit by bit.
    #[inline(never)]
    pub(super) fn sum_of_products(u: &Number, v: &Number, other: &Self) -> Self {
        let both = Self::BASE.plus(other);
        let mut sum = Self::INFINITY;
        for bit in (0..32 * WORDS).rev() {
            sum = sum.plus(&sum);
            match (bit_of(u, bit), bit_of(v, bit)) {
                (true, true) => sum = sum.plus(&both),
                (true, false) => sum = sum.plus(&Self::BASE),
                (false, true) => sum = sum.plus(other),
                (false, false) => {}
            }
        }
        sum
    }

    /// The sum of any two points, the same one and infinity among them: algorithm 4 of Renes, Costello and Batina, "Complete
    /// addition formulas for prime order elliptic curves" (2015/1060).
    #[inline(never)]
    fn plus(&self, other: &Self) -> Self {
        let (xx, yy, zz) = (self.x * other.x, self.y * other.y, self.z * other.z);
        let xy = (self.x + self.y) * (other.x + other.y) - (xx + yy);
        let yz = (self.y + self.z) * (other.y + other.z) - (yy + zz);
        let xz = (self.x + self.z) * (other.x + other.z) - (xx + zz);
        let bzz = (xz - Element::B * zz).triple();
        let bxz = (Element::B * xz - (zz.triple() + xx)).triple();
        let (less, more, rest) = (yy - bzz, yy + bzz, xx.triple() - zz.triple());
        Self { x: more * xy - yz * bxz, y: more * less + rest * bxz, z: less * yz + xy * rest }
    }

    /// Whether its x is this number, which is below the prime. Infinity has none.
    #[inline(never)]
    pub(super) fn has_x(&self, x: &Number) -> bool {
        !is_zero(&self.z.0) && self.x == Element(PRIME.form(x)) * self.z
    }
}
