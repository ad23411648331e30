//! The 24-byte header that every image begins with (`esp_image_header_t`), and the segments that follow it: what is loaded
//! where. Sixteen at most, kept without an allocator.

use core::fmt;
use core::ops::Deref;

use crate::{Chip, ImageError, u16_at, u32_at};

/// At most so many bytes are an image: the largest flash that a bootloader maps.
pub const IMAGE_MAX_BYTES: u32 = 16 * 1024 * 1024;
/// How many segments an image can have (`ESP_IMAGE_MAX_SEGMENTS`).
pub const SEGMENTS_MAX: usize = 16;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 8;
pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const MAGIC: u8 = 0xE9;

/// An image's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How many segments follow, 1 to 16.
    pub segment_count: u8,
    /// How the flash chip is to be read, as the header's byte 2.
    pub flash_mode_code: u8,
    /// Size and frequency of the flash chip, as the header's byte 3.
    pub flash_size_frequency_code: u8,
    /// Where execution begins.
    pub entry_address: u32,
    /// For which chip, as `esp_chip_id_t`.
    pub chip_id: u16,
    /// The lowest chip revision that the image runs on.
    pub min_chip_revision: Revision,
    /// The highest one; `0xFFFF` and 0 mean any.
    pub max_chip_revision: Revision,
    /// Whether a SHA-256 digest of all before it follows the checksum.
    pub hash_appended: bool,
}

impl Header {
    /// Reads a header; refuses what no ESP32 image has.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, ImageError> {
        if bytes[0] != MAGIC {
            return Err(ImageError::NotAnImage { first_byte: bytes[0] });
        }
        // An ESP8266 image has the same magic and its first segment's data here.
        if bytes[23] > 1 {
            return Err(ImageError::NotForEsp32 { hash_appended: bytes[23] });
        }
        if bytes[1] == 0 || usize::from(bytes[1]) > SEGMENTS_MAX {
            return Err(ImageError::SegmentCount { count: bytes[1] });
        }
        Ok(Self {
            segment_count: bytes[1],
            flash_mode_code: bytes[2],
            flash_size_frequency_code: bytes[3],
            entry_address: u32_at(bytes, 4),
            chip_id: u16_at(bytes, 12),
            min_chip_revision: Revision(u16_at(bytes, 15)),
            max_chip_revision: Revision(u16_at(bytes, 17)),
            hash_appended: bytes[23] == 1,
        })
    }

    /// The chip, if its id is known.
    pub fn chip(&self) -> Option<Chip> {
        Chip::from_id(self.chip_id)
    }

    /// How the flash chip is to be read, as esptool names it, if the code is known: `dio`.
    pub fn flash_mode(&self) -> Option<&'static str> {
        ["qio", "qout", "dio", "dout", "fast_read", "slow_read"]
            .get(usize::from(self.flash_mode_code))
            .copied()
    }

    /// The size of the flash chip that the image was made for, in MiB.
    pub fn flash_size_mib(&self) -> Option<u32> {
        let code = self.flash_size_frequency_code >> 4;
        (code <= 7).then(|| 1 << code)
    }

    /// The frequency that the flash chip is to be read with, in MHz; what a code means depends on the chip.
    pub fn flash_frequency_mhz(&self) -> Option<u32> {
        let frequencies: [Option<u32>; 4] = match self.chip()? {
            Chip::Esp32C2 => [Some(60), Some(30), Some(20), Some(15)],
            Chip::Esp32H2 | Chip::Esp32H21 | Chip::Esp32H4 => [Some(48), Some(24), Some(16), Some(12)],
            // The C6's ROM divides wrongly, so esptool writes 80 MHz as 0.
            Chip::Esp32C6 => [Some(80), Some(80), None, Some(20)],
            Chip::Esp32C5 | Chip::Esp32C61 => [Some(80), Some(40), None, Some(20)],
            _ => [Some(80), Some(40), Some(26), Some(20)],
        };
        match self.flash_size_frequency_code & 0x0F {
            0x0F => frequencies[0],
            code @ 0..=2 => frequencies[usize::from(code) + 1],
            _ => None,
        }
    }
}

/// A revision of a chip or of its eFuse block: `major * 100 + minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u16);

impl Revision {
    /// Whether, as an upper bound, this excludes anything (`IS_FIELD_SET` in ESP-IDF's bootloader).
    pub const fn is_bound(self) -> bool {
        self.0 != 0 && self.0 != 0xFFFF
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.0 / 100, self.0 % 100)
    }
}

/// The eight bytes before a segment's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Where the data is loaded or mapped.
    pub load_address: u32,
    /// How long the data is, in bytes; a multiple of four.
    pub length_bytes: u32,
}

impl SegmentHeader {
    /// Reads the header of segment `index`, refusing the lengths that the bootloader refuses.
    pub(crate) fn parse(bytes: [u8; SEGMENT_HEADER_BYTES], index: u8) -> Result<Self, ImageError> {
        let header = Self { load_address: u32_at(&bytes, 0), length_bytes: u32_at(&bytes, 4) };
        if !header.length_bytes.is_multiple_of(4) || header.length_bytes >= IMAGE_MAX_BYTES {
            return Err(ImageError::SegmentLength { index, length_bytes: header.length_bytes });
        }
        Ok(header)
    }
}

/// A segment that was seen whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where the data is loaded or mapped.
    pub load_address: u32,
    /// Where in the image the data begins, after the segment's header.
    pub offset: u32,
    /// How long the data is, in bytes.
    pub length_bytes: u32,
}

/// An image's segments, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments {
    all: [Segment; SEGMENTS_MAX],
    count: u8,
}

impl Segments {
    /// Adds a segment; one beyond the bound, which the header's check has excluded, is dropped.
    pub(crate) fn push(&mut self, segment: Segment) {
        if let Some(place) = self.all.get_mut(usize::from(self.count)) {
            *place = segment;
            self.count += 1;
        }
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> u8 {
        self.count
    }
}

impl Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        self.all.get(..usize::from(self.count)).unwrap_or_default()
    }
}
