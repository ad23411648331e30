//! Counting the crashes of a confirmed image, in memory that survives resets and nothing else.
//!
//! Owned here: 48 bytes with a magic, the running image's hash, a count and a checksum. After a power-on they hold
//! anything, so whatever does not check out counts as zero crashes.

use sha2::{Digest, Sha256};

/// How much memory is wanted.
pub const RETAINED_BYTES: usize = 48;

const MAGIC: [u8; 4] = *b"UDC1";
const COUNT_AT: usize = 4;
const IMAGE_AT: usize = 8;
const TAG_AT: usize = 40;

/// How often this very image crashed in a row; 0 for anything that was not written here, or for another image.
pub(crate) fn crashes(memory: &[u8; RETAINED_BYTES], image: &[u8; 32]) -> u8 {
    let intact = memory[..4] == MAGIC
        && memory[IMAGE_AT..TAG_AT] == *image
        && memory[TAG_AT..] == Sha256::digest(&memory[..TAG_AT])[..RETAINED_BYTES - TAG_AT];
    if intact { memory[COUNT_AT] } else { 0 }
}

/// Writes the count for an image.
pub(crate) fn write(memory: &mut [u8; RETAINED_BYTES], image: &[u8; 32], crashes: u8) {
    memory[..4].copy_from_slice(&MAGIC);
    memory[COUNT_AT..IMAGE_AT].copy_from_slice(&[crashes, 0, 0, 0]);
    memory[IMAGE_AT..TAG_AT].copy_from_slice(image);
    let tag = Sha256::digest(&memory[..TAG_AT]);
    memory[TAG_AT..].copy_from_slice(&tag[..RETAINED_BYTES - TAG_AT]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_for_this_image_counts() {
        let mut memory = [0xA5; RETAINED_BYTES];
        assert_eq!(crashes(&memory, &[1; 32]), 0, "power-on leaves anything");
        write(&mut memory, &[1; 32], 3);
        assert_eq!(crashes(&memory, &[1; 32]), 3);
        assert_eq!(crashes(&memory, &[2; 32]), 0, "another image");
        for at in 0..RETAINED_BYTES {
            let mut damaged = memory;
            damaged[at] ^= 0x10;
            assert_eq!(crashes(&damaged, &[1; 32]), 0, "byte {at}");
        }
    }
}
