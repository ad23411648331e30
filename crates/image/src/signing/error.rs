//! Why a key cannot be used, and why an image is not signed.

use core::fmt;

use crate::ImageError;
use crate::signature::SignatureError;

/// Why a text is not a key that images can be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// It is no key in PEM.
    NotPem,
    /// It is a public key where the private one is needed.
    Public,
    /// It wants a passphrase.
    Encrypted,
    /// It cannot be read, or is not RSA and not on the curve P-256.
    Unsupported,
    /// An RSA key of another length, or with an exponent that does not fit into 32 bits.
    RsaSize {
        /// How long its modulus is.
        bits: u32,
    },
    /// The system gave no random numbers.
    NoRandomness,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotPem => f.write_str("this is not a key: a PEM file is needed, such as `updraft key new` makes"),
            Self::Public => f.write_str("this is the public half of a key; signing needs the private one"),
            Self::Encrypted => f.write_str(
                "the key is encrypted with a passphrase, which Updraft and espsecure's key files do not use; decrypt it \
                 first (openssl pkey)",
            ),
            Self::Unsupported => f.write_str("the key is damaged, or neither RSA nor ECDSA on P-256"),
            Self::RsaSize { bits } => {
                write!(f, "the RSA key has {bits} bits or a large exponent; images are signed with 3072 bits")
            }
            Self::NoRandomness => f.write_str("the system gave no random numbers"),
        }
    }
}

impl core::error::Error for KeyError {}

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
