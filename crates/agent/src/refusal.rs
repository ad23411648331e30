//! Why something was refused or went wrong, in a few words of memory; it becomes a sentence only where it is sent.
//!
//! Owned here: the spelling of numbers and the sentences for what the flash, otadata and an image have to say. Nothing is
//! formatted by `core::fmt`, which takes several kilobytes of a device's flash.

use contract::Reason;
use heapless::String;
use image::signature::SignatureError;
use image::{Chip, ImageError};

use crate::flash::{Fault, Operation};
use crate::otadata::Refused;
use crate::sentences::Says;

/// A sentence, and the numbers in its gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) says: Says,
    pub(crate) numbers: [u32; 3],
}

/// Refuses with a sentence, and the numbers in it.
macro_rules! refuse {
    ($says:ident $(, $number:expr)* $(,)?) => {
        Err(crate::refusal::Refusal::new(crate::sentences::Says::$says, &[$($number),*]))
    };
}
pub(crate) use refuse;

impl Refusal {
    /// At most three numbers count.
    #[inline(never)]
    pub(crate) fn new(says: Says, given: &[u32]) -> Self {
        let mut numbers = [0; 3];
        for (number, given) in numbers.iter_mut().zip(given) {
            *number = *given;
        }
        Self { says, numbers }
    }

    #[inline(never)]
    pub(crate) const fn plain(says: Says) -> Self {
        Self { says, numbers: [0; 3] }
    }

    /// The sentence, with a text in its gap for one, and the code.
    #[inline(never)]
    pub(crate) fn reason(&self, text: &str) -> Reason {
        let mut reason = Reason::default();
        self.tell(text, &mut reason);
        reason.push_code(self.says.code());
        reason
    }

    #[inline(never)]
    pub(crate) fn tell(&self, text: &str, reason: &mut Reason) {
        let mut numbers = self.numbers.iter().copied();
        for letter in Says::letters(self.says as u32) {
            if letter == b'~' {
                reason.push_str(text);
                continue;
            }
            if !matches!(letter, b'#' | b'$' | b'@' | b'%' | b'=') {
                reason.push(letter.into());
                continue;
            }
            let number = numbers.next().unwrap_or_default();
            match letter {
                b'@' => {
                    let chip = u16::try_from(number).ok().and_then(Chip::from_id);
                    reason.push_str(chip.map_or("an unknown chip", Chip::name));
                }
                b'%' => {
                    reason.push('v');
                    reason.push_str(&digits(number / 100, 10));
                    reason.push('.');
                    reason.push_str(&digits(number % 100, 10));
                }
                b'=' => Says::letters(number).for_each(|letter| _ = reason.push(letter.into())),
                _ => reason.push_str(&digits(number, if letter == b'$' { 16 } else { 10 })),
            }
        }
    }
}

/// A number in digits to base 10, or to base 16 behind `0x`.
#[inline(never)]
pub(crate) fn digits(number: u32, base: u32) -> String<10> {
    let mut text = String::new();
    let mut unit = if base == 16 { 1 << 28 } else { 1_000_000_000 };
    if base == 16 {
        // Two letters and at most eight digits.
        let _ = text.push_str("0x");
    }
    let mut begun = false;
    while unit > 0 {
        let digit = (number / unit % base) as u8;
        begun |= digit > 0 || unit == 1;
        if begun {
            let _ = text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
        }
        unit /= base;
    }
    text
}

impl From<Fault> for Refusal {
    #[inline(never)]
    fn from(fault: Fault) -> Self {
        let says = match fault.operation {
            Operation::Read => Says::ReadFailed,
            Operation::Erase => Says::EraseFailed,
            Operation::Write => Says::WriteFailed,
            Operation::ReadBack => Says::KeptElse,
        };
        Self::new(says, &[fault.offset])
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::plain(refused.0)
    }
}

impl From<ImageError> for Refusal {
    /// Shorter sentences than [`ImageError`]'s own, which are for the person who chooses a file.
    #[inline(never)]
    fn from(error: ImageError) -> Self {
        let (says, first, second) = match error {
            ImageError::NotAnImage { first_byte } => (Says::NotEsp32, first_byte.into(), 0),
            ImageError::NotForEsp32 { .. } => (Says::Esp8266, 0, 0),
            ImageError::NotAnApplication => (Says::NoApplication, 0, 0),
            ImageError::MergedFlashImage { partition_table } => (Says::WholeChip, partition_table, 0),
            ImageError::TooLarge => (Says::Over16Mib, 0, 0),
            ImageError::TrailingBytes { end } => (Says::Trailing, end, 0),
            ImageError::Truncated { bytes, at_least } => (Says::Short, bytes, at_least),
            ImageError::SegmentCount { count } => (Says::SegmentCount, count.into(), 0),
            ImageError::SegmentLength { index, length_bytes } => {
                (Says::SegmentLength, index.into(), length_bytes)
            }
            ImageError::SegmentMisaligned { index, load_address, .. } => {
                (Says::SegmentMisaligned, index.into(), load_address)
            }
            ImageError::Checksum { stored, computed } => (Says::Checksum, stored.into(), computed.into()),
            ImageError::Digest => (Says::Digest, 0, 0),
            ImageError::Signature { block, error } => {
                (Says::BlockDamaged, u32::from(block) + 1, signature_says(error) as u32)
            }
        };
        Self { says, numbers: [first, second, 0] }
    }
}

pub(crate) const fn signature_says(error: SignatureError) -> Says {
    match error {
        SignatureError::NotABlock { .. } => Says::NoBlock,
        SignatureError::Damaged => Says::DamagedBlock,
        SignatureError::UnknownVersion { .. } => Says::UnknownVersion,
        SignatureError::P192 => Says::P192,
        SignatureError::P384 => Says::P384,
        SignatureError::UnknownCurve { .. } => Says::UnknownCurve,
        SignatureError::BadKey => Says::BadKey,
        SignatureError::BadSignature => Says::OtherKey,
        SignatureError::OtherDigest => Says::OtherImage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(says: Says, numbers: &[u32], text: &str) -> Reason {
        let mut reason = Reason::default();
        Refusal::new(says, numbers).tell(text, &mut reason);
        reason
    }

    #[test]
    fn the_gaps_in_a_sentence_are_filled_in_order() {
        let sentence = |says, numbers: &[u32], text| sentence(says, numbers, text);
        let words = "wrong chip: the image is for an unknown chip 0xab0, this device is esp32c3";
        assert_eq!(sentence(Says::UnknownChip, &[0xAB0, 5], "").as_str(), words);
        let words = "the image is for chip revisions v1.1 to v655.35, this one is v0.0";
        assert_eq!(sentence(Says::ChipRevision, &[101, 65535], "").as_str(), words);
        assert_eq!(sentence(Says::GivenUp, &[6], "no #").as_str(), "given up after 6 tries: no #");
        let block = [3, Says::P192 as u32];
        let words = "signature block #3: ECDSA on P-192 is too weak".replace('#', "");
        assert_eq!(sentence(Says::BlockDamaged, &block, "").as_str(), words);
    }

    #[test]
    fn numbers_have_no_leading_zeros() {
        for (number, text) in [(0, "0"), (7, "7"), (10, "10"), (1_000_000_000, "1000000000")] {
            assert_eq!(digits(number, 10), text);
        }
        for (number, text) in [(0, "0x0"), (16, "0x10"), (u32::MAX, "0xffffffff")] {
            assert_eq!(digits(number, 16), text);
        }
    }
}
