//! The chips: their ids in image headers, their names, and where their memory lies.
//!
//! This is the one place that knows chip names. Addresses are those of the chips' technical reference manuals,
//! as far as an image can load there.

#![allow(clippy::cast_possible_truncation, reason = "16 bits are left of what is shifted by 16")]

use core::fmt;
use core::str::FromStr;

macro_rules! chips {
    ($($chip:ident = $id:literal, $name:literal, $title:literal;)+) => {
        /// A chip of the ESP32 family.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // each variant is its name
        pub enum Chip {
            $($chip),+
        }

        impl Chip {
            /// Every chip, by id.
            pub const ALL: [Self; [$($id),+].len()] = [$(Self::$chip),+];

            /// The id in an image header (`esp_chip_id_t`).
            pub const fn id(self) -> u16 {
                match self {
                    $(Self::$chip => $id),+
                }
            }

            /// The name as programs write it: `esp32s3`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$chip => $name),+
                }
            }

            /// The name as people write it: `ESP32-S3`.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$chip => $title),+
                }
            }
        }
    };
}

chips! {
    Esp32 = 0, "esp32", "ESP32";
    Esp32S2 = 2, "esp32s2", "ESP32-S2";
    Esp32C3 = 5, "esp32c3", "ESP32-C3";
    Esp32S3 = 9, "esp32s3", "ESP32-S3";
    Esp32C2 = 0x0C, "esp32c2", "ESP32-C2";
    Esp32C6 = 0x0D, "esp32c6", "ESP32-C6";
    Esp32H2 = 0x10, "esp32h2", "ESP32-H2";
    Esp32P4 = 0x12, "esp32p4", "ESP32-P4";
    Esp32C61 = 0x14, "esp32c61", "ESP32-C61";
    Esp32C5 = 0x17, "esp32c5", "ESP32-C5";
    Esp32H21 = 0x19, "esp32h21", "ESP32-H21";
    Esp32H4 = 0x1C, "esp32h4", "ESP32-H4";
    Esp32S31 = 0x20, "esp32s31", "ESP32-S31";
}

impl Chip {
    /// The chip with this id, if it is known.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|chip| chip.id() == id)
    }

    /// The chip of this name, package or module, as programs print them: in any case, with hyphens or without, with the package
    /// and the revision behind it. `None` for a chip that is not known, and for the betas of one, which run other images.
    pub fn from_name(words: &str) -> Option<Self> {
        let mut name = words.trim().as_bytes();
        // What esptool writes before a package that it does not know.
        name = after(name, b"unknown ").unwrap_or(name);
        if let Some((_, chip)) = OTHER_NAMES.iter().find(|(other, _)| after(name, other).is_some()) {
            return Some(*chip);
        }
        let rest = without_hyphens(after(name, b"esp32")?);
        let is_beta = rest.windows(4).any(|letters| letters.eq_ignore_ascii_case(b"beta"));
        if is_beta || rest.is_empty() || rest.starts_with(b"(") {
            return (!is_beta).then_some(Self::Esp32);
        }
        if ESP32_PACKAGES.iter().any(|package| after(rest, package).is_some()) {
            return Some(Self::Esp32);
        }
        // "s3" is not the beginning of "s31".
        let is_end = |rest: &[u8]| !rest.first().is_some_and(u8::is_ascii_digit);
        let suffix =
            |chip: &Self| after(chip.name().as_bytes(), b"esp32").filter(|suffix| !suffix.is_empty());
        Self::ALL
            .into_iter()
            .find(|chip| suffix(chip).and_then(|suffix| after(rest, suffix)).is_some_and(is_end))
    }

    /// What kind of memory this address lies in, if an image can load there.
    pub fn region(self, address: u32) -> Option<Region> {
        // Padding that the loader skips, whatever the chip: esptool gives it the address 0.
        if address < 0x1_0000 {
            return Some(Region::Padding);
        }
        let map = self.memory_map();
        map.iter().find(|(from, to, _)| (*from..*to).contains(&address)).map(|(_, _, region)| *region)
    }

    /// Whether this address is one of the flash, seen through the cache. As [`Self::region`] has it, from a table that takes a
    /// sixth of a device's flash.
    pub(crate) fn maps_flash_at(self, address: u32) -> bool {
        let page = (address >> 16) as u16;
        FLASH_PAGES
            .get(self as usize)
            .is_some_and(|all| all.iter().any(|(from, to)| (*from..*to).contains(&page)))
    }

    /// Whether the page size of the flash cache is fixed at 64 KiB.
    pub(crate) const fn has_fixed_mmu_page(self) -> bool {
        matches!(self, Self::Esp32 | Self::Esp32S2 | Self::Esp32S3 | Self::Esp32C3)
    }

    /// Whether the cores run the Xtensa instruction set; the others are RISC-V.
    #[cfg(feature = "build")]
    pub(crate) const fn is_xtensa(self) -> bool {
        matches!(self, Self::Esp32 | Self::Esp32S2 | Self::Esp32S3)
    }

    /// The ranges an image can load to; where two overlap, the first one names the memory.
    const fn memory_map(self) -> &'static [(u32, u32, Region)] {
        match self {
            Self::Esp32 => ESP32_MEMORY,
            Self::Esp32S2 => ESP32_S2_MEMORY,
            Self::Esp32S3 => &[
                (0x3C00_0000, 0x3E00_0000, Region::Drom),
                (0x3FC8_8000, 0x3FD0_0000, Region::Dram),
                (0x4037_0000, 0x403E_2000, Region::Iram),
                (0x4200_0000, 0x4400_0000, Region::Irom),
                (0x5000_0000, 0x5000_2000, Region::Rtc),
                (0x600F_E000, 0x6010_0000, Region::Rtc),
            ],
            Self::Esp32C3 => &[
                (0x3C00_0000, 0x3C80_0000, Region::Drom),
                (0x3FC8_0000, 0x3FCE_0000, Region::Dram),
                (0x4037_C000, 0x403E_0000, Region::Iram),
                (0x4200_0000, 0x4280_0000, Region::Irom),
                (0x5000_0000, 0x5000_2000, Region::Rtc),
            ],
            Self::Esp32C2 => &[
                (0x3C00_0000, 0x3C40_0000, Region::Drom),
                (0x3FCA_0000, 0x3FCE_0000, Region::Dram),
                (0x4037_C000, 0x403C_0000, Region::Iram),
                (0x4200_0000, 0x4240_0000, Region::Irom),
            ],
            // From here on one address serves code and data alike.
            Self::Esp32C6 | Self::Esp32H2 => &[
                (0x4080_0000, 0x4088_0000, Region::Ram),
                (0x4200_0000, 0x4300_0000, Region::Flash),
                (0x5000_0000, 0x5000_4000, Region::Rtc),
            ],
            Self::Esp32C5 | Self::Esp32C61 => &[
                (0x4080_0000, 0x4086_0000, Region::Ram),
                (0x4200_0000, 0x4400_0000, Region::Flash),
                (0x5000_0000, 0x5000_4000, Region::Rtc),
            ],
            Self::Esp32H21 => &[
                (0x4080_0000, 0x4085_0000, Region::Ram),
                (0x4200_0000, 0x4300_0000, Region::Flash),
                (0x5000_0000, 0x5000_1000, Region::Rtc),
            ],
            Self::Esp32H4 => {
                &[(0x4081_0000, 0x4086_0000, Region::Ram), (0x4200_0000, 0x4400_0000, Region::Flash)]
            }
            Self::Esp32P4 => &[
                (0x4000_0000, 0x4C00_0000, Region::Flash),
                (0x4FF0_0000, 0x4FFC_0000, Region::Ram),
                (0x5010_8000, 0x5011_0000, Region::Rtc),
            ],
            Self::Esp32S31 => &[
                (0x2E00_0000, 0x2E00_8000, Region::Rtc),
                (0x2F00_0000, 0x2F08_0000, Region::Ram),
                (0x4000_0000, 0x5400_0000, Region::Flash),
            ],
        }
    }
}

/// Chips that are sold under other names.
const OTHER_NAMES: [(&[u8], Chip); 3] =
    [(b"esp8684", Chip::Esp32C2), (b"esp8685", Chip::Esp32C3), (b"esp8686", Chip::Esp32C3)];

/// How the packages and modules of the ESP32 go on; the S2WD is none of the ESP32-S2, but has one core.
const ESP32_PACKAGES: [&[u8]; 8] =
    [b"d0wd", b"d2wd", b"s0wd", b"s2wd", b"u4wdh", b"pico", b"wroom", b"wrover"];

/// What follows a beginning, in whatever case.
fn after<'a>(text: &'a [u8], beginning: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(beginning.len())?;
    head.eq_ignore_ascii_case(beginning).then_some(rest)
}

fn without_hyphens(mut text: &[u8]) -> &[u8] {
    while let [b'-' | b'_' | b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

const ESP32_MEMORY: &[(u32, u32, Region)] = &[
    (0x3F40_0000, 0x3F80_0000, Region::Drom),
    (0x3F80_0000, 0x3FC0_0000, Region::Psram),
    (0x3FF8_0000, 0x3FF8_2000, Region::Rtc),
    (0x3FFA_E000, 0x4000_0000, Region::Dram),
    (0x4007_0000, 0x400C_0000, Region::Iram),
    (0x400C_0000, 0x400C_2000, Region::Rtc),
    (0x400D_0000, 0x4040_0000, Region::Irom),
    (0x5000_0000, 0x5000_2000, Region::Rtc),
];

const ESP32_S2_MEMORY: &[(u32, u32, Region)] = &[
    (0x3F00_0000, 0x3F50_0000, Region::Drom),
    (0x3F50_0000, 0x3FF8_0000, Region::Psram),
    (0x3FF9_E000, 0x3FFA_0000, Region::Rtc),
    (0x3FFB_0000, 0x4000_0000, Region::Dram),
    (0x4002_0000, 0x4007_0000, Region::Iram),
    (0x4007_0000, 0x4007_2000, Region::Rtc),
    (0x4008_0000, 0x4080_0000, Region::Irom),
    (0x5000_0000, 0x5000_2000, Region::Rtc),
];

/// By chip, the at most two stretches that are mapped from flash, in pages of 64 KiB.
const FLASH_PAGES: [[(u16, u16); 2]; Chip::ALL.len()] = {
    let mut pages = [[(0, 0); 2]; Chip::ALL.len()];
    let mut chip = 0;
    while chip < pages.len() {
        let map = Chip::ALL[chip].memory_map();
        let (mut row, mut found) = (0, 0);
        while row < map.len() {
            let (from, to, region) = map[row];
            if region.is_flash_mapped() {
                assert!(from % 0x1_0000 == 0 && to % 0x1_0000 == 0);
                pages[chip][found] = ((from >> 16) as u16, (to >> 16) as u16);
                found += 1;
            }
            row += 1;
        }
        chip += 1;
    }
    pages
};

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is that of no chip we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownChip;

impl fmt::Display for UnknownChip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such chip; known are ")?;
        for (index, chip) in Chip::ALL.into_iter().enumerate() {
            write!(f, "{}{chip}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownChip {}

impl FromStr for Chip {
    type Err = UnknownChip;

    fn from_str(name: &str) -> Result<Self, UnknownChip> {
        Self::from_name(name).ok_or(UnknownChip)
    }
}

/// A kind of memory that a segment can be loaded or mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Region {
    /// Bytes that only align what follows; not loaded.
    Padding,
    /// Constants, mapped from flash.
    Drom,
    /// Code, mapped from flash.
    Irom,
    /// Code or constants, mapped from flash.
    Flash,
    /// Data in internal RAM.
    Dram,
    /// Code in internal RAM.
    Iram,
    /// Code or data in internal RAM.
    Ram,
    /// Memory that survives deep sleep.
    Rtc,
    /// External RAM.
    Psram,
}

impl Region {
    /// The name as manuals and linker scripts write it: `DROM`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Padding => "PADDING",
            Self::Drom => "DROM",
            Self::Irom => "IROM",
            Self::Flash => "DROM/IROM",
            Self::Dram => "DRAM",
            Self::Iram => "IRAM",
            Self::Ram => "DRAM/IRAM",
            Self::Rtc => "RTC",
            Self::Psram => "PSRAM",
        }
    }

    /// What lies there, in words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Padding => "alignment, not loaded",
            Self::Drom => "constants in flash",
            Self::Irom => "code in flash",
            Self::Flash => "code or constants in flash",
            Self::Dram => "data in RAM",
            Self::Iram => "code in RAM",
            Self::Ram => "code or data in RAM",
            Self::Rtc => "survives deep sleep",
            Self::Psram => "external RAM",
        }
    }

    /// Whether the memory is the flash itself, seen through the cache, rather than a copy in RAM.
    pub const fn is_flash_mapped(self) -> bool {
        matches!(self, Self::Drom | Self::Irom | Self::Flash)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written, what it is, and which program writes it. The sources: get_chip_description in esptool's
    /// esptool/targets/*.py, EspClass::getChipModel in arduino-esp32's cores/esp32/Esp.cpp.
    #[test]
    fn each_spelling_is_read_as_its_chip() {
        for (name, chip, whose) in [
            ("esp32s3", Some(Chip::Esp32S3), "CONFIG_IDF_TARGET, PlatformIO's board.mcu"),
            ("ESP32S3", Some(Chip::Esp32S3), "the same as a macro"),
            ("ESP32-S3", Some(Chip::Esp32S3), "Arduino"),
            ("ESP32-S3\n", Some(Chip::Esp32S3), "println"),
            ("esp32_s3", Some(Chip::Esp32S3), "a variable's name"),
            ("ESP32-S3 (QFN56) (revision v0.2)", Some(Chip::Esp32S3), "esptool"),
            ("ESP32-S3-PICO-1 (LGA56)", Some(Chip::Esp32S3), "esptool"),
            ("ESP32-S3-WROOM-1", Some(Chip::Esp32S3), "the module's lid"),
            ("esp32-s3-devkitc-1", Some(Chip::Esp32S3), "PlatformIO's board"),
            ("ESP32-S31", Some(Chip::Esp32S31), "esptool"),
            ("ESP32-S2 (Unknown)", Some(Chip::Esp32S2), "Arduino"),
            ("ESP32-S2FNR2 (revision v0.0)", Some(Chip::Esp32S2), "esptool"),
            ("ESP32-S2WDQ5 (revision v1.0)", Some(Chip::Esp32), "esptool, of an ESP32 with one core"),
            ("ESP32-D0WDQ6-V3", Some(Chip::Esp32), "Arduino"),
            ("ESP32-D0WD-V3 (revision v3.1)", Some(Chip::Esp32), "esptool"),
            ("ESP32-PICO-V3-02", Some(Chip::Esp32), "Arduino"),
            ("ESP32-U4WDH", Some(Chip::Esp32), "Arduino"),
            ("ESP32-WROOM-32E", Some(Chip::Esp32), "the module's lid"),
            ("unknown ESP32 (revision v3.1)", Some(Chip::Esp32), "esptool"),
            ("unknown ESP32-C3 (revision v0.4)", Some(Chip::Esp32C3), "esptool"),
            ("ESP32-C3 AZ (QFN32) (revision v0.4)", Some(Chip::Esp32C3), "esptool"),
            ("ESP8685 (QFN28) (revision v0.4)", Some(Chip::Esp32C3), "esptool"),
            ("ESP8684H4", Some(Chip::Esp32C2), "the chip's lid"),
            ("ESP32-C6FH4 (QFN32)", Some(Chip::Esp32C6), "esptool"),
            ("ESP32-C61", Some(Chip::Esp32C61), "esptool"),
            ("ESP32-H2(beta1)", None, "esptool, of another chip"),
            ("esp32c5beta3", None, "esptool's --chip"),
            ("ESP32-X9", None, "a chip to come"),
            ("ESP32-C33", None, "the same"),
            ("esp32dev", None, "PlatformIO's board, of whichever chip"),
            ("Unknown", None, "Arduino"),
            ("ESP8266EX", None, "esptool"),
            ("", None, "nobody"),
        ] {
            assert_eq!(Chip::from_name(name), chip, "{name:?}: {whose}");
        }
    }

    #[test]
    fn every_chip_is_found_by_its_id_and_both_its_names() {
        for chip in Chip::ALL {
            assert_eq!(Chip::from_id(chip.id()), Some(chip));
            assert_eq!(chip.name().parse(), Ok(chip));
            assert_eq!(chip.title().parse(), Ok(chip));
        }
        assert_eq!(Chip::from_id(1), None);
        assert_eq!("esp8266".parse::<Chip>(), Err(UnknownChip));
    }

    #[test]
    fn both_tables_agree_on_what_is_flash() {
        for chip in Chip::ALL {
            for (from, to, _) in chip.memory_map() {
                for address in [from - 1, *from, to - 1, *to] {
                    let mapped = chip.region(address).is_some_and(Region::is_flash_mapped);
                    assert_eq!(chip.maps_flash_at(address), mapped, "{chip}: {address:#x}");
                }
            }
        }
    }

    #[test]
    fn every_chip_has_flash_and_ram_to_load_to() {
        for chip in Chip::ALL {
            let regions = chip.memory_map();
            assert!(regions.iter().any(|(_, _, region)| region.is_flash_mapped()), "{chip}");
            assert!(
                regions.iter().any(|(_, _, region)| matches!(region, Region::Dram | Region::Ram)),
                "{chip}"
            );
            assert!(regions.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{chip}: overlapping or unsorted");
        }
    }
}
