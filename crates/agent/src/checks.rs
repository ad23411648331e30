//! What makes an image one for this device: asked of its first 288 bytes before anything is erased, and asked again of
//! what lies on flash before it is selected.

use contract::Version;
use heapless::String;
use image::{AppDescriptor, Header, Revision};

use crate::port::Hardware;
use crate::refusal::{Refusal, refuse};
use crate::sentences::Says;

/// What the running image says of itself, as far as the next one must agree with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    /// The header's flash mode: another one can be unreadable to the bootloader in the field.
    pub flash_mode_code: u8,
    /// The page size of the flash cache it was linked for, as a power of two; 0 if it does not say.
    pub mmu_page_size_log2: u8,
    /// The anti-rollback counter; 0 without a descriptor.
    pub secure_version: u32,
    /// The project, where the descriptor is the application's own.
    pub project: Option<String<32>>,
    /// Whether the descriptor was stamped.
    pub stamped: bool,
}

/// What an image must agree with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) hardware: &'a Hardware,
    /// The image that runs, if it could be read.
    pub(crate) running: Option<&'a Traits>,
    /// The highest secure version that was ever confirmed here.
    pub(crate) secure_version: u32,
    /// What the server named, if it did.
    pub(crate) version: Option<&'a Version>,
}

impl Traits {
    pub(crate) fn of(header: &Header, descriptor: Option<&AppDescriptor>) -> Self {
        let own = descriptor.filter(|descriptor| descriptor.is_apps_own());
        Self {
            flash_mode_code: header.flash_mode_code,
            mmu_page_size_log2: descriptor.map_or(0, AppDescriptor::mmu_page_size_log2),
            secure_version: descriptor.map_or(0, AppDescriptor::secure_version),
            project: own.and_then(|own| String::try_from(own.project_name()).ok()),
            stamped: descriptor.is_some_and(AppDescriptor::is_stamped),
        }
    }
}

/// What a build writes of a version that is longer.
const CUT_FROM_BYTES: usize = 31;

/// Whether an image is one for this device, as far as header and descriptor tell.
pub(crate) fn fits(
    header: &Header,
    descriptor: Option<&AppDescriptor>,
    wanted: &Wanted<'_>,
) -> Result<(), Refusal> {
    let Hardware { chip, revision, efuse_block_revision, secure_version, .. } = *wanted.hardware;
    match header.chip() {
        Some(found) if found == chip => {}
        Some(found) => {
            let (found, chip) = (found.id().into(), chip.id().into());
            return refuse!(WrongChip, found, chip);
        }
        None => {
            let (id, chip) = (header.chip_id.into(), chip.id().into());
            return refuse!(UnknownChip, id, chip);
        }
    }
    let (min, max) = (header.min_chip_revision, header.max_chip_revision);
    if let Some(revision) = revision.filter(|revision| !is_within(*revision, (min, max))) {
        return refuse!(ChipRevision, min.0.into(), max.0.into(), revision.0.into());
    }
    if let (Some(revision), Some(descriptor)) = (efuse_block_revision, descriptor) {
        let (min, max) = (descriptor.min_efuse_block_revision(), descriptor.max_efuse_block_revision());
        if !is_within(revision, (min, max)) {
            return refuse!(EfuseRevision, min.0.into(), max.0.into(), revision.0.into());
        }
    }
    let found = Traits::of(header, descriptor);
    if let Some(running) = wanted.running {
        agrees(&found, running)?;
    }
    is_as_named(descriptor.and_then(own_version).as_ref(), wanted.version)?;
    let floor = secure_version.unwrap_or(0).max(wanted.secure_version);
    if found.secure_version < floor {
        let version = found.secure_version;
        return refuse!(SecureVersion, version, floor);
    }
    Ok(())
}

/// What a bootloader in the field does not put up with, or an application of another kind.
fn agrees(found: &Traits, running: &Traits) -> Result<(), Refusal> {
    let (new, old) = (found.mmu_page_size_log2, running.mmu_page_size_log2);
    // An older build does not say; 64 KiB is what it means.
    let pages = |log2: u8| if log2 == 0 { 16 } else { log2 };
    if pages(new) != pages(old) {
        let (new, old) = (1_u32 << (pages(new) & 31), 1_u32 << (pages(old) & 31));
        return refuse!(MmuPageSize, new, old);
    }
    let (new, old) = (found.flash_mode_code, running.flash_mode_code);
    if new != old {
        let name = |code: u8| Says::Qio as u32 + u32::from(code.min(Says::OddMode as u8 - Says::Qio as u8));
        return refuse!(FlashMode, name(new), name(old));
    }
    match (&found.project, &running.project) {
        (Some(new), Some(old)) if new != old => {
            // The text is the running project's name, which is the agent's to give.
            refuse!(WrongProject)
        }
        _ => Ok(()),
    }
}

/// What the bytes say goes before what a URL or a header says of them.
pub(crate) fn is_as_named(own: Option<&Version>, named: Option<&Version>) -> Result<(), Refusal> {
    match (own, named) {
        // The text is what was named, which is the agent's to give. A name that is no version, as of a commit, contradicts none.
        (Some(own), Some(named)) if own != named && !own.is_opaque() => refuse!(WrongVersion),
        _ => Ok(()),
    }
}

/// The version that a descriptor gives its own application. Without a stamp a name says nothing, such as a commit's, nor does
/// what fills its field: it may have been cut to fit.
#[inline(never)]
pub(crate) fn own_version(descriptor: &AppDescriptor) -> Option<Version> {
    let said = descriptor.own_version()?;
    let version = version_of(said)?;
    (descriptor.is_stamped() || said.len() < CUT_FROM_BYTES).then_some(version)
}

/// A version as others write it.
pub(crate) fn version_of(text: &str) -> Option<Version> {
    Version::from_bytes(text.as_bytes()).ok()
}

/// As ESP-IDF's bootloader decides: the highest revision counts only if it is set.
fn is_within(revision: Revision, (min, max): (Revision, Revision)) -> bool {
    revision >= min && (!max.is_bound() || revision <= max)
}

#[cfg(test)]
mod tests;
