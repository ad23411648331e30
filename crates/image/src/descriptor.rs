//! The application descriptor (`esp_app_desc_t`): what the build wrote about itself.
//!
//! Arduino and PlatformIO builds carry the descriptor of the library build they link. [`AppDescriptor::is_apps_own`] says
//! when a descriptor is the application's own: its project is none of the library builds that are known here, or it was stamped.
//! Only then [`AppDescriptor::own_version`] says which version the image is.
//!
//! The mark of a stamp ([`crate::stamp`]) is the last 16 of the descriptor's 256 bytes, which ESP-IDF reserves and leaves zero:
//!
//! | bytes | what |
//! |---|---|
//! | 4–7 | secure version, little-endian |
//! | 16–47 | version, at most 31 bytes and zeros behind them |
//! | 48–79 | product, likewise |
//! | 240–252 | the letters `updraft stamp` |
//! | 253–254 | zeros |
//! | 255 | 1, the format of the stamp |

use core::fmt;
use core::ops::Range;

use crate::{Revision, u16_at, u32_at};

pub(crate) const DESCRIPTOR_BYTES: usize = 256;
pub(crate) const DESCRIPTOR_MAGIC: u32 = 0xABCD_5432;

pub(crate) const SECURE_VERSION_FIELD: Range<usize> = 4..8;
pub(crate) const VERSION_FIELD: Range<usize> = 16..48;
pub(crate) const PROJECT_FIELD: Range<usize> = 48..80;
pub(crate) const MARK_FIELD: Range<usize> = 240..DESCRIPTOR_BYTES;
pub(crate) const MARK: [u8; 16] = *b"updraft stamp\0\0\x01";

/// What ESP-IDF writes where a project says no version.
const NO_VERSION: &str = "1";

/// Project names of library builds whose descriptor ends up in other people's applications.
const LIBRARY_BUILDS: [&str; 3] = ["arduino-lib-builder", "esp32-arduino-lib-builder", "libespidf"];

/// An application descriptor, as it stands in the image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AppDescriptor {
    bytes: [u8; DESCRIPTOR_BYTES],
}

impl AppDescriptor {
    /// Takes the 256 bytes at file offset 0x20, if they begin with the descriptor's magic.
    pub(crate) fn parse(bytes: &[u8; DESCRIPTOR_BYTES]) -> Option<Self> {
        (u32_at(bytes, 0) == DESCRIPTOR_MAGIC).then_some(Self { bytes: *bytes })
    }

    /// The version; for an Arduino build that of the core's library build. At most 32 bytes, like all texts here.
    pub fn version(&self) -> &str {
        self.text(VERSION_FIELD)
    }

    /// The project's name.
    pub fn project_name(&self) -> &str {
        self.text(PROJECT_FIELD)
    }

    /// The time of day of the build, as C's `__TIME__`.
    pub fn time(&self) -> &str {
        self.text(80..96)
    }

    /// The date of the build, as C's `__DATE__`.
    pub fn date(&self) -> &str {
        self.text(96..112)
    }

    /// The version of ESP-IDF.
    pub fn idf_version(&self) -> &str {
        self.text(112..144)
    }

    /// SHA-256 of the ELF file, by which crash dumps find their symbols. `None` if it was never filled in.
    pub fn elf_sha256(&self) -> Option<[u8; 32]> {
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.bytes[144..176]);
        (hash != [0; 32]).then_some(hash)
    }

    /// The anti-rollback counter: a device refuses images below its own.
    pub fn secure_version(&self) -> u32 {
        u32_at(&self.bytes, 4)
    }

    /// The lowest eFuse block revision that the image runs on.
    pub fn min_efuse_block_revision(&self) -> Revision {
        Revision(u16_at(&self.bytes, 176))
    }

    /// The highest one; see [`Revision::is_bound`].
    pub fn max_efuse_block_revision(&self) -> Revision {
        Revision(u16_at(&self.bytes, 178))
    }

    /// The page size of the flash cache that the image was linked for, as a power of two; 0 if it does not say.
    pub fn mmu_page_size_log2(&self) -> u8 {
        self.bytes[180]
    }

    /// Whether version, project name and secure version were put there by [`crate::stamp`].
    pub fn is_stamped(&self) -> bool {
        self.bytes.ends_with(&MARK)
    }

    /// Whether version and project name are the application's own, not those of a library build it links.
    pub fn is_apps_own(&self) -> bool {
        let (project, version) = (self.project_name(), self.version());
        self.is_stamped()
            || (!project.is_empty()
                && !version.is_empty()
                && !LIBRARY_BUILDS.contains(&project)
                && !version.starts_with("esp-idf:"))
    }

    /// The version, if it is the application's own. What ESP-IDF writes where nobody said one is none.
    pub fn own_version(&self) -> Option<&str> {
        let version = self.version();
        (self.is_apps_own() && (version != NO_VERSION || self.is_stamped())).then_some(version)
    }

    /// A field's text up to its first NUL; empty if it is not UTF-8.
    #[inline(never)]
    fn text(&self, field: Range<usize>) -> &str {
        let field = self.bytes.get(field).unwrap_or_default();
        let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Debug for AppDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppDescriptor")
            .field("project_name", &self.project_name())
            .field("version", &self.version())
            .field("idf_version", &self.idf_version())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(project: &str, version: &str) -> AppDescriptor {
        let mut bytes = [0; DESCRIPTOR_BYTES];
        bytes[..4].copy_from_slice(&DESCRIPTOR_MAGIC.to_le_bytes());
        bytes[16..16 + version.len()].copy_from_slice(version.as_bytes());
        bytes[48..48 + project.len()].copy_from_slice(project.as_bytes());
        AppDescriptor::parse(&bytes).expect("a descriptor")
    }

    #[test]
    fn descriptors_of_library_builds_are_not_the_apps_own() {
        assert!(descriptor("thermostat", "1.2.0").is_apps_own());
        assert!(!descriptor("arduino-lib-builder", "esp-idf: v4.4.3 6407ecb3f8").is_apps_own());
        assert!(!descriptor("esp32-arduino-lib-builder", "b1c75d1-dirty").is_apps_own());
        assert!(!descriptor("libespidf", "1").is_apps_own());
        assert!(!descriptor("", "").is_apps_own());
        assert!(!descriptor("thermostat", "").is_apps_own());
        assert_eq!(descriptor("thermostat", "1.2.0").own_version(), Some("1.2.0"));
        for (project, version) in [("thermostat", "1"), ("libespidf", "1.2.0")] {
            assert_eq!(descriptor(project, version).own_version(), None);
        }
    }

    #[test]
    fn text_that_fills_its_field_or_is_not_utf8_is_read_safely() {
        let full = "0123456789abcdef0123456789abcdef";
        assert_eq!(descriptor("p", full).version(), full);
        let mut bytes = descriptor("p", "1").bytes;
        bytes[16] = 0xFF;
        assert_eq!(AppDescriptor::parse(&bytes).expect("a descriptor").version(), "");
    }
}
