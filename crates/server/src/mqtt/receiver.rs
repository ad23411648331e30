//! The receiving connection: the loop that keeps it up, listens, and ends it in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use contract::{TopicKind, VersionTopic};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, Incoming, Outgoing, QoS, SubscribeFilterInput,
    SubscribeReasonCode,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::batcher::{Arrived, BATCH, Batcher, Shared};
use super::delivery::Delivery;
use super::marker::Marker;
use super::message::Handler;
use super::options::{BrokerAddress, LinkState, MqttOptions, NothingInFlight, RECEIVE_MAXIMUM, connection};
use super::publisher::{MAX_BACK_OFF, MIN_BACK_OFF, Publisher};
use super::repeats::Repeats;
use crate::tasks::Tasks;

/// How long the broker keeps messages for us.
const SESSION_EXPIRY_S: u32 = 30 * 24 * 3600;
/// Messages read and not yet in a batch. More than may be unacknowledged, so that only QoS 0 can fill it.
const INBOX: usize = 4 * RECEIVE_MAXIMUM as usize;
/// How long a full inbox delays the connection before a message at QoS 0 is dropped.
const HOLD_UP: Duration = Duration::from_secs(10);
/// rumqttc's request channel: acknowledgements of everything unacknowledged must fit, or both ends wait for ever.
const REQUESTS: usize = 2 * RECEIVE_MAXIMUM as usize;
/// How long the last acknowledgements may take when we are to stop.
const LAST_ACKS: Duration = Duration::from_secs(1);

const BATCHER: &str = "what handles messages of devices";

pub(super) fn start(
    options: &MqttOptions,
    handler: Arc<dyn Handler>,
    publisher: Publisher,
    link: watch::Sender<LinkState>,
    delivery: Delivery,
    tasks: &Tasks,
) -> anyhow::Result<Arc<Shared>> {
    let mut connection = connection(&options.broker, &options.client_id)?;
    connection.set_ack_mode(AckMode::Manual);
    // A whole batch of acknowledgements in one write.
    connection.set_max_request_batch(BATCH);
    connection.set_clean_start(false);
    connection.set_session_expiry_interval(Some(SESSION_EXPIRY_S));
    connection.set_session_store(NothingInFlight { expiry_s: SESSION_EXPIRY_S });
    let built = AsyncClient::builder(connection).capacity(REQUESTS).try_build();
    let (client, events) = built.context("the MQTT client's options are unusable")?;
    let (inbox, messages) = mpsc::channel(INBOX);
    let (connection, again_before, unsent) = Default::default();
    let ignored = AtomicU64::default();
    let stopping = tasks.stopping().clone();
    let shared = Arc::new(Shared {
        client,
        link,
        delivery,
        stopping,
        ignored,
        connection,
        again_before,
        unsent,
        lost_at: Mutex::default(),
    });
    // The embedded broker delivers.
    let probes = matches!(options.broker, BrokerAddress::External(_));
    let marker = Marker::new(&options.client_id, &options.version_topic, probes)?;
    let batcher_gone = CancellationToken::new();
    let receiver = Receiver {
        shared: Arc::clone(&shared),
        inbox,
        filters: filters(&options.version_topic, &marker),
        batcher_gone: batcher_gone.clone(),
    };
    tasks.spawn("what receives from the MQTT broker", Box::pin(receiver.run(events)));
    let version = options.version_topic.clone();
    let working = tasks.working(BATCHER);
    let batcher = Batcher {
        shared: Arc::clone(&shared),
        handler,
        working,
        publisher,
        marker,
        version,
        repeats: Repeats::default(),
    };
    let batching = async move {
        let _gone = batcher_gone.drop_guard();
        batcher.run(messages).await;
    };
    tasks.spawn(BATCHER, Box::pin(batching));
    Ok(shared)
}

fn filters(version: &VersionTopic, marker: &Marker) -> Vec<String> {
    let of_devices =
        TopicKind::FROM_DEVICE.into_iter().map(|kind| contract::filter(kind, version).to_string());
    of_devices.chain([marker.topic().to_owned()]).collect()
}

/// Polls rumqttc's event loop; never waits for the handler, or pings would stop.
struct Receiver {
    shared: Arc<Shared>,
    inbox: mpsc::Sender<Arrived>,
    filters: Vec<String>,
    /// The batcher has ended: nothing more will be acknowledged.
    batcher_gone: CancellationToken,
}

impl Receiver {
    async fn run(self, mut events: EventLoop) {
        let mut pause = MIN_BACK_OFF;
        let mut offline = Offline::NotYet;
        loop {
            offline = self.go_offline(offline);
            if matches!(offline, Offline::Gone) {
                return;
            }
            let event = tokio::select! {
                () = self.shared.stopping.cancelled(), if matches!(offline, Offline::NotYet) => {
                    offline = Offline::Waiting(Instant::now() + LAST_ACKS);
                    continue;
                }
                () = self.batcher_gone.cancelled(), if matches!(offline, Offline::Waiting(_)) && !self.batcher_gone.is_cancelled() => continue,
                () = offline.deadline() => continue,
                event = events.poll() => event,
            };
            match event {
                Ok(Event::Incoming(Incoming::UnsubAck(_))) => offline = self.disconnect(),
                Ok(Event::Incoming(packet)) => {
                    if let Incoming::ConnAck(_) = packet {
                        pause = MIN_BACK_OFF;
                        // From here on the loop remembers by itself, and need not save with every packet.
                        events.options.clear_session_store();
                    }
                    if self.take(packet).await.is_none() && matches!(offline, Offline::NotYet) {
                        return;
                    }
                }
                Ok(Event::Outgoing(Outgoing::PubAck(_))) => self.shared.acknowledged(),
                Ok(_) => {}
                Err(_) if !matches!(offline, Offline::NotYet) => return,
                Err(error) => {
                    self.down(&error);
                    tokio::select! {
                        () = self.shared.stopping.cancelled() => return,
                        () = sleep(pause) => pause = (pause * 2).min(MAX_BACK_OFF),
                    }
                }
            }
        }
    }

    /// Disconnects once the batcher has ended and the broker has read its last acknowledgements, or their time
    /// is up. That the broker has read them is known from its answer to something sent behind them; without it a
    /// successor that connects at once would have the unread ones thrown away with this connection.
    fn go_offline(&self, offline: Offline) -> Offline {
        let (Offline::Waiting(until) | Offline::Asked(until)) = offline else { return offline };
        if matches!(*self.shared.link.borrow(), LinkState::Down { .. }) {
            return Offline::Gone;
        }
        let all_sent = self.batcher_gone.is_cancelled() && self.shared.unsent.load(Ordering::SeqCst) == 0;
        if Instant::now() >= until {
            return self.disconnect();
        }
        if all_sent && matches!(offline, Offline::Waiting(_)) {
            // The next start subscribes to the marker again.
            let asked = self.filters.last().map(|marker| self.shared.client.try_unsubscribe(marker));
            return if matches!(asked, Some(Ok(()))) { Offline::Asked(until) } else { self.disconnect() };
        }
        offline
    }

    fn disconnect(&self) -> Offline {
        match self.shared.client.try_disconnect_with_timeout(Duration::from_millis(300)) {
            Ok(()) => Offline::Requested,
            Err(_) => Offline::Gone,
        }
    }

    /// `None` once the batcher has ended.
    async fn take(&self, packet: Incoming) -> Option<()> {
        match packet {
            Incoming::ConnAck(answer) => {
                let number = self.shared.connection.fetch_add(1, Ordering::SeqCst) + 1;
                self.shared.unsent.store(0, Ordering::SeqCst);
                self.shared.delivery.forget();
                if answer.session_present {
                    self.shared.again_before.store(number, Ordering::SeqCst);
                }
                self.shared.link.send_replace(LinkState::CatchingUp);
                tracing::info!(mqtt.session_present = answer.session_present, "connected to the MQTT broker");
                let filters =
                    self.filters.iter().map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce));
                // Each time: a broker may remember the session and forget subscriptions in it.
                if let Err(error) = self.shared.client.try_subscribe_many(filters) {
                    tracing::error!(%error, "the MQTT subscriptions could not be sent");
                }
            }
            Incoming::SubAck(answer) => {
                for (filter, code) in self.filters.iter().zip(&answer.return_codes) {
                    if !matches!(code, SubscribeReasonCode::Success(_)) {
                        self.shared.delivery.refuse(filter);
                        tracing::error!(
                            mqtt.filter = %filter, ?code,
                            "the MQTT broker refuses a subscription; allow this user to read the topic, or nothing is \
                             heard from devices"
                        );
                    }
                }
                let connection = self.shared.connection.load(Ordering::SeqCst);
                self.inbox
                    .send(Arrived { connection, publish: None, received: std::time::Instant::now() })
                    .await
                    .ok()?;
            }
            Incoming::Publish(publish) => {
                let connection = self.shared.connection.load(Ordering::SeqCst);
                let may_drop = publish.qos == QoS::AtMostOnce;
                match self.inbox.try_send(Arrived {
                    connection,
                    publish: Some(publish),
                    received: std::time::Instant::now(),
                }) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return None,
                    Err(mpsc::error::TrySendError::Full(message)) if may_drop => {
                        if timeout(HOLD_UP, self.inbox.send(message)).await.is_err() {
                            self.shared.ignored.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Err(mpsc::error::TrySendError::Full(message)) => self.inbox.send(message).await.ok()?,
                }
            }
            _ => {}
        }
        Some(())
    }

    fn down(&self, error: &ConnectionError) {
        self.shared.delivery.forget();
        let reason = match error {
            ConnectionError::ConnectionRefused(code) => format!("the broker refuses us: {code:?}"),
            other => other.to_string(),
        };
        self.shared.link.send_modify(|state| {
            if let LinkState::Down { reason: before, .. } = state {
                if *before != reason {
                    tracing::warn!(%reason, "still not connected to the MQTT broker");
                }
                *before = reason;
            } else {
                let lost = Some(std::time::Instant::now());
                *self.shared.lost_at.lock().unwrap_or_else(PoisonError::into_inner) = lost;
                tracing::warn!(%reason, "the connection to the MQTT broker was lost");
                *state = LinkState::Down { since: Utc::now(), reason };
            }
        });
    }
}

pub(super) enum Offline {
    NotYet,
    /// For the last acknowledgements, until then at most.
    Waiting(Instant),
    /// The broker was asked for an answer behind them.
    Asked(Instant),
    /// DISCONNECT was asked for; the loop ends by itself.
    Requested,
    Gone,
}

impl Offline {
    pub(super) async fn deadline(&self) {
        match self {
            Self::Waiting(until) | Self::Asked(until) => tokio::time::sleep_until(*until).await,
            _ => std::future::pending().await,
        }
    }
}
