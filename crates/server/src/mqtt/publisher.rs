//! The publishing connection: nothing it was given outlives it.

use std::time::Duration;

use bytes::Bytes;
use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, NoticeFailureReason, PubAckReason, PublishNoticeError,
    PublishOptions, PublishProperties,
};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::options::{MqttOptions, connection};
use crate::tasks::Tasks;

/// From the call to the broker's acknowledgement.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to connect.
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(15);
pub(super) const MIN_BACK_OFF: Duration = Duration::from_millis(200);

/// The broker did not take the message, or did not say so. But for a refusal it may have arrived all the same.
#[derive(Debug, thiserror::Error)]
pub enum NotPublished {
    /// Not acknowledged within 5 s.
    #[error("the MQTT broker did not take the message: {0}")]
    Unanswered(String),
    /// The connection was lost before the broker answered.
    #[error("the MQTT broker did not take the message: the connection was lost")]
    Lost,
    /// The broker said no, in these words.
    #[error("the MQTT broker refuses the message: {0}")]
    Refused(&'static str),
}

impl From<PublishNoticeError> for NotPublished {
    fn from(error: PublishNoticeError) -> Self {
        match error {
            PublishNoticeError::Recv | PublishNoticeError::SessionReset => Self::Lost,
            PublishNoticeError::V5PubAck(reason) => Self::Refused(match reason {
                PubAckReason::NotAuthorized => NOT_AUTHORIZED,
                PubAckReason::TopicNameInvalid => "topic name invalid",
                PubAckReason::QuotaExceeded => "quota exceeded",
                PubAckReason::PayloadFormatInvalid => "payload format invalid",
                PubAckReason::PacketIdentifierInUse => "packet identifier in use",
                PubAckReason::ImplementationSpecificError => "implementation specific error",
                _ => "unspecified error",
            }),
            other => Self::Unanswered(other.to_string()),
        }
    }
}

/// How a refusal for want of a right reads, as the standard calls it.
pub(crate) const NOT_AUTHORIZED: &str = "not authorized";

/// Publishes for the server. Clones share the connection.
#[derive(Clone)]
pub struct Publisher {
    client: AsyncClient,
    connected: watch::Receiver<bool>,
    version: VersionTopic,
}

impl Publisher {
    pub(super) fn start(options: &MqttOptions, tasks: &Tasks) -> anyhow::Result<Self> {
        let mut connection = connection(&options.broker, &format!("{}-publish", options.client_id))?;
        connection.set_clean_start(true);
        let (client, events) = AsyncClient::builder(connection).capacity(1024).try_build()?;
        let (tell, connected) = watch::channel(false);
        let running = run(events, client.clone(), tell, tasks.stopping().clone());
        tasks.spawn("what publishes to the MQTT broker", Box::pin(running));
        Ok(Self { client, connected, version: options.version_topic.clone() })
    }

    /// Publishes at QoS 1 and waits for the broker's acknowledgement, 5 s at most, reconnecting included.
    /// `expiry`: how long the broker keeps it for a device that is away.
    #[crate::boxed]
    pub async fn publish(
        &self,
        kind: TopicKind,
        device: &DeviceId,
        payload: &[u8],
        expiry: Option<Duration>,
    ) -> Result<(), NotPublished> {
        let topic = Topic { kind, device: device.clone() }.write(&self.version);
        self.send(&topic, Bytes::copy_from_slice(payload), expiry, false).await
    }

    /// A device's topic.
    pub(crate) fn topic(&self, kind: TopicKind, device: &DeviceId) -> String {
        Topic { kind, device: device.clone() }.write(&self.version).as_str().to_owned()
    }

    /// Clears whatever a device left retained on the topics that it publishes.
    #[crate::boxed]
    pub async fn clear_retained(&self, device: &DeviceId) -> Result<(), NotPublished> {
        for kind in TopicKind::FROM_DEVICE {
            let topic = Topic { kind, device: device.clone() }.write(&self.version);
            self.send(&topic, Bytes::new(), None, true).await?;
        }
        Ok(())
    }

    /// Waits for a connection if there is none, then for the acknowledgement.
    pub(super) async fn send(
        &self,
        topic: &str,
        payload: Bytes,
        expiry: Option<Duration>,
        retain: bool,
    ) -> Result<(), NotPublished> {
        let mut options = PublishOptions::at_least_once().retain(retain);
        if let Some(expiry) = expiry {
            let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX).max(1);
            options = options.properties(PublishProperties {
                message_expiry_interval: Some(seconds),
                ..PublishProperties::default()
            });
        }
        let mut connected = self.connected.clone();
        let acknowledged = async {
            let there = connected.wait_for(|connected| *connected).await;
            there.map_err(|_| NotPublished::Unanswered("the client was stopped".to_owned()))?;
            let notice = self.client.publish_tracked(topic, payload, options).await;
            let notice = notice.map_err(|error| NotPublished::Unanswered(error.to_string()))?;
            notice.wait_completion_async().await.map_err(NotPublished::from)
        };
        timeout(TIMEOUT, acknowledged).await.unwrap_or_else(|_| {
            let why =
                if *self.connected.borrow() { "no acknowledgement within 5 s" } else { "not connected" };
            Err(NotPublished::Unanswered(why.to_owned()))
        })
    }
}

async fn run(
    mut events: EventLoop,
    client: AsyncClient,
    connected: watch::Sender<bool>,
    stopping: CancellationToken,
) {
    let mut pause = MIN_BACK_OFF;
    let mut asked_to_stop = false;
    loop {
        let event = tokio::select! {
            () = stopping.cancelled(), if !asked_to_stop => {
                asked_to_stop = true;
                if client.try_disconnect_with_timeout(Duration::from_millis(500)).is_err() || !*connected.borrow() {
                    return;
                }
                continue;
            }
            event = events.poll() => event,
        };
        match event {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                pause = MIN_BACK_OFF;
                connected.send_replace(true);
            }
            Ok(_) => {}
            Err(_) if asked_to_stop => return,
            Err(error) => {
                if connected.send_replace(false) {
                    tracing::warn!(%error, "the MQTT connection for publishing was lost");
                }
                forget(&mut events);
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_BACK_OFF),
                }
                // Also what was asked for just before the loss was known.
                forget(&mut events);
            }
        }
    }
}

/// Tells whoever waits that it failed. Sent after the next connect, a trigger would come as a surprise.
fn forget(events: &mut EventLoop) {
    events.clean();
    events.drain_pending_as_failed(NoticeFailureReason::SessionReset);
}
