//! What receiver, batcher and client share: which connection is the present one, and which messages will come again by
//! themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rumqttc::AsyncClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::delivery::Delivery;
use super::options::LinkState;

pub(super) struct Shared {
    pub(super) client: AsyncClient,
    pub(super) link: watch::Sender<LinkState>,
    pub(super) stopping: CancellationToken,
    pub(super) delivery: Delivery,
    pub(super) ignored: AtomicU64,
    pub(super) connection: AtomicU64,
    /// Messages of connections before this one are sent again by the broker, which resumed the session.
    pub(super) again_before: AtomicU64,
    /// Acknowledgements given to the client and not yet sent.
    pub(super) unsent: AtomicU64,
    /// When the last connection was lost.
    pub(super) lost_at: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn lost(&self) -> Option<Instant> {
        *self.lost_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_lost(&self) {
        *self.lost_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn acknowledged(&self) {
        // Those of an earlier connection are not counted any more.
        let _ = self.unsent.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |unsent| unsent.checked_sub(1));
    }
}
