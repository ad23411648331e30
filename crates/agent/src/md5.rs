//! MD5 (RFC 1321), of blocks that the caller pads: what partition tables carry against damage, never against an attacker.
//!
//! In a loop, where the `md-5` crate has its 64 rounds one behind the other: that takes 2.3 KB more of a device's flash.

pub(crate) const INITIAL: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
/// Whole parts of 2^32 times the sine of 1 to 64.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "they are whole parts, and positive"
)]
const SINES: [u32; 64] = {
    // Each sine and cosine from the one before, by the sum formulas.
    const SIN_1: f64 = 0.841_470_984_807_896_5;
    const COS_1: f64 = 0.540_302_305_868_139_8;
    let (mut sines, mut step) = ([0; 64], 0);
    let (mut sin, mut cos) = (SIN_1, COS_1);
    while step < 64 {
        sines[step] = (sin.abs() * 4_294_967_296.0) as u32;
        (sin, cos) = (sin * COS_1 + cos * SIN_1, cos * COS_1 - sin * SIN_1);
        step += 1;
    }
    sines
};
/// By how much each round of 16 steps rotates, in turn.
const SHIFTS: [[u8; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

pub(crate) fn compress(state: &mut [u32; 4], block: &[u8; 64]) {
    let [mut a, mut b, mut c, mut d] = *state;
    for (step, sine) in SINES.iter().enumerate() {
        let (mixed, word) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((b & d) | (c & !d), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let word = crate::bytes::word(block, word % 16 * 4);
        let sum = a.wrapping_add(mixed).wrapping_add(*sine).wrapping_add(word);
        let turned = sum.rotate_left(SHIFTS[step / 16 % 4][step % 4].into());
        (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use ::md5::{Digest, Md5};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digests_agree_with_the_md5_crate(bytes: [u8; 32], more: [[u8; 32]; 3], odd: bool) {
            let mut text = bytes.to_vec();
            for more in more.iter().skip(usize::from(odd)) {
                text.extend_from_slice(more);
            }
            let expected = Md5::digest(&text);
            let bits = (text.len() as u64 * 8).to_le_bytes();
            text.push(0x80);
            while text.len() % 64 != 56 {
                text.push(0);
            }
            text.extend_from_slice(&bits);
            let mut state = INITIAL;
            for block in text.chunks(64) {
                compress(&mut state, block.try_into().expect("64 bytes"));
            }
            let found: std::vec::Vec<u8> = state.iter().flat_map(|word| word.to_le_bytes()).collect();
            prop_assert_eq!(found.as_slice(), expected.as_slice());
        }
    }
}
