//! Writing into the store in a task of its own.

use cause::service as causes;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, timeout_at};

use crate::error::Error;

/// How long somebody who asked waits until the store is written.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(45);

/// Runs what is written into the store to completion, whoever leaves meanwhile or cannot wait. What is merely slow is not
/// said to have failed.
pub(crate) async fn detached<T: Send + 'static>(
    deadline: Instant,
    what: String,
    task: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let slow = Error::GoesOn(causes::GOES_ON.with("what", what.as_str()));
    let done = tokio::spawn(async move {
        let done = task.await;
        if Instant::now() >= deadline {
            // Nobody waits for it any more.
            match &done {
                Ok(_) => tracing::info!("{what} took its time, and is done"),
                Err(error) => tracing::warn!("{what} took its time, and failed: {error}"),
            }
        }
        done
    });
    match timeout_at(deadline, done).await {
        Ok(ended) => ended.context("writing to the store broke off")?,
        Err(_) => Err(slow),
    }
}
