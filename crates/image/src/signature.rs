//! Secure Boot v2 signatures: the sector after an image, its blocks, and whether a trusted key made one.
//!
//! This module owns the layout that `espsecure sign-data --version 2` writes. It refuses what it cannot check
//! (P-192, P-384, versions to come) by name, and believes no number in a block. Parsing needs nothing; verifying
//! is behind the feature `signature`, which is on by default.
//!
//! That the digest which was signed is the image's, [`crate::Verifier`] sees to.

#[cfg(feature = "signature")]
mod ecdsa;
mod error;
mod layout;
#[cfg(feature = "signature")]
mod rsa;

use core::fmt;

use crate::u32_at;
pub use error::SignatureError;
pub(crate) use layout::{BLOCK_HEAD_BYTES, BLOCK_MAGIC, CRC_OFFSET, CURVE_P256, VERSION_ECDSA, VERSION_RSA};
use layout::{CURVE_P192, HASH_SHA384, P256_END, P256_KEY_END, RSA_KEY_END};
pub use layout::{SIGNATURE_BLOCK_BYTES, SIGNATURE_BLOCKS_MAX, SIGNATURE_SECTOR_BYTES};

/// How a block is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PSS with a modulus of 3072 bits, SHA-256 and a salt of 32 bytes.
    Rsa3072,
    /// ECDSA on the curve NIST P-256, over SHA-256.
    EcdsaP256,
}

impl Scheme {
    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Rsa3072 => "RSA-3072",
            Self::EcdsaP256 => "ECDSA P-256",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// One whole signature block, of a scheme that can be verified. That its signature is good is not said yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureBlock<'a> {
    bytes: &'a [u8; SIGNATURE_BLOCK_BYTES],
    scheme: Scheme,
}

impl<'a> SignatureBlock<'a> {
    /// Reads a block. Refuses a corrupt one, and one with anything but zeros where a block has nothing: no byte
    /// of it may be changed unnoticed, also those that neither the signature nor the key's digest covers.
    pub fn parse(bytes: &'a [u8; SIGNATURE_BLOCK_BYTES]) -> Result<Self, SignatureError> {
        if bytes[0] != BLOCK_MAGIC {
            return Err(SignatureError::NotABlock { first_byte: bytes[0] });
        }
        if u32_at(bytes, CRC_OFFSET) != crc32(&bytes[..CRC_OFFSET]) {
            return Err(SignatureError::Damaged);
        }
        let (scheme, gaps) = match (bytes[1], bytes[2], bytes[BLOCK_HEAD_BYTES]) {
            (VERSION_RSA, ..) => (Scheme::Rsa3072, [2..4, CRC_OFFSET..CRC_OFFSET]),
            (VERSION_ECDSA, HASH_SHA384, _) => return Err(SignatureError::P384),
            (VERSION_ECDSA, 0, CURVE_P192) => return Err(SignatureError::P192),
            (VERSION_ECDSA, 0, CURVE_P256) => (Scheme::EcdsaP256, [3..4, P256_END..CRC_OFFSET]),
            (VERSION_ECDSA, 0, curve) => return Err(SignatureError::UnknownCurve { curve }),
            (version, ..) => return Err(SignatureError::UnknownVersion { version }),
        };
        let [after_version, after_signature] = gaps;
        let end = CRC_OFFSET + 4..SIGNATURE_BLOCK_BYTES;
        if [after_version, after_signature, end]
            .into_iter()
            .any(|gap| bytes.get(gap).unwrap_or_default().iter().any(|byte| *byte != 0))
        {
            return Err(SignatureError::Damaged);
        }
        Ok(Self { bytes, scheme })
    }

    /// What can be said against a block of which only the head was read.
    pub(crate) fn refusal_by_head(head: &[u8; BLOCK_HEAD_BYTES]) -> Option<SignatureError> {
        (head[1] == VERSION_ECDSA && head[2] == HASH_SHA384).then_some(SignatureError::P384)
    }

    /// How it is signed.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What it signs: the SHA-256 of the image and the padding up to the signature sector.
    pub fn signed_digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(&self.bytes[4..BLOCK_HEAD_BYTES]);
        digest
    }

    /// The SHA-256 by which the signing key is known: in eFuses, and wherever trusted keys are listed.
    pub fn key_digest(&self) -> [u8; 32] {
        let end = match self.scheme {
            Scheme::Rsa3072 => RSA_KEY_END,
            Scheme::EcdsaP256 => P256_KEY_END,
        };
        crate::digest(self.bytes.get(BLOCK_HEAD_BYTES..end).unwrap_or_default())
    }

    /// Whether the key in the block signed the digest in the block. Who trusts that key, and whose digest it is,
    /// are other questions. Takes less than 2 KiB of stack.
    #[cfg(feature = "signature")]
    pub fn verify(&self) -> Result<(), SignatureError> {
        match self.scheme {
            Scheme::Rsa3072 => rsa::verify(self.bytes),
            Scheme::EcdsaP256 => ecdsa::verify(self.bytes),
        }
    }
}

/// A sector in which signature blocks may lie.
#[derive(Debug, Clone, Copy)]
pub struct SignatureSector<'a>(&'a [u8; SIGNATURE_SECTOR_BYTES]);

impl<'a> SignatureSector<'a> {
    /// For the last 4096 bytes of a file, or those at [`crate::Summary::signature_offset`] of a slot.
    pub const fn new(bytes: &'a [u8; SIGNATURE_SECTOR_BYTES]) -> Self {
        Self(bytes)
    }

    /// The sector that a whole file ends with; `None` for a file that is shorter.
    pub fn of_file(file: &'a [u8]) -> Option<Self> {
        file.last_chunk().map(Self)
    }

    /// The blocks in order, each with its place (0 to 2). A place that was left erased is passed over; a corrupt
    /// block comes as the error that says so, and the ones after it come too.
    pub fn blocks(
        &self,
    ) -> impl Iterator<Item = (usize, Result<SignatureBlock<'a>, SignatureError>)> + use<'a> {
        let (blocks, _) = self.0.as_chunks::<SIGNATURE_BLOCK_BYTES>();
        let present = blocks.iter().enumerate().filter(|(_, block)| block[0] != 0xFF);
        present.map(|(place, block)| (place, SignatureBlock::parse(block)))
    }
}

/// The usual CRC-32 (IEEE 802.3, reflected), bit by bit: a table would cost more than the milliseconds it saves.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests;
