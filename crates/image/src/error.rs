//! Why an image is refused, in sentences for the person who chose the file.

use core::fmt;

use crate::signature::SignatureError;

/// Why something is not a sound ESP32 application image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageError {
    /// It does not begin as an image does.
    NotAnImage {
        /// What it begins with instead of 0xE9.
        first_byte: u8,
    },
    /// It begins as an image does, but its header is not an ESP32's; ESP8266 images look like that.
    NotForEsp32 {
        /// The header's byte 23, which is 0 or 1 on an ESP32.
        hash_appended: u8,
    },
    /// It ends too early.
    Truncated {
        /// How long it is.
        bytes: u32,
        /// How long it would have to be, as far as could be read.
        at_least: u32,
    },
    /// It is longer than the largest flash that there is.
    TooLarge,
    /// The header speaks of no segment or of too many.
    SegmentCount {
        /// How many it says.
        count: u8,
    },
    /// A segment is longer than an image can be, or not made of whole words.
    SegmentLength {
        /// Which segment, from 0.
        index: u8,
        /// The length it claims.
        length_bytes: u32,
    },
    /// A segment lies where the flash cache cannot map it to its address.
    SegmentMisaligned {
        /// Which segment, from 0.
        index: u8,
        /// Where its data begins in the image.
        offset: u32,
        /// Where it is to be mapped.
        load_address: u32,
    },
    /// The XOR of all segment data is not what the image says: it is corrupt.
    Checksum {
        /// What the image says.
        stored: u8,
        /// What its data gives.
        computed: u8,
    },
    /// The appended SHA-256 digest is not that of the image: it is corrupt.
    Digest,
    /// No segment lies in flash: a bootloader or a program for RAM.
    NotAnApplication,
    /// Something follows the image that is not a signature sector.
    TrailingBytes {
        /// Where the image ends.
        end: u32,
    },
    /// A signature block follows the image that is not its own, or of a kind that cannot be checked.
    Signature {
        /// Which block, from 0.
        block: u8,
        /// What is wrong with it.
        error: SignatureError,
    },
    /// It is a picture of a whole flash chip: bootloader, partition table, application.
    MergedFlashImage {
        /// Where the partition table lies.
        partition_table: u32,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotAnImage { first_byte } => {
                write!(f, "this is not an ESP32 application image: it begins with 0x{first_byte:02X}, not 0xE9")
            }
            Self::NotForEsp32 { .. } => f.write_str(
                "this is not an ESP32 application image: its header is not that of an ESP32, but perhaps of an ESP8266",
            ),
            Self::Truncated { bytes: 0, .. } => {
                f.write_str("this is not an ESP32 application image: it is empty")
            }
            Self::Truncated { bytes, at_least } => write!(
                f,
                "the image is cut short: it has {bytes} bytes, but its header and segments need at least {at_least}"
            ),
            Self::TooLarge => f.write_str("the image is too large: no ESP32 takes more than 16 MiB"),
            Self::SegmentCount { count } => {
                write!(f, "the image header is damaged: it says {count} segments; there can be 1 to 16")
            }
            Self::SegmentLength { index, length_bytes } => write!(
                f,
                "the image is damaged: segment {index} claims {length_bytes} bytes, which no image can have"
            ),
            Self::SegmentMisaligned { index, offset, load_address } => write!(
                f,
                "no bootloader can map this image: segment {index} lies at 0x{offset:x} in the file and wants to be \
                 at address 0x{load_address:08x}, which is another place in a memory page"
            ),
            Self::Checksum { stored, computed } => write!(
                f,
                "the image is damaged: its checksum is 0x{stored:02x}, but its data gives 0x{computed:02x}"
            ),
            Self::Digest => {
                f.write_str("the image is damaged: the SHA-256 digest at its end is not that of its content")
            }
            Self::NotAnApplication => f.write_str(
                "this is not an application image: nothing in it runs from flash, so it is a bootloader or a program for \
                 RAM; publish the application's own file (firmware.bin)",
            ),
            Self::TrailingBytes { end } => write!(
                f,
                "the image ends at byte {end}, but the file goes on with something that is not a signature"
            ),
            Self::Signature { block, error } => write!(f, "signature block {}: {error}", block + 1),
            Self::MergedFlashImage { partition_table } => write!(
                f,
                "this is a whole flash chip (there is a partition table at 0x{partition_table:x}), not an application; \
                 publish the application's own file (firmware.bin, without bootloader and partition table)"
            ),
        }
    }
}

impl core::error::Error for ImageError {}
