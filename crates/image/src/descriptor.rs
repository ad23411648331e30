//! The application descriptor (`esp_app_desc_t`): what the build wrote about itself.
//!
//! Arduino and PlatformIO builds carry the descriptor of the library build they link, so nothing here is an
//! identity; [`AppDescriptor::is_apps_own`] says when the version is the application's.

use core::fmt;

use crate::{Revision, u16_at, u32_at};

pub(crate) const DESCRIPTOR_BYTES: usize = 256;
pub(crate) const DESCRIPTOR_MAGIC: u32 = 0xABCD_5432;

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
        self.text(16, 32)
    }

    /// The project's name.
    pub fn project_name(&self) -> &str {
        self.text(48, 32)
    }

    /// The time of day of the build, as C's `__TIME__`.
    pub fn time(&self) -> &str {
        self.text(80, 16)
    }

    /// The date of the build, as C's `__DATE__`.
    pub fn date(&self) -> &str {
        self.text(96, 16)
    }

    /// The version of ESP-IDF.
    pub fn idf_version(&self) -> &str {
        self.text(112, 32)
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

    /// Whether version and project name are the application's own, not those of a library build it links.
    pub fn is_apps_own(&self) -> bool {
        let (project, version) = (self.project_name(), self.version());
        !project.is_empty()
            && !version.is_empty()
            && !LIBRARY_BUILDS.contains(&project)
            && !version.starts_with("esp-idf:")
    }

    /// The version that the project gave its image: none where it is a library's, or where the project says none, for which
    /// ESP-IDF writes "1".
    pub fn own_version(&self) -> Option<&str> {
        Some(self.version()).filter(|version| self.is_apps_own() && *version != "1")
    }

    /// A field's text up to its first NUL; empty if it is not UTF-8.
    #[inline(never)]
    fn text(&self, offset: usize, length: usize) -> &str {
        let field = self.bytes.get(offset..offset + length).unwrap_or_default();
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
        assert_eq!(descriptor("thermostat", "1").own_version(), None);
        assert_eq!(descriptor("libespidf", "1.2.0").own_version(), None);
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
