//! The server's own MQTT client, of whichever broker is configured: the embedded one or any MQTT 5 broker.
//!
//! Two connections. One receives, in a session that the broker keeps, and acknowledges a message only after
//! the handler has committed it, so that nothing is lost while the server is down. The other publishes, in a session
//! of its own that starts clean each time: a client that resumes a session of an earlier process does not know which
//! packet ids are taken, and rumqttc then refuses to publish at all.

mod address;
mod clerk;
mod publish;
mod receive;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::Credentials;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use publish::Publisher;

/// Messages that a broker may have sent us and not yet seen acknowledged.
const RECEIVE_MAXIMUM: u16 = 2000;
/// Longer payloads are not of the contract; no more than this is read of them.
pub const PAYLOAD_MAX_BYTES: usize = 4 * 1024;

/// Which broker.
#[derive(Debug, Clone)]
pub enum BrokerAddress {
    /// The one in this process.
    Embedded {
        /// Where it listens.
        address: std::net::SocketAddr,
        /// What it gave us.
        credentials: Credentials,
    },
    /// `mqtt[s]://user:password@host:port`; 1883 and 8883 if no port is named.
    External(Url),
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct MqttOptions {
    /// Which broker.
    pub broker: BrokerAddress,
    /// Where devices report their version.
    pub version_topic: VersionTopic,
    /// Stable over restarts, and no other client's: the broker keeps our messages under it.
    pub client_id: String,
    /// Whether the broker keeps messages for us while we are away. On an external broker: yes.
    pub persistent: bool,
}

/// How the connection to the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected.
    Down {
        /// Since when.
        since: DateTime<Utc>,
        /// Why, in words; never with a password.
        reason: String,
    },
    /// Connected; what the broker kept for us is being worked off.
    CatchingUp,
    /// Everything sent before we connected has been handled.
    Up,
}

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
}

/// What is done with messages.
#[async_trait::async_trait]
pub trait Handler: Send + Sync {
    /// Takes 1 to 1,000 messages in the order in which they came. `Ok` after the commit; only then are they
    /// acknowledged. After an error the same messages come again, with back-off. A message may come twice.
    async fn messages(&self, batch: &[Message]) -> anyhow::Result<()>;
}

/// The message was not acknowledged by the broker within 5 s. It may have arrived all the same.
#[derive(Debug, thiserror::Error)]
#[error("the MQTT broker did not take the message: {0}")]
pub struct NotConnected(pub(crate) String);

/// The running client. Cheap to clone; it lives until [`Mqtt::stop`].
#[derive(Clone)]
pub struct Mqtt {
    publisher: Publisher,
    receiver: rumqttc::AsyncClient,
    version: VersionTopic,
    link: watch::Receiver<LinkState>,
    ignored: Arc<AtomicU64>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Mqtt {
    /// Connects, and keeps connecting for ever. Fails only if the address is unusable. Call it within a runtime.
    pub fn start(options: &MqttOptions, handler: Arc<dyn Handler>) -> anyhow::Result<Self> {
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        let ignored = Arc::new(AtomicU64::new(0));
        let publisher = Publisher::start(options, &stopping, &tasks)?;
        let (receiver, link) = receive::start(
            options,
            clerk::Desk {
                handler,
                publisher: publisher.clone(),
                ignored: Arc::clone(&ignored),
                stopping: stopping.clone(),
            },
            &tasks,
        )?;
        tasks.close();
        let version = options.version_topic.clone();
        Ok(Self { publisher, receiver, version, link, ignored, stopping, tasks })
    }

    /// Publishes at QoS 1 and waits for the broker's acknowledgement, 5 s at most, reconnecting included.
    /// `expiry`: how long the broker keeps it for a device that is away.
    pub async fn publish(
        &self,
        kind: TopicKind,
        device: &DeviceId,
        payload: &[u8],
        expiry: Option<Duration>,
    ) -> Result<(), NotConnected> {
        let topic = Topic { kind, device: device.clone() }.write(&self.version);
        self.publisher.publish(&topic, Bytes::copy_from_slice(payload), expiry, false).await
    }

    /// Clears whatever a device left retained on the topics that it publishes.
    pub async fn clear_retained(&self, device: &DeviceId) -> Result<(), NotConnected> {
        for kind in TopicKind::FROM_DEVICE {
            let topic = Topic { kind, device: device.clone() }.write(&self.version);
            self.publisher.publish(&topic, Bytes::new(), None, true).await?;
        }
        Ok(())
    }

    /// How the connection is, and every change of it.
    pub fn link(&self) -> watch::Receiver<LinkState> {
        self.link.clone()
    }

    /// How many messages were ignored: not of the contract, or more at QoS 0 than could be handled.
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Disconnects, within 2 s; a batch in the handler's hands is finished first if it can be. The broker goes on
    /// keeping messages if the session is persistent.
    pub async fn stop(&self) {
        self.stopping.cancel();
        let patience = Duration::from_millis(1500);
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("the MQTT client did not end within 1.5 s");
        }
        // The loops are gone, and with them the sockets.
        let _ = self.receiver.try_disconnect_now();
    }
}
