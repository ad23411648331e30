//! Counting the crashes of a confirmed image, in memory that survives resets and nothing else.
//!
//! Owned here: 48 bytes with a magic, the running image's hash, a count and a checksum. After a power-on they hold
//! anything, so whatever does not check out counts as zero crashes.

use crate::bytes::{are_equal, part, put};

/// How much memory is wanted.
pub const RETAINED_BYTES: usize = 48;

const MAGIC: [u8; 4] = *b"UDC1";
const COUNT_AT: usize = 4;
const IMAGE_AT: usize = 8;
const TAG_AT: usize = 40;
const TAG_BYTES: usize = RETAINED_BYTES - TAG_AT;

/// How often this very image crashed in a row; 0 for anything that was not written here, or for another image.
pub(crate) fn crashes(memory: &[u8; RETAINED_BYTES], image: &[u8; 32]) -> u8 {
    let tag = image::digest(part(memory, 0, TAG_AT));
    let intact = memory.starts_with(&MAGIC)
        && are_equal(part(memory, IMAGE_AT, image.len()), image)
        && tag.starts_with(part(memory, TAG_AT, TAG_BYTES));
    if intact { memory[COUNT_AT] } else { 0 }
}

#[inline(never)]
pub(crate) fn write(memory: &mut [u8; RETAINED_BYTES], image: &[u8; 32], crashes: u8) {
    put(memory, 0, &MAGIC);
    put(memory, COUNT_AT, &[crashes, 0, 0, 0]);
    put(memory, IMAGE_AT, image);
    let tag = image::digest(part(memory, 0, TAG_AT));
    put(memory, TAG_AT, &tag);
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
            let mut corrupt = memory;
            corrupt[at] ^= 0x10;
            assert_eq!(crashes(&corrupt, &[1; 32]), 0, "byte {at}");
        }
    }
}
