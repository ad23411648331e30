//! Why something was refused or went wrong, in a few words of memory; it becomes a sentence only where it is told.
//!
//! Owned here: the spelling of numbers and the sentences for what the flash, otadata and an image have to say. Nothing is
//! formatted by `core::fmt`, which takes several kilobytes of a device's flash.

use contract::{Code, Reason};
use heapless::String;
use image::signature::SignatureError;
use image::{Chip, ImageError};

use crate::flash::{Fault, Operation};
use crate::otadata::Refused;

/// A code and a sentence, whose gaps are filled from the left: `#` with a number, `$` with one in hexadecimal, `@` with the
/// name of the chip that has this id, `%` with a revision; `~` with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal<'a> {
    pub(crate) code: Code,
    pub(crate) words: &'static str,
    pub(crate) numbers: [u32; 3],
    pub(crate) text: &'a str,
}

/// Refuses with a code, words, and the numbers in them.
macro_rules! refuse {
    ($code:ident, $words:expr $(, $number:expr)* $(,)?) => {
        Err(crate::refusal::Refusal::new(contract::Code::$code, $words, &[$($number),*]))
    };
}
pub(crate) use refuse;

impl<'a> Refusal<'a> {
    /// At most three numbers count.
    #[inline(never)]
    pub(crate) fn new(code: Code, words: &'static str, given: &[u32]) -> Self {
        let mut numbers = [0; 3];
        for (number, given) in numbers.iter_mut().zip(given) {
            *number = *given;
        }
        Self { code, words, numbers, text: "" }
    }

    #[inline(never)]
    pub(crate) const fn plain(code: Code, words: &'static str) -> Self {
        Self { code, words, numbers: [0; 3], text: "" }
    }

    pub(crate) const fn quoting(code: Code, words: &'static str, text: &'a str) -> Self {
        Self { code, words, numbers: [0; 3], text }
    }

    /// The sentence and the code.
    pub(crate) fn reason(&self) -> Reason {
        let mut reason = Reason::default();
        self.tell(&mut reason);
        reason.coded(self.code)
    }

    /// Appends the sentence.
    #[inline(never)]
    pub(crate) fn tell(&self, reason: &mut Reason) {
        let mut numbers = self.numbers.iter().copied();
        let mut begun = 0;
        for (at, letter) in self.words.bytes().enumerate() {
            if !matches!(letter, b'#' | b'$' | b'@' | b'%' | b'~') {
                continue;
            }
            reason.push_str(self.words.get(begun..at).unwrap_or_default());
            begun = at + 1;
            if letter == b'~' {
                reason.push_str(self.text);
                continue;
            }
            let number = numbers.next().unwrap_or_default();
            match letter {
                b'@' => {
                    let chip = u16::try_from(number).ok().and_then(Chip::from_id);
                    reason.push_str(chip.map_or("an unknown chip", Chip::name));
                }
                b'%' => {
                    reason.push_str("v");
                    reason.push_str(&digits(number / 100, 10));
                    reason.push_str(".");
                    reason.push_str(&digits(number % 100, 10));
                }
                _ => reason.push_str(&digits(number, if letter == b'$' { 16 } else { 10 })),
            }
        }
        reason.push_str(self.words.get(begun..).unwrap_or_default());
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

impl From<Fault> for Refusal<'_> {
    #[inline(never)]
    fn from(fault: Fault) -> Self {
        let words = match fault.operation {
            Operation::Read => "reading the flash at $ failed",
            Operation::Erase => "erasing the flash at $ failed",
            Operation::Write => "writing the flash at $ failed",
            Operation::ReadBack => "the flash at $ kept something else",
        };
        Self::new(Code::Flash, words, &[fault.offset])
    }
}

impl From<Refused> for Refusal<'_> {
    fn from(refused: Refused) -> Self {
        Self::plain(Code::Otadata, refused.as_str())
    }
}

impl From<ImageError> for Refusal<'_> {
    /// Shorter sentences than [`ImageError`]'s own, which are for the person who chooses a file.
    #[inline(never)]
    fn from(error: ImageError) -> Self {
        let (code, words, numbers) = match error {
            ImageError::NotAnImage { first_byte } => {
                (Code::NotAnImage, "not an ESP32 image: it begins with $", [first_byte.into(), 0])
            }
            ImageError::NotForEsp32 { .. } => {
                (Code::NotAnImage, "not an ESP32 image, but perhaps an ESP8266's", [0, 0])
            }
            ImageError::NotAnApplication => {
                (Code::NotAnImage, "a bootloader or a program for RAM, no application", [0, 0])
            }
            ImageError::MergedFlashImage { partition_table } => {
                let words = "a whole flash chip (partition table at $), no application";
                (Code::NotAnImage, words, [partition_table, 0])
            }
            ImageError::TooLarge => (Code::TooLarge, "the image is larger than 16 MiB", [0, 0]),
            ImageError::TrailingBytes { end } => {
                let words = "the image ends at byte #, and what follows is no signature";
                (Code::TrailingBytes, words, [end, 0])
            }
            ImageError::Truncated { bytes, at_least } => {
                (Code::Damaged, "the image is cut short: # bytes instead of # or more", [bytes, at_least])
            }
            ImageError::SegmentCount { count } => {
                (Code::Damaged, "the image is damaged: it says # segments", [count.into(), 0])
            }
            ImageError::SegmentLength { index, length_bytes } => (
                Code::Damaged,
                "the image is damaged: segment # claims # bytes",
                [index.into(), length_bytes],
            ),
            ImageError::SegmentMisaligned { index, load_address, .. } => {
                let words = "the image is damaged: segment # cannot lie at $";
                (Code::Damaged, words, [index.into(), load_address])
            }
            ImageError::Checksum { stored, computed } => {
                let words = "the image is damaged: checksum $ instead of $";
                (Code::Damaged, words, [stored.into(), computed.into()])
            }
            ImageError::Digest => (Code::Damaged, "the image is damaged: its SHA-256 differs", [0, 0]),
            ImageError::Signature { block, .. } => {
                (Code::Damaged, "signature block #: ~", [u32::from(block) + 1, 0])
            }
        };
        let text = if let ImageError::Signature { error, .. } = error { signature_words(error) } else { "" };
        Self { text, ..Self::new(code, words, &numbers) }
    }
}

/// What is wrong with a signature.
pub(crate) const fn signature_words(error: SignatureError) -> &'static str {
    match error {
        SignatureError::NotABlock { .. } => "no signature block",
        SignatureError::Damaged => "damaged",
        SignatureError::UnknownVersion { .. } => "of an unknown version",
        SignatureError::P192 => "ECDSA on P-192 is too weak",
        SignatureError::P384 => "ECDSA on P-384 is not supported",
        SignatureError::UnknownCurve { .. } => "ECDSA on an unknown curve",
        SignatureError::BadKey => "the public key cannot be one",
        SignatureError::BadSignature => "not signed by the key that it names",
        SignatureError::OtherDigest => "of another image",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refusal: &Refusal<'_>) -> Reason {
        let mut reason = Reason::default();
        refusal.tell(&mut reason);
        reason
    }

    #[test]
    fn the_gaps_in_a_sentence_are_filled_in_order() {
        let refusal = Refusal::new(Code::WrongChip, "# then $ and @, or %", &[4_294_967_295, 0xAB0, 5]);
        assert_eq!(told(&refusal).as_str(), "4294967295 then 0xab0 and esp32c3, or v0.0");
        let refusal = Refusal::new(Code::ChipRevision, "% to %", &[101, 65535]);
        assert_eq!(told(&refusal).as_str(), "v1.1 to v655.35");
        assert_eq!(told(&Refusal::quoting(Code::Flash, "it said ~.", "no #")).as_str(), "it said no #.");
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
