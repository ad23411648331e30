//! Secrets: random bits, kept as their SHA-256, and users' passwords, kept as argon2 hashes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::error::Error;

/// 256 random bits, as 64 digits: nothing that a shell, a URL or a command line's options could misread.
pub(crate) fn random_secret() -> Result<String, Error> {
    random(&mut [0; 32])
}

/// A device's MQTT password: 192 random bits, as 48 digits.
pub(crate) fn random_password() -> Result<String, Error> {
    random(&mut [0; 24])
}

fn random(bytes: &mut [u8]) -> Result<String, Error> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(hex::encode(bytes))
}

/// What is kept of a secret. It needs no salt and no slow hash: nobody guesses 192 random bits.
pub(crate) fn digest(secret: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(secret))
}

/// Compares without telling by the clock how much was right.
pub(crate) fn is_equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// When something ends that is made now.
pub(super) fn later(now: i64, lifetime: Duration) -> i64 {
    now.saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))
}

/// Each verification of a password takes 19 MiB; a flood of log-ins waits instead.
static VERIFIERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// What is kept of a password.
pub(super) async fn hash_password(password: String) -> Result<String, Error> {
    let hash = tokio::task::spawn_blocking(move || password_auth::generate_hash(password));
    Ok(hash.await.context("hashing a password")?)
}

/// Takes as long for a user that does not exist, so that names cannot be guessed by the clock.
pub(super) async fn verify_password(password: String, hash: Option<String>) -> Result<bool, Error> {
    static NOBODY: LazyLock<String> = LazyLock::new(|| password_auth::generate_hash("nobody"));
    let _permit = VERIFIERS.acquire().await.context("the verifiers were closed")?;
    let verified = tokio::task::spawn_blocking(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        password_auth::verify_password(password, &hash).is_ok() && known
    });
    Ok(verified.await.context("verifying a password")?)
}
