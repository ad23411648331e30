//! What a CI system signed about one of its jobs (an OIDC token): taken apart, verified with a key that is given, and held
//! against the publishers that a configuration trusts.
//!
//! Pure: it asks nobody and keeps nothing, so the time and the keys are values, and all of it can be fuzzed. Claims
//! come out of [`IdToken::verify`] only: there is no way to the scope of a statement that nobody signed.

use cause::Cause;

mod claims;
mod id_token;
mod issuer;
mod job;
mod key;
mod publisher;
mod shown;

pub use claims::{Claims, HOLDS_MAX_S};
pub use id_token::{IdToken, TOKEN_MAX_BYTES};
pub use issuer::{discovery_address, is_safe_issuer, key_set_address};
pub use job::Job;
pub use key::{Algorithm, KEYS_MAX, Key, key_set};
pub use publisher::{RefPattern, Scope, TrustedPublisher};
pub use shown::shown;

/// Why a statement gets nobody in. The sentence is for the person whose job it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It proves nothing: malformed, not signed as it must be, for somebody else, or not valid now.
    #[error("{0}")]
    Unproven(Cause),
    /// It is true, and who it is about is not trusted with this.
    #[error("{0}")]
    Untrusted(Cause),
    /// It is good for several products, and none was named.
    #[error("{0}")]
    Ambiguous(Cause),
}

#[cfg(test)]
mod tests;
