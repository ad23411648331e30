//! The marker: a message to ourselves, behind everything the broker kept for us.

use anyhow::Context;
use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use sha2::{Digest, Sha256};

/// Once it is back, we have caught up.
pub(super) struct Marker {
    pub(super) topic: String,
    /// Tells it from a marker of an earlier process, which may be among what was kept.
    process: String,
}

impl Marker {
    /// Its topic is the control topic of a device that does not exist: a topic of the contract, so that a broker
    /// with an access list needs no rule of its own for it.
    pub(super) fn new(client_id: &str, version: &VersionTopic) -> anyhow::Result<Self> {
        let id = format!("server-{}", hex::encode(&Sha256::digest(client_id.as_bytes())[..8]));
        let device: DeviceId = id.parse().context("a marker's name is a device id")?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).context("no random numbers for the marker")?;
        let topic = Topic { kind: TopicKind::Control, device }.write(version).to_string();
        Ok(Self { topic, process: hex::encode(random) })
    }

    pub(super) fn payload(&self, connection: u64) -> String {
        format!("{} {connection}", self.process)
    }
}
