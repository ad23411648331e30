//! Builds images, for tests and demonstrations (feature `build`, which needs an allocator).
//!
//! They are laid out as ESP-IDF lays out an application, so that a bootloader takes them; what runs is an endless loop.
//! The same [`Build`] gives the same bytes. Two versions with one seed share most of their content, as two
//! releases of one program do: some blocks differ and the code has moved.

#![allow(clippy::cast_possible_truncation, reason = "an image is built of at most 16 MiB")]

use alloc::string::String;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::descriptor::{DESCRIPTOR_BYTES, DESCRIPTOR_MAGIC};
use crate::header::{HEADER_BYTES, MAGIC, SEGMENT_HEADER_BYTES};
use crate::{Behaviour, Chip, Demo, IMAGE_MAX_BYTES};

/// The page of the flash cache, on which mapped segments are aligned.
const PAGE_BYTES: usize = 0x1_0000;
/// Below this an image has no code in flash, which would have to begin on a page of its own.
const CODE_IN_FLASH_FROM_BYTES: u32 = 3 * PAGE_BYTES as u32;
/// The ESP32's bootloader forgets the last page of a mapped segment that reaches less than this into it (esptool).
const PAGE_TAIL_BYTES: usize = 0x24;
/// What is generated at once; a version changes some blocks and leaves the others.
const BLOCK_BYTES: usize = 1024;

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The chip.
    pub chip: Chip,
    /// The version, in the descriptor (31 bytes of it) and in the demonstration segment (64).
    pub version: String,
    /// The project's name, of which the descriptor holds 31 bytes.
    pub project_name: String,
    /// The version of ESP-IDF that the image claims, of which the descriptor holds 31 bytes.
    pub idf_version: String,
    /// About how long the image is to be: right to within 64 bytes between 1 KiB and 16 MiB, except for the page
    /// alignment of images around 200 KiB.
    pub size_bytes: u32,
    /// What the content is made from; the same for the versions of one program.
    pub seed: u64,
    /// How a virtual device behaves once it runs the image; `None` leaves the segment out.
    pub behaviour: Option<Behaviour>,
    /// The anti-rollback counter.
    pub secure_version: u32,
    /// Whether a SHA-256 digest is appended.
    pub hash_appended: bool,
}

impl Build {
    /// A healthy image of 64 KiB.
    pub fn new(chip: Chip, version: &str) -> Self {
        Self {
            chip,
            version: version.into(),
            project_name: "updraft-demo".into(),
            idf_version: "v5.5.1".into(),
            size_bytes: 64 * 1024,
            seed: 1,
            behaviour: Some(Behaviour::Healthy),
            secure_version: 0,
            hash_appended: true,
        }
    }

    /// The image.
    pub fn bytes(&self) -> Vec<u8> {
        let size = self.size_bytes.min(IMAGE_MAX_BYTES) as usize;
        let (constants_at, code_at, data_at, entry_at) = places(self.chip);
        let mut image = Image { bytes: alloc::vec![0; HEADER_BYTES], checksum: 0xEF, segment_count: 0 };
        let code_in_flash = self.size_bytes >= CODE_IN_FLASH_FROM_BYTES;
        // What the image holds besides its constants and the code in flash, with the checksum and the digest.
        let overhead = 256;
        let constants_bytes =
            if code_in_flash { size / 4 } else { size.saturating_sub(DESCRIPTOR_BYTES + overhead) };
        let mut constants = self.descriptor();
        self.fill(&mut constants, b"constants", DESCRIPTOR_BYTES + constants_bytes);
        let constants_end = image.push_mapped(constants_at, constants);
        if let Some(behaviour) = self.behaviour {
            image.push(data_at, &Demo::new(&self.version, behaviour).to_bytes());
        }
        image.push(entry_at, self.endless_loop());
        if code_in_flash {
            // Where constants and code share their addresses, the code begins on the page after the constants.
            let address = if code_at == constants_at { constants_end } else { code_at }
                .next_multiple_of(PAGE_BYTES as u32);
            let offset = image.align_to_page();
            let mut code = Vec::new();
            self.fill(&mut code, b"code", size.saturating_sub(offset + 48));
            image.push_mapped(address + offset as u32 % PAGE_BYTES as u32, code);
        }
        let header = self.header(entry_at, image.segment_count);
        image.finish(header)
    }

    fn header(&self, entry_address: u32, segment_count: u8) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[0] = MAGIC;
        header[1] = segment_count;
        header[2] = 2; // DIO, which every flash chip can do
        header[3] = 0x20 | if self.chip == Chip::Esp32C6 { 0x00 } else { 0x0F }; // 4 MiB, the highest frequency
        header[4..8].copy_from_slice(&entry_address.to_le_bytes());
        header[8] = 0xEE; // no write-protect pin
        header[12..14].copy_from_slice(&self.chip.id().to_le_bytes());
        header[17..19].copy_from_slice(&u16::MAX.to_le_bytes()); // any chip revision
        header[23] = u8::from(self.hash_appended);
        header
    }

    fn descriptor(&self) -> Vec<u8> {
        let mut bytes = [0; DESCRIPTOR_BYTES];
        bytes[0..4].copy_from_slice(&DESCRIPTOR_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.secure_version.to_le_bytes());
        put_text(&mut bytes[16..48], &self.version);
        put_text(&mut bytes[48..80], &self.project_name);
        put_text(&mut bytes[80..96], "12:00:00");
        put_text(&mut bytes[96..112], "Nov  2 2026");
        put_text(&mut bytes[112..144], &self.idf_version);
        // Nobody has an ELF file of this; its hash only has to differ between versions.
        bytes[144..176].copy_from_slice(&self.digest(b"elf", 0));
        bytes[178..180].copy_from_slice(&u16::MAX.to_le_bytes());
        bytes[180] = 16; // log2 of the page size
        bytes.to_vec()
    }

    /// Code for the entry point: a jump to itself.
    fn endless_loop(&self) -> &'static [u8] {
        if self.chip.is_xtensa() { &[0x06, 0xFF, 0xFF, 0x00] } else { &[0x6F, 0x00, 0x00, 0x00] }
    }

    /// Fills up to `length` with content of this version: mostly that of the seed, with some blocks of the version's
    /// own and a stretch in the middle, of a length of its own, that moves what follows.
    fn fill(&self, bytes: &mut Vec<u8>, kind: &[u8], length: usize) {
        let length = length.next_multiple_of(4);
        let own = u64_of(&self.digest(kind, 0));
        let moved_from = length / 3;
        let mut moved = false;
        let mut block = 0;
        while bytes.len() < length {
            if !moved && bytes.len() >= moved_from {
                moved = true;
                append_words(bytes, own, 4 * (own % 64) as usize, length);
            }
            let shared = u64_of(
                &Sha256::new_with_prefix(kind)
                    .chain_update(self.seed.to_le_bytes())
                    .chain_update(u64::to_le_bytes(block))
                    .finalize(),
            );
            let block_seed = if mix(own ^ block).is_multiple_of(12) { own ^ shared } else { shared };
            append_words(bytes, block_seed, BLOCK_BYTES, length);
            block += 1;
        }
    }

    /// Differs between versions and seeds.
    fn digest(&self, kind: &[u8], number: u64) -> [u8; 32] {
        Sha256::new_with_prefix(kind)
            .chain_update(self.seed.to_le_bytes())
            .chain_update(number.to_le_bytes())
            .chain_update(&self.version)
            .finalize()
            .into()
    }
}

/// Where ESP-IDF's linker scripts put constants in flash, code in flash, data in RAM, and code in RAM, where execution begins.
const fn places(chip: Chip) -> (u32, u32, u32, u32) {
    match chip {
        Chip::Esp32 => (0x3F40_0000, 0x400D_0000, 0x3FFB_0000, 0x4008_0000),
        Chip::Esp32S2 => (0x3F00_0000, 0x4008_0000, 0x3FFC_0000, 0x4002_4000),
        Chip::Esp32S3 => (0x3C00_0000, 0x4200_0000, 0x3FC9_0000, 0x4037_4000),
        Chip::Esp32C3 => (0x3C00_0000, 0x4200_0000, 0x3FC9_0000, 0x4038_0000),
        Chip::Esp32C2 => (0x3C00_0000, 0x4200_0000, 0x3FCA_8000, 0x4038_0000),
        Chip::Esp32C6 | Chip::Esp32H2 | Chip::Esp32C5 | Chip::Esp32C61 | Chip::Esp32H21 => {
            (0x4200_0000, 0x4200_0000, 0x4080_8000, 0x4080_0000)
        }
        Chip::Esp32H4 => (0x4200_0000, 0x4200_0000, 0x4081_8000, 0x4081_0000),
        Chip::Esp32P4 => (0x4000_0000, 0x4000_0000, 0x4FF0_8000, 0x4FF0_0000),
        Chip::Esp32S31 => (0x4000_0000, 0x4000_0000, 0x2F00_8000, 0x2F00_0000),
    }
}

/// The image so far, with room for the header.
struct Image {
    bytes: Vec<u8>,
    checksum: u8,
    segment_count: u8,
}

impl Image {
    fn push(&mut self, address: u32, data: &[u8]) {
        self.bytes.extend(address.to_le_bytes());
        self.bytes.extend((data.len() as u32).to_le_bytes());
        self.bytes.extend(data);
        self.checksum = data.iter().fold(self.checksum, |sum, byte| sum ^ byte);
        self.segment_count += 1;
    }

    /// Adds a segment that is mapped: into the page at `address`, as far in as the data lies in its page of the file.
    /// Gives the address after its end.
    fn push_mapped(&mut self, address: u32, mut data: Vec<u8>) -> u32 {
        let offset = self.bytes.len() + SEGMENT_HEADER_BYTES;
        let tail = (offset + data.len()) % PAGE_BYTES;
        data.resize(data.len() + PAGE_TAIL_BYTES.saturating_sub(tail), 0);
        let page = address - address % PAGE_BYTES as u32;
        let address = page + (offset % PAGE_BYTES) as u32;
        self.push(address, &data);
        address + data.len() as u32
    }

    /// Adds padding so that the next segment's data lies where the first one's does in its page, as esptool does.
    /// Gives the offset at which that data will lie.
    fn align_to_page(&mut self) -> usize {
        let first = HEADER_BYTES + SEGMENT_HEADER_BYTES;
        let without = self.bytes.len() + SEGMENT_HEADER_BYTES;
        if without % PAGE_BYTES == first {
            return without;
        }
        // The padding is a segment too, with a header of its own.
        let offset = (without + SEGMENT_HEADER_BYTES - first).next_multiple_of(PAGE_BYTES) + first;
        self.push(0, &alloc::vec![0; offset - without - SEGMENT_HEADER_BYTES]);
        offset
    }

    fn finish(mut self, header: [u8; HEADER_BYTES]) -> Vec<u8> {
        self.bytes[..HEADER_BYTES].copy_from_slice(&header);
        self.bytes.resize((self.bytes.len() + 1).next_multiple_of(16) - 1, 0);
        self.bytes.push(self.checksum);
        if header[23] == 1 {
            let digest = Sha256::digest(&self.bytes);
            self.bytes.extend(digest);
        }
        self.bytes
    }
}

/// Writes text into a field, cut so that it ends with a NUL and between two characters.
fn put_text(field: &mut [u8], text: &str) {
    let mut end = text.len().min(field.len() - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
}

/// Appends words, not beyond `limit`. A few of them are frequent, as in machine code, so that it compresses like some.
fn append_words(bytes: &mut Vec<u8>, seed: u64, count_bytes: usize, limit: usize) {
    let end = limit.min(bytes.len() + count_bytes);
    let mut state = seed;
    while bytes.len() < end {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let random = mix(state);
        let word =
            if random.is_multiple_of(3) { random >> 32 } else { mix((random >> 8) & (random >> 20) & 0x3FF) }
                as u32;
        bytes.extend(word.to_le_bytes());
    }
    bytes.truncate(limit);
}

/// The finaliser of SplitMix64: spreads a number over all bits.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

fn u64_of(digest: &[u8]) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
