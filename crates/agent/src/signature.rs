//! Whose signature an image needs: keys compiled in, narrowed by what is stored, and the keys in eFuse.

use image::signature::{SignatureBlock, SignatureError, SignatureSector};

use crate::refusal::{Refusal, refuse, signature_says};

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
