//! What a signature sector is worth to somebody who trusts some keys: the question that the tests ask of blocks.

use super::{SIGNATURE_BLOCKS_MAX, SIGNATURE_SECTOR_BYTES, SignatureError, SignatureSector};

/// What the last 4096 bytes of a file say about who signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SigningVerdict {
    /// They are no signature sector.
    Unsigned,
    /// There is a signature sector, but no block of it can be used, or its blocks sign different things.
    Unusable {
        /// What is wrong with the first such block.
        error: SignatureError,
    },
    /// There are blocks, but none names a trusted key. Their signatures were not looked at.
    Untrusted {
        /// The keys that the blocks name.
        signers: Signers,
    },
    /// Blocks name trusted keys, but none of these signatures is good.
    Forged {
        /// The digest of the first such key.
        key: [u8; 32],
        /// What is wrong with its signature.
        error: SignatureError,
    },
    /// A trusted key signed.
    Trusted {
        /// The key's digest.
        key: [u8; 32],
        /// What it signed: the SHA-256 of the image up to the sector, which `Verifier` compares.
        signed_digest: [u8; 32],
    },
}

/// The digests of the keys that a sector's blocks name, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signers {
    digests: [[u8; 32]; SIGNATURE_BLOCKS_MAX],
    count: usize,
}

impl std::ops::Deref for Signers {
    type Target = [[u8; 32]];

    fn deref(&self) -> &[[u8; 32]] {
        &self.digests[..self.count]
    }
}

impl Signers {
    /// Ignored beyond the third, and there are no more blocks than that.
    fn push(&mut self, digest: [u8; 32]) {
        if let Some(place) = self.digests.get_mut(self.count) {
            *place = digest;
            self.count += 1;
        }
    }
}

/// Judges the last 4096 bytes of a file: one good signature by one trusted key suffices, in whatever block. A block that
/// is corrupt or by somebody else does not spoil it, except one that signs something else: then the sector was not
/// made for one image.
///
/// Verifies at most three signatures, and none by a key that is not trusted.
pub(crate) fn judge(
    sector: &[u8; SIGNATURE_SECTOR_BYTES],
    is_trusted: &dyn Fn(&[u8; 32]) -> bool,
) -> SigningVerdict {
    let sector = SignatureSector::new(sector);
    if !is_one(sector) {
        return SigningVerdict::Unsigned;
    }
    let mut signers = Signers::default();
    let mut unusable = None;
    let mut forged = None;
    let mut trusted = None;
    let mut signed = None;
    for (_, block) in sector.blocks() {
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                unusable = unusable.or(Some(error));
                continue;
            }
        };
        let digest = block.signed_digest();
        if *signed.get_or_insert(digest) != digest {
            return SigningVerdict::Unusable { error: SignatureError::OtherDigest };
        }
        let key = block.key_digest();
        signers.push(key);
        if trusted.is_none() && is_trusted(&key) {
            match block.verify() {
                Ok(()) => trusted = Some(SigningVerdict::Trusted { key, signed_digest: digest }),
                Err(error) => forged = forged.or(Some(SigningVerdict::Forged { key, error })),
            }
        }
    }
    let other = match unusable {
        Some(error) if signers.count == 0 => SigningVerdict::Unusable { error },
        _ => SigningVerdict::Untrusted { signers },
    };
    trusted.or(forged).unwrap_or(other)
}

/// Whether any block begins in it as blocks do.
fn is_one(sector: SignatureSector<'_>) -> bool {
    sector.blocks().any(|(_, block)| !matches!(block, Err(SignatureError::NotABlock { .. })))
}
