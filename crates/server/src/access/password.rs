//! Users' passwords, kept as argon2 hashes.

use std::sync::{Arc, LazyLock};

use anyhow::Context;
use tokio::sync::Semaphore;

use crate::error::Error;

/// Each verification of a password takes 19 MiB; a flood of log-ins waits instead.
static VERIFIERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// What is kept of a password.
pub(super) async fn hash(password: String) -> Result<String, Error> {
    let hash = tokio::task::spawn_blocking(move || password_auth::generate_hash(password));
    Ok(hash.await.context("hashing a password")?)
}

/// Takes as long for a user that does not exist, so that names cannot be guessed by the clock.
pub(super) async fn verify(password: String, hash: Option<String>) -> Result<bool, Error> {
    static NOBODY: LazyLock<String> = LazyLock::new(|| password_auth::generate_hash("nobody"));
    let _permit = VERIFIERS.acquire().await.context("the verifiers were closed")?;
    let verified = tokio::task::spawn_blocking(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        password_auth::verify_password(password, &hash).is_ok() && known
    });
    Ok(verified.await.context("verifying a password")?)
}
