//! The publishing connection: nothing it was given outlives it.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, NoticeFailureReason, PublishNoticeError, PublishOptions,
    PublishProperties,
};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{MqttOptions, NotConnected, address};

/// From the call to the broker's acknowledgement.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to connect.
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(15);
/// Shortest one.
pub(super) const MIN_BACK_OFF: Duration = Duration::from_millis(200);

#[derive(Clone)]
pub(super) struct Publisher {
    client: AsyncClient,
    connected: watch::Receiver<bool>,
}

impl Publisher {
    pub(super) fn start(
        options: &MqttOptions,
        stopping: &CancellationToken,
        tasks: &TaskTracker,
    ) -> anyhow::Result<Self> {
        let mut connection = address::connection(&options.broker, &format!("{}-publish", options.client_id))?;
        connection.set_clean_start(true);
        let (client, events) = AsyncClient::builder(connection).capacity(1024).try_build()?;
        let (tell, connected) = watch::channel(false);
        tasks.spawn(run(events, client.clone(), tell, stopping.clone()));
        Ok(Self { client, connected })
    }

    /// Waits for a connection if there is none, then for the acknowledgement.
    pub(super) async fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        expiry: Option<Duration>,
        retain: bool,
    ) -> Result<(), NotConnected> {
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
            there.map_err(|_| NotConnected("the client was stopped".to_owned()))?;
            let notice = self.client.publish_tracked(topic, payload, options).await;
            let notice = notice.map_err(|error| NotConnected(error.to_string()))?;
            notice.wait_completion_async().await.map_err(|error| {
                NotConnected(match error {
                    PublishNoticeError::Recv | PublishNoticeError::SessionReset => {
                        "the connection was lost".to_owned()
                    }
                    PublishNoticeError::V5PubAck(reason) => format!("it answers {reason:?}"),
                    other => other.to_string(),
                })
            })
        };
        timeout(PATIENCE, acknowledged).await.unwrap_or_else(|_| {
            let why =
                if *self.connected.borrow() { "no acknowledgement within 5 s" } else { "not connected" };
            Err(NotConnected(why.to_owned()))
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
