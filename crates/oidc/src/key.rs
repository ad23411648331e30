//! Public keys, and the documents that they come in (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// Keys taken of a set; those that follow are passed over.
pub const KEYS_MAX: usize = 64;

/// How a statement may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Both numbers big-endian, without zeros in front.
    Rsa {
        /// n
        modulus: Vec<u8>,
        /// e
        exponent: Vec<u8>,
    },
    /// As SEC 1 writes a point without compression.
    P256(Vec<u8>),
}

impl Key {
    /// Whether it made this signature, in the one way that fits the key. RSA keys of less than 2,048 bits made none.
    pub fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok()
            }
            (Self::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }

    /// Whether it is a key for signatures of this kind.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        matches!((self, algorithm), (Self::Rsa { .. }, Algorithm::Rs256) | (Self::P256(_), Algorithm::Es256))
    }
}

/// The keys of a set that can verify what is taken here, with their ids; others are passed over. `None`: it is no key set.
pub fn key_set(document: &[u8]) -> Option<Vec<(String, Key)>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(document).ok()?;
    Some(set.keys.iter().filter_map(key).take(KEYS_MAX).collect())
}

fn key(entry: &serde_json::Value) -> Option<(String, Key)> {
    let text = |name: &str| entry.get(name).and_then(serde_json::Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let key = match (text("kty")?, text("alg")) {
        ("RSA", None | Some("RS256")) => {
            // Some write the sign's zero, which the arithmetic refuses.
            let bare = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            Key::Rsa { modulus: bare(bytes("n")?), exponent: bare(bytes("e")?) }
        }
        ("EC", None | Some("ES256")) if text("crv") == Some("P-256") => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            if (x.len(), y.len()) != (32, 32) {
                return None;
            }
            Key::P256([&[4], x.as_slice(), y.as_slice()].concat())
        }
        _ => return None,
    };
    Some((text("kid")?.to_owned(), key))
}
