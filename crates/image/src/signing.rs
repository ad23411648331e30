//! Makes keys and signs images, as `espsecure` does (feature `sign`, for hosts; needs an allocator and randomness).
//!
//! This module owns the writing of what [`crate::signature`] reads. It refuses to sign what is not a sound image, and to
//! add a signature beside one that is not good. The arithmetic of secret keys is that of the crates `rsa` and `p256`.

mod key;

use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::signature::{
    BLOCK_HEAD_BYTES, BLOCK_MAGIC, CRC_OFFSET, SIGNATURE_BLOCK_BYTES, SIGNATURE_BLOCKS_MAX,
    SIGNATURE_SECTOR_BYTES, Scheme, SignatureError, SignatureSector, VERSION_ECDSA, VERSION_RSA, crc32,
};
use crate::{ImageError, SECTOR_BYTES, verify};
pub use key::{KeyError, PublicKey, SigningKey};

/// Why an image is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// It is not a sound image.
    Image(ImageError),
    /// It is signed, and no further signature was asked for.
    AlreadySigned,
    /// A block that is there already is not good.
    Existing {
        /// Which, from 0.
        block: usize,
        /// What is wrong with it.
        error: SignatureError,
    },
    /// There is a place without a block before one with a block.
    Gap,
    /// This key signed it already.
    SameKey,
    /// All three places are taken.
    Full,
    /// The system gave no random numbers.
    NoRandomness,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Image(error) => error.fmt(f),
            Self::AlreadySigned => {
                f.write_str("the image is signed already; add a further signature with --append, or sign the image as built")
            }
            Self::Existing { block, error } => {
                write!(f, "signature block {} is not good ({error}); sign the image as built", block + 1)
            }
            Self::Gap => f.write_str("there is a gap between the signature blocks; sign the image as built"),
            Self::SameKey => f.write_str("this key has signed the image already"),
            Self::Full => f.write_str("the image has three signatures, and there is no room for more"),
            Self::NoRandomness => KeyError::NoRandomness.fmt(f),
        }
    }
}

impl core::error::Error for SignError {}

/// The image with padding and a signature sector that holds one block.
pub fn sign(image: &[u8], key: &SigningKey) -> Result<Vec<u8>, SignError> {
    if verify(image).map_err(SignError::Image)?.signature_blocks > 0 {
        return Err(SignError::AlreadySigned);
    }
    let mut signed = image.to_vec();
    signed.resize(image.len().next_multiple_of(SECTOR_BYTES as usize), 0xFF);
    let block = block(&signed, key)?;
    signed.extend(block);
    signed.resize(signed.len() + SIGNATURE_SECTOR_BYTES - SIGNATURE_BLOCK_BYTES, 0xFF);
    Ok(signed)
}

/// The image with one more block after those that it has, or as [`sign`] makes it if it has none.
pub fn append(image: &[u8], key: &SigningKey) -> Result<Vec<u8>, SignError> {
    let summary = verify(image).map_err(SignError::Image)?;
    let (Some(offset), Some(sector)) = (summary.signature_offset(), SignatureSector::of_file(image)) else {
        return sign(image, key);
    };
    let mut count = 0;
    for (place, found) in sector.blocks() {
        let found = found.and_then(|block| block.verify().map(|()| block));
        let found = found.map_err(|error| SignError::Existing { block: place, error })?;
        if found.key_digest() == key.public().digest() {
            return Err(SignError::SameKey);
        }
        // Bootloaders may stop looking at a gap, so none is left or filled.
        if place != count {
            return Err(SignError::Gap);
        }
        count += 1;
    }
    if count == SIGNATURE_BLOCKS_MAX {
        return Err(SignError::Full);
    }
    let offset = offset as usize;
    let block = block(&image[..offset], key)?;
    let mut signed = image.to_vec();
    signed[offset + count * SIGNATURE_BLOCK_BYTES..][..SIGNATURE_BLOCK_BYTES].copy_from_slice(&block);
    Ok(signed)
}

/// The block that signs all of these bytes.
fn block(padded: &[u8], key: &SigningKey) -> Result<[u8; SIGNATURE_BLOCK_BYTES], SignError> {
    let digest = Sha256::digest(padded).into();
    let public = key.public();
    let public_bytes = public.block_bytes();
    let signature = key.signature(&digest).ok_or(SignError::NoRandomness)?;
    let mut block = [0; SIGNATURE_BLOCK_BYTES];
    block[0] = BLOCK_MAGIC;
    block[1] = match public.scheme() {
        Scheme::Rsa3072 => VERSION_RSA,
        Scheme::EcdsaP256 => VERSION_ECDSA,
    };
    block[4..BLOCK_HEAD_BYTES].copy_from_slice(&digest);
    let key_end = BLOCK_HEAD_BYTES + public_bytes.len();
    block[BLOCK_HEAD_BYTES..key_end].copy_from_slice(&public_bytes);
    block[key_end..key_end + signature.len()].copy_from_slice(&signature);
    let crc = crc32(&block[..CRC_OFFSET]);
    block[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_le_bytes());
    Ok(block)
}
