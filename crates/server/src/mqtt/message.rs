//! What comes from devices, and who takes it.

use std::time::Instant;

use bytes::Bytes;
use contract::{DeviceId, TopicKind};

/// Longer payloads are not of the contract; no more than this is read of them.
pub const PAYLOAD_MAX_BYTES: usize = 4 * 1024;

/// A message of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub kind: TopicKind,
    /// Whose it is.
    pub device: DeviceId,
    /// Its first [`PAYLOAD_MAX_BYTES`] at most, never empty.
    pub payload: Bytes,
    /// Whether the broker had kept it: it may be old.
    pub retained: bool,
    /// When it reached this process.
    pub received: Instant,
}

impl Message {
    /// For how long it has been waiting here.
    pub(crate) fn age_ms(&self) -> i64 {
        i64::try_from(self.received.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// What is done with messages.
#[async_trait::async_trait]
pub trait Handler: Send + Sync {
    /// Takes 1 to 1,000 messages in the order in which they came. `Ok` after the commit; only then are they
    /// acknowledged. After an error the same messages come again, with back-off. A message may come twice.
    async fn messages(&self, batch: &[Message]) -> anyhow::Result<()>;
    /// Something came on a topic of a device whose id is none.
    fn invalid_id(&self, _id: &str) {}
}
