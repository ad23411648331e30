//! Keys, in the files that `espsecure generate-signing-key` and `extract-public-key` write.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use getrandom::SysRng;
use p256::ecdsa::signature::hazmat::{PrehashSigner, RandomizedPrehashSigner};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey, LineEnding};
use rsa::signature::SignatureEncoding;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};

use crate::signature::{CURVE_P256, Scheme};

const RSA_BITS: u32 = 3072;
const RSA_WORDS: usize = 96;

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

/// A private key. Its memory is wiped when it is dropped.
pub struct SigningKey(Private);

enum Private {
    Rsa3072(Box<rsa::PrivateKey>),
    EcdsaP256(p256::SecretKey),
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Rsa3072(Box<rsa::PublicKey>),
    EcdsaP256(p256::PublicKey),
}

/// The secret is not shown.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public().scheme()).finish()
    }
}

impl SigningKey {
    /// Makes a key from the system's random numbers; RSA takes seconds.
    pub fn generate(scheme: Scheme) -> Result<Self, KeyError> {
        let lost = |()| KeyError::NoRandomness;
        Ok(Self(match scheme {
            Scheme::Rsa3072 => {
                let key = rsa::PrivateKey::new(&mut SysRng, RSA_BITS as usize);
                Private::Rsa3072(Box::new(key.map_err(|_| lost(()))?))
            }
            Scheme::EcdsaP256 => {
                let key = p256::SecretKey::try_generate_from_rng(&mut SysRng);
                Private::EcdsaP256(key.map_err(|_| lost(()))?)
            }
        }))
    }

    /// Reads PKCS #1 (`RSA PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`) or PKCS #8 (`PRIVATE KEY`).
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let unsupported = KeyError::Unsupported;
        if let Some(pem) = block_of(pem, "RSA PRIVATE KEY") {
            if pem.contains("ENCRYPTED") {
                return Err(KeyError::Encrypted);
            }
            return Self::rsa(rsa::PrivateKey::from_pkcs1_pem(pem).map_err(|_| unsupported)?);
        }
        if let Some(pem) = block_of(pem, "EC PRIVATE KEY") {
            if pem.contains("ENCRYPTED") {
                return Err(KeyError::Encrypted);
            }
            let key = p256::SecretKey::from_sec1_pem(pem).map_err(|_| unsupported)?;
            return Ok(Self(Private::EcdsaP256(key)));
        }
        if let Some(pem) = block_of(pem, "PRIVATE KEY") {
            if let Ok(key) = rsa::PrivateKey::from_pkcs8_pem(pem) {
                return Self::rsa(key);
            }
            let key = p256::SecretKey::from_pkcs8_pem(pem).map_err(|_| unsupported)?;
            return Ok(Self(Private::EcdsaP256(key)));
        }
        Err(match pem {
            _ if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => KeyError::Encrypted,
            _ if pem.contains("-----BEGIN PUBLIC KEY-----") => KeyError::Public,
            _ => KeyError::NotPem,
        })
    }

    fn rsa(key: rsa::PrivateKey) -> Result<Self, KeyError> {
        assert_rsa_size(key.as_public_key())?;
        Ok(Self(Private::Rsa3072(Box::new(key))))
    }

    /// The key as espsecure writes it: PKCS #1 for RSA, SEC 1 for P-256. A secret.
    pub fn to_pem(&self) -> String {
        let pem = match &self.0 {
            Private::Rsa3072(key) => key.to_pkcs1_pem(LineEnding::LF).ok(),
            Private::EcdsaP256(key) => key.to_sec1_pem(LineEnding::LF).ok(),
        };
        pem.map(|pem| pem.as_str().into()).expect("a key that was made or read can be written")
    }

    /// The half that verifies.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Private::Rsa3072(key) => Public::Rsa3072(Box::new(key.to_public_key())),
            Private::EcdsaP256(key) => Public::EcdsaP256(key.public_key()),
        })
    }

    /// The signature as a block holds it: little-endian. `None` if the system gave no random numbers.
    pub(super) fn signature(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        match &self.0 {
            Private::Rsa3072(key) => {
                let signer = rsa::pss::SigningKey::<Sha256>::new((**key).clone());
                let signature = signer.sign_prehash_with_rng(&mut SysRng, digest).ok()?;
                let mut bytes = signature.to_vec();
                bytes.reverse();
                Some(bytes)
            }
            Private::EcdsaP256(key) => {
                let signer = p256::ecdsa::SigningKey::from(key);
                let signature: p256::ecdsa::Signature = signer.sign_prehash(digest).ok()?;
                Some(little_endian_pair(&signature.to_bytes()))
            }
        }
    }
}

impl PublicKey {
    /// Reads a `PUBLIC KEY`, or the public half of what [`SigningKey::from_pem`] reads.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let Some(public) = block_of(pem, "PUBLIC KEY") else {
            return SigningKey::from_pem(pem).map(|key| key.public());
        };
        if let Ok(key) = rsa::PublicKey::from_public_key_pem(public) {
            assert_rsa_size(&key)?;
            return Ok(Self(Public::Rsa3072(Box::new(key))));
        }
        let key = p256::PublicKey::from_public_key_pem(public).map_err(|_| KeyError::Unsupported)?;
        Ok(Self(Public::EcdsaP256(key)))
    }

    /// The key as espsecure writes it: `SubjectPublicKeyInfo`.
    pub fn to_pem(&self) -> String {
        let pem = match &self.0 {
            Public::Rsa3072(key) => key.to_public_key_pem(LineEnding::LF),
            Public::EcdsaP256(key) => key.to_public_key_pem(LineEnding::LF),
        };
        pem.expect("a key that was made or read can be written")
    }

    /// How it signs.
    pub const fn scheme(&self) -> Scheme {
        match self.0 {
            Public::Rsa3072(_) => Scheme::Rsa3072,
            Public::EcdsaP256(_) => Scheme::EcdsaP256,
        }
    }

    /// The SHA-256 by which it is known ([`crate::signature::SignatureBlock::key_digest`]).
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.block_bytes()).into()
    }

    /// As it stands in a block: N, e, R and M′, or the curve's number, X and Y.
    pub(super) fn block_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Public::Rsa3072(key) => {
                let big_endian = key.n().to_be_bytes();
                let mut n = [0; RSA_WORDS];
                // The precision may be larger than the number.
                for (word, bytes) in n.iter_mut().zip(big_endian.rchunks_exact(4)) {
                    *word = u32::from_be_bytes(*bytes.first_chunk().expect("chunks of four"));
                }
                let mut bytes = Vec::new();
                bytes.extend(n.iter().flat_map(|word| word.to_le_bytes()));
                bytes.extend(exponent(key).unwrap_or(0).to_le_bytes());
                bytes.extend(r(&n).iter().flat_map(|word| word.to_le_bytes()));
                bytes.extend(m_prime(n[0]).to_le_bytes());
                bytes
            }
            Public::EcdsaP256(key) => {
                let point = key.to_sec1_point(false);
                let mut bytes = Vec::from([CURVE_P256]);
                // The first byte only says that both coordinates follow.
                bytes.extend(little_endian_pair(&point.as_bytes()[1..]));
                bytes
            }
        }
    }
}

/// From the beginning of the PEM block with that label; openssl puts others before it.
fn block_of<'a>(pem: &'a str, label: &str) -> Option<&'a str> {
    let begin = alloc::format!("-----BEGIN {label}-----");
    let end = alloc::format!("-----END {label}-----");
    let rest = &pem[pem.find(&begin)?..];
    let length = rest.find(&end)? + end.len();
    Some(&rest[..length])
}

fn assert_rsa_size(key: &rsa::PublicKey) -> Result<(), KeyError> {
    let bits = key.n().bit_width();
    if bits == RSA_BITS && exponent(key).is_some() { Ok(()) } else { Err(KeyError::RsaSize { bits }) }
}

/// The public exponent, which has 32 bits in a block.
fn exponent(key: &rsa::PublicKey) -> Option<u32> {
    let bytes = key.e().to_be_bytes();
    let value =
        bytes.iter().try_fold(0_u64, |value, byte| value.checked_mul(256)?.checked_add((*byte).into()))?;
    u32::try_from(value).ok()
}

/// Two big-endian numbers of 32 bytes, each turned around.
fn little_endian_pair(pair: &[u8]) -> Vec<u8> {
    pair.chunks(32).flat_map(|number| number.iter().rev().copied()).collect()
}

/// 2^6144 mod N, for an N with its top bit set: 2^3072 − N, doubled 3072 times.
fn r(n: &[u32; RSA_WORDS]) -> [u32; RSA_WORDS] {
    let mut r = [0; RSA_WORDS];
    subtract(&mut r, n);
    for _ in 0..RSA_BITS {
        let mut carry = 0;
        for word in &mut r {
            let top = *word >> 31;
            *word = (*word << 1) | carry;
            carry = top;
        }
        if carry == 1 || r.iter().rev().ge(n.iter().rev()) {
            subtract(&mut r, n);
        }
    }
    r
}

/// What is left modulo 2^3072.
fn subtract(number: &mut [u32; RSA_WORDS], n: &[u32; RSA_WORDS]) {
    let mut borrow = false;
    for (word, n) in number.iter_mut().zip(n) {
        let (difference, first) = word.overflowing_sub(*n);
        let (difference, second) = difference.overflowing_sub(u32::from(borrow));
        (*word, borrow) = (difference, first || second);
    }
}

/// −N⁻¹ mod 2^32, by Newton's iteration: each round doubles the bits that are right, and n is its own inverse modulo 8.
fn m_prime(n: u32) -> u32 {
    let inverse =
        (0..4).fold(n, |inverse, _| inverse.wrapping_mul(2_u32.wrapping_sub(n.wrapping_mul(inverse))));
    inverse.wrapping_neg()
}
