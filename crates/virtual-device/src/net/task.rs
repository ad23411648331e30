//! A task that ends with its owner.

use tokio::task::AbortHandle;

/// Ends its task when it is dropped.
#[derive(Debug)]
pub struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
