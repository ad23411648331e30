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

    /// The chip with this name, written either way and in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|chip| name.eq_ignore_ascii_case(chip.name()) || name.eq_ignore_ascii_case(chip.title()))
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
