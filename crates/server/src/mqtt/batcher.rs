//! The batcher: collects messages, has them handled, acknowledges them, and knows when everything old is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use contract::{Topic, TopicKind, VersionTopic};
use rumqttc::{AsyncClient, Publish, QoS};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::epoch::{Arrived, BATCH, Epoch};
use super::link::LinkState;
use super::marker::Marker;
use super::message::{Handler, Message, PAYLOAD_MAX_BYTES};
use super::publisher::Publisher;

/// How long a batch is collected, at most; and how long for the next message of it.
const COLLECT: Duration = Duration::from_millis(20);
const COLLECT_NEXT: Duration = Duration::from_millis(2);
/// Silence after the subscription, without the marker, that counts as caught up.
const QUIET: Duration = Duration::from_secs(5);

/// Makes batches, has them handled, acknowledges.
pub(super) struct Batcher {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) publisher: Publisher,
    pub(super) ignored: Arc<AtomicU64>,
    pub(super) stopping: CancellationToken,
    pub(super) client: AsyncClient,
    pub(super) link: watch::Sender<LinkState>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) marker: Marker,
    pub(super) version: VersionTopic,
}

impl Batcher {
    pub(super) async fn run(self, mut inbox: mpsc::Receiver<Arrived>) {
        // The connection whose marker is awaited, and until when nothing may come.
        let mut awaited: Option<(u64, Instant)> = None;
        loop {
            let first = tokio::select! {
                () = self.stopping.cancelled() => return,
                () = until(awaited) => {
                    if let Some((connection, _)) = awaited.take() {
                        tracing::warn!(
                            mqtt.topic = %self.marker.topic,
                            "our own marker did not come back from the MQTT broker; allow this user to write and read \
                             the topic. Taken as caught up, since nothing came for 5 s"
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
                    awaited = Some((arrived.connection, Instant::now() + QUIET));
                }
            }
            let back = self.take(batch).await;
            match (&mut awaited, back) {
                (Some((connection, _)), Some(back)) if *connection == back => {
                    awaited = None;
                    self.caught_up(back);
                }
                (Some((_, until)), _) => *until = Instant::now() + QUIET,
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
            let again = connection < self.epoch.again_before.load(Ordering::SeqCst);
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
        let present = self.epoch.connection.load(Ordering::SeqCst);
        for (publish, connection) in done {
            // On another connection the same packet id may be another message's.
            if connection == present && publish.qos != QoS::AtMostOnce {
                self.epoch.unsent.fetch_add(1, Ordering::SeqCst);
                self.client.ack(&publish).await.ok()?;
            }
        }
        back
    }

    /// `None` if we are to stop before the handler could.
    async fn handle(&self, messages: &[Message]) -> Option<()> {
        let mut pause = Duration::from_millis(100);
        while !messages.is_empty() {
            match self.handler.messages(messages).await {
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
                () = self.stopping.cancelled() => return None,
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
                self.ignored.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn send_marker(&self, connection: u64) {
        let publisher = self.publisher.clone();
        let (topic, payload) = (self.marker.topic.clone(), self.marker.payload(connection));
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let sent = publisher.send(&topic, Bytes::from(payload), Some(Duration::from_mins(1)), false);
            tokio::select! {
                () = stopping.cancelled() => {}
                sent = sent => if let Err(error) = sent {
                    tracing::debug!(%error, "the marker could not be sent");
                }
            }
        });
    }

    fn caught_up(&self, connection: u64) {
        self.link.send_if_modified(|state| {
            let present = self.epoch.connection.load(Ordering::SeqCst) == connection;
            let caught_up = present && *state == LinkState::CatchingUp;
            if caught_up {
                *state = LinkState::Up;
            }
            caught_up
        });
    }
}

async fn until(awaited: Option<(u64, Instant)>) {
    match awaited {
        Some((_, until)) => tokio::time::sleep_until(until).await,
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
