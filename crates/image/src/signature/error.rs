//! Why a signature does not count.

use core::fmt;

/// Why a signature block, or all blocks together, say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureError {
    /// There is something else where a block would be.
    NotABlock {
        /// What it begins with instead of 0xE7.
        first_byte: u8,
    },
    /// Its CRC is wrong, or there is something where a block has nothing.
    Damaged,
    /// A version of which nothing is known here.
    UnknownVersion {
        /// The block's byte 1.
        version: u8,
    },
    /// ECDSA on NIST P-192, which is too weak.
    P192,
    /// ECDSA on NIST P-384 over SHA-384, which is not supported.
    P384,
    /// ECDSA on a curve of which nothing is known here.
    UnknownCurve {
        /// The curve's number.
        curve: u8,
    },
    /// The public key in the block cannot be one: not on the curve, an even modulus, or constants that are not the
    /// modulus's own.
    BadKey,
    /// The key in the block did not sign the digest in the block.
    BadSignature,
    /// The block signs something else than the image, or than the block before it.
    OtherDigest,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let supported = "Updraft takes RSA-3072 and ECDSA P-256";
        match *self {
            Self::NotABlock { first_byte } => {
                write!(f, "there is no signature block: it begins with 0x{first_byte:02X}, not 0xE7")
            }
            Self::Damaged => f.write_str("the signature block is damaged"),
            Self::UnknownVersion { version } => {
                write!(f, "the signature block has the unknown version {version}; {supported}")
            }
            Self::P192 => write!(f, "the signature is ECDSA on P-192, which is too weak; {supported}"),
            Self::P384 => write!(f, "the signature is ECDSA on P-384, which is not supported; {supported}"),
            Self::UnknownCurve { curve } => {
                write!(f, "the signature is ECDSA on the unknown curve {curve}; {supported}")
            }
            Self::BadKey => f.write_str("the public key in the signature block cannot be one"),
            Self::BadSignature => f.write_str("the signature is not by the key that it names"),
            Self::OtherDigest => f.write_str("the signature is that of another image"),
        }
    }
}

impl core::error::Error for SignatureError {}
