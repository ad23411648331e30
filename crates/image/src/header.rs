//! The 24-byte header that every image begins with (`esp_image_header_t`).

use core::fmt;

use crate::{Chip, ImageError, SEGMENTS_MAX, u16_at, u32_at};

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

    /// How the flash chip is to be read, if the code is known.
    pub fn flash_mode(&self) -> Option<FlashMode> {
        Some(match self.flash_mode_code {
            0 => FlashMode::Qio,
            1 => FlashMode::Qout,
            2 => FlashMode::Dio,
            3 => FlashMode::Dout,
            4 => FlashMode::FastRead,
            5 => FlashMode::SlowRead,
            _ => return None,
        })
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

/// How the flash chip is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each variant is its name
pub enum FlashMode {
    Qio,
    Qout,
    Dio,
    Dout,
    FastRead,
    SlowRead,
}

impl FlashMode {
    /// The name as esptool takes it: `dio`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qio => "qio",
            Self::Qout => "qout",
            Self::Dio => "dio",
            Self::Dout => "dout",
            Self::FastRead => "fast_read",
            Self::SlowRead => "slow_read",
        }
    }
}
