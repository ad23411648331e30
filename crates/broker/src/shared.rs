//! What all connections share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use contract::{DeviceId, VersionTopic};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Credentials, Unavailable};
use crate::foreign::NotAdmitted;
use crate::limits;
use crate::state::State;

/// Maximum number of characters of a name that are shown; a device id has at most 64.
const SHOWN: usize = 100;

pub(crate) struct Shared {
    pub(crate) credentials: Credentials,
    pub(crate) version: VersionTopic,
    /// No connection is accepted any more, and none that is not let in yet goes on.
    pub(crate) closing: CancellationToken,
    state: Mutex<State>,
    admission: Arc<dyn Admission>,
    admissions: Semaphore,
}

impl Shared {
    pub(crate) fn new(version: VersionTopic, admission: Arc<dyn Admission>) -> anyhow::Result<Self> {
        Ok(Self {
            credentials: Credentials::random()?,
            version,
            state: Mutex::new(State::new(Arc::clone(&admission))),
            closing: CancellationToken::new(),
            admission,
            admissions: Semaphore::new(limits::MAX_ADMISSIONS),
        })
    }

    /// Locks everything that connections share.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one; a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who was not let in, and why.
    pub(crate) fn refuse_entry(&self, peer: SocketAddr, who: &str, why: NotAdmitted) {
        let shown: String = who.chars().take(SHOWN).collect();
        tracing::warn!(%peer, who = ?shown, "an MQTT client was not let in: {why}");
        self.admission.not_admitted(peer.ip(), &shown, why);
    }

    pub(crate) async fn admit(&self, device: &DeviceId, password: &[u8]) -> Result<bool, Unavailable> {
        let _permit = self.admissions.acquire().await.map_err(|_| Unavailable)?;
        self.admission.admit(device, password).await
    }

    pub(crate) async fn admit_reader(&self, token: &Bytes) -> Result<bool, Unavailable> {
        let _permit = self.admissions.acquire().await.map_err(|_| Unavailable)?;
        self.admission.admit_reader(token).await
    }
}
