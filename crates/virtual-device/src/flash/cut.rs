//! Power cuts, and what they leave of an operation that was under way.

/// What a cut leaves of one erase or one written page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// The first half was done, the other not begun.
    FirstHalf,
    /// The second half was done, the first not begun: nothing says that a chip works upwards.
    SecondHalf,
    /// The first words of four bytes were done, of this number.
    Words(usize),
    /// Whole bytes, then some bits, then nothing; of an erase, bits all over: most often some that are 1 already,
    /// sometimes some that are 0, since chips program a sector before they erase it.
    Bits {
        /// Decides which bits.
        seed: u64,
    },
}

/// When in an operation the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it happened.
    Before,
    /// A part of it happened.
    During(Tear),
    /// All of it happened.
    After,
}

/// A power cut to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// At which operation, counted from 1 over the flash's life (an erased sector or block, a written page).
    pub operation: u64,
    /// When in it.
    pub moment: Moment,
}

impl Tear {
    /// What a torn write leaves: `after` is `before` with bits cleared.
    pub(super) fn of_write(self, before: &[u8], after: &[u8]) -> Vec<u8> {
        let Self::Bits { seed } = self else { return self.in_part(before, after) };
        let mut random = seed;
        let whole = usize::from(next(&mut random)) % after.len();
        let torn = before.iter().zip(after).enumerate().map(|(at, (before, after))| match at {
            _ if at < whole => *after,
            _ if at < whole + 8 => *before & (*after | next(&mut random)),
            _ => *before,
        });
        torn.collect()
    }

    pub(super) fn of_erase(self, before: &[u8]) -> Vec<u8> {
        let Self::Bits { seed } = self else { return self.in_part(before, &vec![0xFF; before.len()]) };
        let mut random = seed;
        let programmed_first = next(&mut random).is_multiple_of(4);
        let torn = before.iter().map(|before| {
            let bits = next(&mut random);
            if programmed_first { before & bits } else { before | bits }
        });
        torn.collect()
    }

    fn in_part(self, before: &[u8], after: &[u8]) -> Vec<u8> {
        let half = before.len() / 2;
        let done = match self {
            Self::FirstHalf | Self::Bits { .. } => 0..half,
            Self::SecondHalf => half..before.len(),
            Self::Words(words) => 0..(4 * words).min(before.len()),
        };
        let mut torn = before.to_vec();
        torn[done.clone()].copy_from_slice(&after[done]);
        torn
    }
}

/// SplitMix64, one byte at a time: torn bits must be repeatable, nothing more.
pub(super) fn next(random: &mut u64) -> u8 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    (mixed(*random) >> 56) as u8
}

/// SplitMix64's finish: each bit of the input changes about half of the output's.
pub(super) const fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
