//! What follows an image: padding, a signature sector, and what should not be there.

use super::{
    PARTITION_MAGIC, PARTITION_TABLE_FIRST, PARTITION_TABLE_LAST, Source, Stage, Verifier, beginning,
};
use crate::signature::{
    BLOCK_HEAD_BYTES, BLOCK_MAGIC, SIGNATURE_BLOCK_BYTES, SIGNATURE_BLOCKS_MAX, SignatureBlock,
    SignatureError,
};
use crate::{ImageError, SECTOR_BYTES, digest_so_far};

impl Verifier {
    pub(super) fn padding_step(&mut self, bytes: &[u8], left: u32) -> usize {
        let window = beginning(bytes, left);
        let taken = window.iter().position(|byte| *byte != 0xFF).unwrap_or(window.len());
        self.take(beginning(window, taken as u32));
        self.stage = match left - taken as u32 {
            0 => Stage::Signature { left: SECTOR_BYTES },
            left => Stage::Padding { left },
        };
        if taken < window.len() {
            return taken + self.beyond();
        }
        taken
    }

    pub(super) fn signature_step(&mut self, bytes: &[u8], first: u8, left: u32) -> usize {
        if left == SECTOR_BYTES {
            if first != BLOCK_MAGIC {
                return self.beyond();
            }
            self.computed = digest_so_far(&self.hash);
        }
        let position = (SECTOR_BYTES - left) as usize;
        let (block, within) = (position / SIGNATURE_BLOCK_BYTES, position % SIGNATURE_BLOCK_BYTES);
        let is_block = block < SIGNATURE_BLOCKS_MAX;
        let in_head = is_block && if within == 0 { first == BLOCK_MAGIC } else { self.head_bytes > 0 };
        // Up to the next place where something is decided: the end of a block's head, the next block, the end.
        let rest = match (in_head, is_block) {
            (true, _) => BLOCK_HEAD_BYTES - within,
            (_, true) => SIGNATURE_BLOCK_BYTES - within,
            _ => left as usize,
        };
        let window = beginning(bytes, rest as u32);
        let left = left - window.len() as u32;
        self.stage = Stage::Signature { left };
        if in_head {
            self.gather(window, BLOCK_HEAD_BYTES);
            if let Some(head) = self.head_complete::<BLOCK_HEAD_BYTES>() {
                self.close_signature_head(block as u8, &head);
            }
        } else {
            self.take(window);
        }
        if left == 0 {
            self.mark_total();
            self.is_signed = true;
            self.stage = Stage::End;
        }
        window.len()
    }

    /// The head of a signature block was read, which tells whether it is for this image.
    pub(super) fn close_signature_head(&mut self, block: u8, head: &[u8; BLOCK_HEAD_BYTES]) {
        if head[4..] == self.computed {
            self.signature_blocks += 1;
        } else if block == 0 && self.source == Source::Slot {
            // What an older image left behind in the slot is not this image's signature.
            self.stage = Stage::End;
        } else {
            // Before the digests are said to differ: some blocks hold one of another kind.
            let error = SignatureBlock::refusal_by_head(head).unwrap_or(SignatureError::OtherDigest);
            self.stage = Stage::Refused(ImageError::Signature { block, error });
        }
    }

    /// There are bytes after the image that do not belong to it. Takes none.
    pub(super) fn beyond(&mut self) -> usize {
        let error = ImageError::TrailingBytes { end: self.structural_bytes };
        self.stage = match self.source {
            Source::Slot => Stage::End,
            Source::File => self.suspect(error),
        };
        0
    }

    /// Refuses, in a file only after a look at where a partition table would be.
    pub(super) fn suspect(&self, error: ImageError) -> Stage {
        match self.source {
            Source::Slot => Stage::Refused(error),
            Source::File => Stage::Suspect { error, first_magic_seen: false },
        }
    }

    /// Looks only at the places where a partition table may begin.
    pub(super) fn suspect_step(
        &mut self,
        bytes: &[u8],
        first: u8,
        error: ImageError,
        first_magic_seen: bool,
    ) -> usize {
        let place = self.offset - self.offset % SECTOR_BYTES;
        if self.offset > PARTITION_TABLE_LAST + 1 {
            self.stage = Stage::Refused(error);
            return 0;
        }
        let within = self.offset - place;
        if place < PARTITION_TABLE_FIRST || within > 1 {
            let next = (place + SECTOR_BYTES).max(PARTITION_TABLE_FIRST);
            let taken = bytes.len().min((next - self.offset) as usize);
            self.offset += taken as u32;
            return taken;
        }
        self.offset += 1;
        self.stage = match within {
            0 => Stage::Suspect { error, first_magic_seen: first == PARTITION_MAGIC[0] },
            _ if first_magic_seen && first == PARTITION_MAGIC[1] => {
                Stage::Refused(ImageError::MergedFlashImage { partition_table: place })
            }
            _ => Stage::Suspect { error, first_magic_seen: false },
        };
        1
    }
}
