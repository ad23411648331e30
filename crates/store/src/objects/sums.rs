//! The digests of bytes.

use bytes::Bytes;
use contract::Sha256;
use md5::Md5;
use sha2::Digest;

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// What is known of an object's bytes, once they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// What says which bytes they are.
    pub sha256: Sha256,
    /// For clients that compare nothing else (Arduino's `HTTPUpdate`), and against transmission errors only.
    pub md5: [u8; 16],
}

impl Sums {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { sha256: sha256(bytes), md5: Md5::digest(bytes).into() }
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        [&self.sha256.0[..], &self.md5].concat().into()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sha256, md5) = bytes.split_first_chunk()?;
        Some(Self { sha256: Sha256(*sha256), md5: md5.try_into().ok()? })
    }
}
