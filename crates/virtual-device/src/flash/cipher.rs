//! Flash encryption, as far as software notices it.
//!
//! It stands for ESP32's XTS-AES in what matters here and nothing else: 16 bytes at a time, each under its own address,
//! so that erased flash reads as noise, a torn or corrupt bit garbles 16 bytes, and nothing can be written but whole
//! units to erased flash. It protects nothing.

use std::ops::Range;

use agent::partition::{ENTRY_BYTES, TABLE_MAX_BYTES};

use super::cut::mixed;

pub(super) const UNIT_BYTES: usize = 16;
const ROUNDS: [u64; 4] = [1, 2, 3, 4];

#[derive(Debug, Clone)]
pub(super) struct Cipher {
    key: u64,
    /// What lies on the flash as it is: data partitions without the flag, NVS among them.
    plain: Vec<Range<u32>>,
}

impl Cipher {
    /// `table`: the partition table, not encrypted yet.
    pub(super) fn new(key: u64, table: &[u8; TABLE_MAX_BYTES]) -> Self {
        let word = |entry: &[u8], at: usize| {
            u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        let entries = table.chunks_exact(ENTRY_BYTES).take_while(|entry| entry[..2] == [0xAA, 0x50]);
        // Apps, otadata and NVS keys are encrypted whatever the flag says (ESP-IDF's flash_encrypt.c).
        let plain = entries
            .filter(|entry| entry[2] == 1 && !matches!(entry[3], 0 | 4) && entry[28] & 1 == 0)
            .map(|entry| word(entry, 4)..word(entry, 4).saturating_add(word(entry, 8)));
        Self { key, plain: plain.collect() }
    }

    /// Whether anything in a range is encrypted. Partitions begin and end at sectors, and so do operations on flash.
    pub(super) fn concerns(&self, offset: usize, length: usize) -> bool {
        let end = offset + length;
        !self.plain.iter().any(|plain| plain.start as usize <= offset && end <= plain.end as usize)
    }

    /// `offset` and length are multiples of [`UNIT_BYTES`].
    pub(super) fn encrypt(&self, offset: usize, bytes: &mut [u8]) {
        self.each_unit(offset, bytes, |key, mut left, mut right| {
            for round in ROUNDS {
                (left, right) = (right, left ^ mixed(right ^ mixed(key ^ round)));
            }
            (left, right)
        });
    }

    pub(super) fn decrypt(&self, offset: usize, bytes: &mut [u8]) {
        self.each_unit(offset, bytes, |key, mut left, mut right| {
            for round in ROUNDS.into_iter().rev() {
                (left, right) = (right ^ mixed(left ^ mixed(key ^ round)), left);
            }
            (left, right)
        });
    }

    fn each_unit(&self, offset: usize, bytes: &mut [u8], cipher: impl Fn(u64, u64, u64) -> (u64, u64)) {
        for (at, unit) in (offset..).step_by(UNIT_BYTES).zip(bytes.chunks_exact_mut(UNIT_BYTES)) {
            if !self.concerns(at, UNIT_BYTES) {
                continue;
            }
            let whole = u128::from_le_bytes(unit.try_into().expect("16 bytes"));
            let (left, right) = cipher(mixed(self.key ^ at as u64), (whole >> 64) as u64, whole as u64);
            unit.copy_from_slice(&(u128::from(left) << 64 | u128::from(right)).to_le_bytes());
        }
    }
}
