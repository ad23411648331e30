//! The batcher: collects messages, has them handled, acknowledges them, and knows when everything old is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use rumqttc::{AsyncClient, Publish, QoS};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::message::{Handler, Message, PAYLOAD_MAX_BYTES};
use super::options::LinkState;
use super::publisher::Publisher;
use crate::tasks::Working;

/// How long a batch is collected, at most; and how long for the next message of it.
const COLLECT: Duration = Duration::from_millis(20);
const COLLECT_NEXT: Duration = Duration::from_millis(2);
/// Silence after the subscription, without the marker, that counts as caught up; and the time that does, however much comes.
const QUIET: Duration = Duration::from_secs(5);
const CAUGHT_UP_AFTER: Duration = Duration::from_mins(1);
/// The pause before a marker that could not be sent is sent again.
const MARKER_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Batcher {
    pub(super) shared: Arc<Shared>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) working: Working,
    pub(super) publisher: Publisher,
    pub(super) marker: Marker,
    pub(super) version: VersionTopic,
}

impl Batcher {
    pub(super) async fn run(self, mut inbox: mpsc::Receiver<Arrived>) {
        let mut awaited: Option<Awaited> = None;
        loop {
            let first = tokio::select! {
                () = self.shared.stopping.cancelled() => return,
                () = until(awaited) => {
                    if let Some(Awaited { connection, .. }) = awaited.take() {
                        tracing::warn!(
                            mqtt.topic = %self.marker.topic,
                            "our own marker did not come back from the MQTT broker; allow this user to write and read \
                             the topic. Taken as caught up, since nothing came for 5 s, or 60 s are over"
                        );
                        self.caught_up(connection);
                    }
                    continue;
                }
                arrived = inbox.recv() => match arrived {
                    Some(arrived) => arrived,
                    None => return,
                },
            };
            let batch = collect(first, &mut inbox).await;
            for arrived in &batch {
                if arrived.publish.is_none() {
                    self.send_marker(arrived.connection);
                    let now = Instant::now();
                    awaited = Some(Awaited {
                        connection: arrived.connection,
                        until: now + QUIET,
                        at_most: now + CAUGHT_UP_AFTER,
                    });
                }
            }
            let back = self.take(batch).await;
            match (&mut awaited, back) {
                (Some(Awaited { connection, .. }), Some(back)) if *connection == back => {
                    awaited = None;
                    self.caught_up(back);
                }
                (Some(awaited), _) => awaited.until = (Instant::now() + QUIET).min(awaited.at_most),
                (None, _) => {}
            }
        }
    }

    /// Handles a batch and acknowledges it; the answer is the connection whose marker was in it.
    async fn take(&self, batch: Vec<Arrived>) -> Option<u64> {
        let mut messages = Vec::with_capacity(batch.len());
        let mut done = Vec::with_capacity(batch.len());
        let mut back = None;
        for arrived in batch {
            let Arrived { connection, publish: Some(publish) } = arrived else { continue };
            let again = connection < self.shared.again_before.load(Ordering::SeqCst);
            if again && publish.qos != QoS::AtMostOnce {
                continue;
            }
            if publish.topic == self.marker.topic.as_bytes() {
                if publish.payload == self.marker.payload(connection).as_bytes() {
                    back = Some(connection);
                }
            } else {
                messages.extend(self.read(&publish));
            }
            done.push((publish, connection));
        }
        self.handle(&messages).await?;
        let present = self.shared.connection.load(Ordering::SeqCst);
        for (publish, connection) in done {
            // On another connection the same packet id may be another message's.
            if connection == present && publish.qos != QoS::AtMostOnce {
                self.shared.unsent.fetch_add(1, Ordering::SeqCst);
                self.shared.client.ack(&publish).await.ok()?;
            }
        }
        back
    }

    /// `None` if we are to stop before the handler could.
    async fn handle(&self, messages: &[Message]) -> Option<()> {
        let mut pause = Duration::from_millis(100);
        while !messages.is_empty() {
            match self.working.on(self.handler.messages(messages)).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        messages = messages.len(),
                        "messages could not be handled; they are not acknowledged, and tried again"
                    );
                }
            }
            tokio::select! {
                () = self.shared.stopping.cancelled() => return None,
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        }
        Some(())
    }

    fn read(&self, publish: &Publish) -> Option<Message> {
        if publish.payload.is_empty() {
            // That is how something retained is cleared, by us for one.
            return None;
        }
        let topic =
            std::str::from_utf8(&publish.topic).ok().and_then(|topic| Topic::parse(topic, &self.version));
        match topic {
            Some(Topic { kind, device }) if TopicKind::FROM_DEVICE.contains(&kind) => {
                // The rest of a longer one is not looked at: what begins well enough is read, and the others are
                // counted as unreadable where the device is shown.
                let payload = publish.payload.slice(..publish.payload.len().min(PAYLOAD_MAX_BYTES));
                Some(Message { kind, device, payload, retained: publish.retain })
            }
            _ => {
                self.shared.ignored.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn send_marker(&self, connection: u64) {
        let (publisher, shared) = (self.publisher.clone(), Arc::clone(&self.shared));
        let (topic, payload) = (self.marker.topic.clone(), Bytes::from(self.marker.payload(connection)));
        tokio::spawn(async move {
            let sent = async {
                // The publishing connection may come back later than the receiving one.
                while shared.connection.load(Ordering::SeqCst) == connection {
                    let sent = publisher.send(&topic, payload.clone(), Some(CAUGHT_UP_AFTER), false).await;
                    let Err(error) = sent else { break };
                    tracing::debug!(%error, "the marker could not be sent");
                    sleep(MARKER_AGAIN).await;
                }
            };
            tokio::select! {
                () = shared.stopping.cancelled() => {}
                () = sent => {}
            }
        });
    }

    fn caught_up(&self, connection: u64) {
        self.shared.link.send_if_modified(|state| {
            let present = self.shared.connection.load(Ordering::SeqCst) == connection;
            let caught_up = present && *state == LinkState::CatchingUp;
            if caught_up {
                *state = LinkState::Up;
            }
            caught_up
        });
    }
}

/// The marker of a connection that is not back yet.
#[derive(Clone, Copy)]
struct Awaited {
    connection: u64,
    /// If nothing comes until then, it is not waited for any more.
    until: Instant,
    at_most: Instant,
}

async fn until(awaited: Option<Awaited>) {
    match awaited {
        Some(Awaited { until, .. }) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn collect(first: Arrived, inbox: &mut mpsc::Receiver<Arrived>) -> Vec<Arrived> {
    let end = Instant::now() + COLLECT;
    let mut batch = vec![first];
    while batch.len() < BATCH {
        let next = (Instant::now() + COLLECT_NEXT).min(end);
        match timeout_at(next, inbox.recv()).await {
            Ok(Some(arrived)) => batch.push(arrived),
            Ok(None) | Err(_) => break,
        }
    }
    batch
}

/// Messages in one batch, at most.
pub(super) const BATCH: usize = 1000;

pub(super) struct Arrived {
    /// On which connection, counted from 1.
    pub(super) connection: u64,
    /// A message; none means that the broker has taken our subscriptions on this connection.
    pub(super) publish: Option<Publish>,
}

/// What receiver, batcher and client share: which connection is the present one, and which messages will come again by
/// themselves.
pub(super) struct Shared {
    pub(super) client: AsyncClient,
    pub(super) link: watch::Sender<LinkState>,
    pub(super) stopping: CancellationToken,
    pub(super) ignored: AtomicU64,
    pub(super) connection: AtomicU64,
    /// Messages of connections before this one are sent again by the broker, which resumed the session.
    pub(super) again_before: AtomicU64,
    /// Acknowledgements given to the client and not yet sent.
    pub(super) unsent: AtomicU64,
}

impl Shared {
    pub(super) fn acknowledged(&self) {
        // Those of an earlier connection are not counted any more.
        let _ = self.unsent.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |unsent| unsent.checked_sub(1));
    }
}

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
