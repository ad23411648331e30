//! What receiver and batcher share: which connection is the present one, and what came on it.

use std::sync::atomic::{AtomicU64, Ordering};

use rumqttc::Publish;

/// Messages in one batch, at most.
pub(super) const BATCH: usize = 1000;

/// What the receiver passes to the batcher.
pub(super) struct Arrived {
    /// On which connection, counted from 1.
    pub(super) connection: u64,
    /// A message; none means that the broker has taken our subscriptions on this connection.
    pub(super) publish: Option<Publish>,
}

/// Which connection is the present one, and which messages will come again by themselves.
#[derive(Default)]
pub(super) struct Epoch {
    pub(super) connection: AtomicU64,
    /// Messages of connections before this one are sent again by the broker, which resumed the session.
    pub(super) again_before: AtomicU64,
    /// Acknowledgements given to the client and not yet sent.
    pub(super) unsent: AtomicU64,
}

impl Epoch {
    pub(super) fn acknowledged(&self) {
        // Those of an earlier connection are not counted any more.
        let _ = self.unsent.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |unsent| unsent.checked_sub(1));
    }
}
