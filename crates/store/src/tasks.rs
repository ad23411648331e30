//! Work that goes on elsewhere than where it was asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cause::store as causes;
use tracing::Instrument;

use crate::error::StoreError;

/// Does what must not be left half done in a task of its own: who asked for it may go away, and what the task has, the
/// lock above all, it keeps until it has ended.
pub(crate) async fn run_detached<T: Send + 'static>(
    task: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(task.in_current_span()).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::corrupt(causes::ENDED.cause())),
        },
    }
}

/// Does what takes long beside those who are being served.
pub(crate) async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| StoreError::corrupt(causes::BROKE_OFF.cause()))
}

/// Maximum attempts of a write that loses against another.
pub(crate) const ROUNDS_MAX: u32 = 20;

/// Waits a moment whose length differs from writer to writer, so that two do not meet again and again.
pub(crate) async fn pause() {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    tokio::time::sleep(Duration::from_millis(u64::from(nanos / 1000 % 97) + 5)).await;
}
