//! Who may do what: users, tokens, sessions, CI identities, and how often somebody may try to log in.
//!
//! [`Access`] knows whose a secret is; [`Publishers`] trades what a CI system signed for a token of one product.

mod audit;
mod issuer;
mod limiter;
mod publishers;
mod seals;
mod secret;
mod service;
mod tokens;

pub use api::Role;
pub(crate) use limiter::source;
pub(crate) use limiter::{LoginLimiter, RateLimiter, TooMany};
pub(crate) use publishers::{Admission, Publishers};
pub use seals::{BrokenSeal, SealHead, Verified};
pub(crate) use secret::{digest, is_equal, random_password, random_secret};
pub use service::Access;
pub use service::Identity;
pub use tokens::{FIRST_USER, FirstLogin};
