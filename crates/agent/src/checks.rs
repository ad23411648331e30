//! What makes an image one for this device: asked of its first 288 bytes before anything is erased, and asked again of
//! what lies on flash before it is selected. And whose signature it needs: keys compiled in, narrowed by what is stored, and
//! the keys in eFuse.

use heapless::String;
use image::signature::{SignatureBlock, SignatureError, SignatureSector};
use image::{AppDescriptor, Header, Revision};

use crate::port::{Hardware, Settings};
use crate::refusal::{Refusal, refuse, signature_says};
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
}

impl Traits {
    pub(crate) fn of(header: &Header, descriptor: Option<&AppDescriptor>) -> Self {
        let own = descriptor.filter(|descriptor| descriptor.is_apps_own());
        Self {
            flash_mode_code: header.flash_mode_code,
            mmu_page_size_log2: descriptor.map_or(0, AppDescriptor::mmu_page_size_log2),
            secure_version: descriptor.map_or(0, AppDescriptor::secure_version),
            project: own.and_then(|own| String::try_from(own.project_name()).ok()),
        }
    }
}

/// Whether an image is one for this device, as far as header and descriptor tell.
pub(crate) fn fits(
    header: &Header,
    descriptor: Option<&AppDescriptor>,
    settings: &Settings,
    running: Option<&Traits>,
) -> Result<(), Refusal> {
    let Hardware { chip, revision, efuse_block_revision, secure_version, .. } = settings.hardware;
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
    let wanted = (header.min_chip_revision, header.max_chip_revision);
    if let Some(revision) = revision.filter(|revision| !is_within(*revision, wanted)) {
        let (min, max) = wanted;
        return refuse!(ChipRevision, min.0.into(), max.0.into(), revision.0.into());
    }
    if let (Some(revision), Some(descriptor)) = (efuse_block_revision, descriptor) {
        let (min, max) = (descriptor.min_efuse_block_revision(), descriptor.max_efuse_block_revision());
        if !is_within(revision, (min, max)) {
            return refuse!(EfuseRevision, min.0.into(), max.0.into(), revision.0.into());
        }
    }
    let found = Traits::of(header, descriptor);
    if let Some(running) = running {
        agrees(&found, running)?;
    }
    let floor = secure_version.unwrap_or(0).max(running.map_or(0, |running| running.secure_version));
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

/// As ESP-IDF's bootloader decides: the highest revision counts only if it is set.
fn is_within(revision: Revision, (min, max): (Revision, Revision)) -> bool {
    revision >= min && (!max.is_bound() || revision <= max)
}

const SIGNATURE_MAGIC: u8 = 0xE7;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// Digests of the keys that the firmware was compiled with; none: unsigned images are taken.
    pub(crate) compiled: &'a [[u8; 32]],
    /// Of these, the ones that are still trusted; `None`: all.
    pub(crate) narrowed: Option<&'a [[u8; 32]]>,
    /// Digests of the keys in eFuse, under hardware secure boot.
    pub(crate) secure_boot: Option<&'a [[u8; 32]]>,
}

/// Whether an image is signed by somebody who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// By everybody it must be signed by.
    Yes,
    /// There are signatures, and none is needed.
    Unchecked,
    /// There are none, and none is needed.
    No,
}

impl Trust<'_> {
    /// Whether an unsigned image is refused.
    pub(crate) fn wants_signature(&self) -> bool {
        !self.compiled.is_empty() || self.secure_boot.is_some()
    }

    /// Whether this firmware trusts a key; a stored list can take keys away and never adds one.
    fn is_trusted(&self, key: &[u8; 32]) -> bool {
        self.compiled.is_empty()
            || (self.compiled.contains(key) && self.narrowed.is_none_or(|narrowed| narrowed.contains(key)))
    }
}

/// Judges the signature blocks in a file's last sector. That what they sign is this image is the verifier's to see.
pub(crate) fn signed_by(sector: &[u8], trust: Trust<'_>) -> Result<Signed, Refusal> {
    let blocks = sector.first_chunk().map(|sector| SignatureSector::new(sector).blocks());
    let is_block = sector.first() == Some(&SIGNATURE_MAGIC);
    if !trust.wants_signature() {
        return Ok(if is_block { Signed::Unchecked } else { Signed::No });
    }
    let Some(blocks) = blocks.filter(|_| is_block) else {
        return refuse!(Unsigned);
    };
    let (mut trusted, mut in_efuse, mut bad) = (false, trust.secure_boot.is_none(), None);
    for (_, block) in blocks {
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                bad = Some(Some(error));
                continue;
            }
        };
        let key = block.key_digest();
        let by_efuse = trust.secure_boot.is_some_and(|keys| keys.contains(&key));
        if !trust.is_trusted(&key) && !by_efuse {
            continue;
        }
        match verify(&block) {
            Ok(()) => {
                trusted |= trust.is_trusted(&key);
                in_efuse |= by_efuse;
            }
            Err(error) => bad = Some(error),
        }
    }
    match (trusted, in_efuse, bad) {
        (true, true, _) => Ok(Signed::Yes),
        (true, false, _) => refuse!(NotInEfuse),
        (false, _, Some(Some(error))) => refuse!(BadSignature, signature_says(error) as u32),
        (false, _, Some(None)) => refuse!(CannotVerify),
        (false, _, None) => refuse!(Untrusted),
    }
}

#[cfg(feature = "signature")]
fn verify(block: &SignatureBlock<'_>) -> Result<(), Option<SignatureError>> {
    block.verify().map_err(Some)
}

#[cfg(not(feature = "signature"))]
fn verify(_: &SignatureBlock<'_>) -> Result<(), Option<SignatureError>> {
    Err(None)
}

#[cfg(test)]
mod tests;
