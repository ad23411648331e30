//! Whose signatures an image needs: of so many trusted keys, and by a key in eFuse under hardware secure boot.
//!
//! Trust is what the newest image that was confirmed here was compiled with. It is kept in the record, so that an older image that
//! runs again, with older keys compiled in, goes by it too. Without a record the keys compiled in count.

#[cfg(feature = "signature")]
use core::cmp::Ordering;

use heapless::Vec;
use image::signature::{SIGNATURE_BLOCKS_MAX, SignatureBlock, SignatureError, SignatureSector};

use crate::port::Settings;
use crate::record::Record;
#[cfg(feature = "signature")]
use crate::record::Trusted;
use crate::refusal::{Refusal, refuse, signature_says};
use crate::verify::SlotImage;

const SIGNATURE_MAGIC: u8 = 0xE7;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// Digests of the keys that count; `None`: unsigned images are taken.
    keys: Option<&'a [[u8; 32]]>,
    /// So many of them must have signed.
    required: u8,
    /// Digests of the keys in eFuse, under hardware secure boot.
    secure_boot: Option<&'a [[u8; 32]]>,
}

/// Whether an image is signed by those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// By everybody it must be signed by.
    Yes,
    /// There are signatures, and none is needed.
    Unchecked,
    /// There are none, and none is needed.
    No,
}

impl<'a> Trust<'a> {
    pub(crate) fn of(settings: &'a Settings, record: &'a Record) -> Self {
        let secure_boot = settings.hardware.secure_boot;
        match &record.trusted {
            Some(trusted) => Self { keys: Some(&trusted.keys), required: trusted.required, secure_boot },
            None => {
                let keys = Some(settings.trusted_keys).filter(|keys| !keys.is_empty());
                Self { keys, required: settings.signatures_required, secure_boot }
            }
        }
    }

    /// Only what the bootloader asks for.
    pub(crate) fn of_bootloader(settings: &'a Settings) -> Self {
        Self { keys: None, required: 0, secure_boot: settings.hardware.secure_boot }
    }

    /// Whether an unsigned image is refused.
    pub(crate) fn wants_signature(&self) -> bool {
        self.keys.is_some() || self.secure_boot.is_some()
    }

    pub(crate) fn keys(&self) -> &'a [[u8; 32]] {
        self.keys.unwrap_or_default()
    }
}

/// Notes that an image runs confirmed, and keeps the trust that it sets up: not if it was confirmed before, nor if by its own
/// word it is older than the one that set up what is kept. A higher secure version makes any image newer.
#[inline(never)]
pub(crate) fn note_confirmed(record: &mut Record, settings: &Settings, image: &SlotImage) {
    if !record.was_confirmed(&image.sha256) {
        keep_trust(record, settings, image);
    }
    record.confirm(image.sha256);
    record.secure_version = record.secure_version.max(image.traits.secure_version);
}

#[cfg(feature = "signature")]
fn keep_trust(record: &mut Record, settings: &Settings, image: &SlotImage) {
    let by = record.trusted.as_ref().and_then(|trusted| trusted.by.as_ref());
    let is_lower = image.version.as_ref().zip(by).is_some_and(|(version, by)| version < by);
    match image.traits.secure_version.cmp(&record.secure_version) {
        Ordering::Less => return,
        Ordering::Equal if is_lower => return,
        _ => {}
    }
    let keys = Some(settings.trusted_keys).filter(|keys| !keys.is_empty());
    record.trusted = keys.and_then(|keys| Vec::from_slice(keys).ok()).map(|keys| Trusted {
        keys,
        required: settings.signatures_required,
        by: image.version.clone(),
    });
}

/// Firmware that verifies no signature takes no image where one is wanted.
#[cfg(not(feature = "signature"))]
fn keep_trust(_: &mut Record, _: &Settings, _: &SlotImage) {}

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
    let (mut in_efuse, mut bad) = (trust.secure_boot.is_none(), None);
    // A key that signed twice counts once.
    let mut signers = Vec::<[u8; 32], SIGNATURE_BLOCKS_MAX>::new();
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
        let is_trusted = trust.keys().contains(&key);
        if !is_trusted && !by_efuse {
            continue;
        }
        match verify(&block) {
            Ok(()) => {
                in_efuse |= by_efuse;
                if is_trusted && !signers.contains(&key) {
                    // There are at most as many blocks.
                    let _ = signers.push(key);
                }
            }
            Err(error) => bad = Some(error),
        }
    }
    let required = if trust.keys.is_some() { trust.required.max(1) } else { 0 };
    let count = signers.len() as u8;
    match (count >= required, in_efuse, bad) {
        (true, true, _) => Ok(Signed::Yes),
        (true, false, None) => refuse!(NotInEfuse),
        (_, _, Some(Some(error))) => refuse!(BadSignature, signature_says(error) as u32),
        (_, _, Some(None)) => refuse!(CannotVerify),
        (false, _, None) if count == 0 => refuse!(Untrusted),
        (false, _, None) => refuse!(TooFew, count.into(), required.into()),
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
