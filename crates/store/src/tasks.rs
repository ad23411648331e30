//! Work that goes on elsewhere than where it was asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cause::store as causes;

use crate::error::StoreError;

/// Does what takes long beside those who are being served.
pub(crate) async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| broke_off())
}

/// What became of work that panicked.
pub(crate) fn broke_off() -> StoreError {
    StoreError::corrupt(causes::BROKE_OFF.cause())
}

/// Maximum attempts of a write that loses against another.
pub(crate) const ROUNDS_MAX: u32 = 20;

/// Waits a moment whose length differs from writer to writer, so that two do not meet again and again.
pub(crate) async fn pause() {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    tokio::time::sleep(Duration::from_millis(u64::from(nanos / 1000 % 97) + 5)).await;
}
