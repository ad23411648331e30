//! The batcher: collects messages, has them handled, acknowledges them, and knows when everything old is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::{Topic, TopicKind, VersionTopic};
use rumqttc::{AsyncClient, Publish, QoS};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::delivery::Delivery;
use super::marker::{Awaited, Back, Marker, is_a_server};
use super::message::{Handler, Message, PAYLOAD_MAX_BYTES};
use super::options::LinkState;
use super::publisher::Publisher;
use super::repeats::Repeats;
use crate::tasks::Working;

/// How long a batch is collected, at most; and how long for the next message of it.
const COLLECT: Duration = Duration::from_millis(20);
const COLLECT_NEXT: Duration = Duration::from_millis(2);

pub(super) struct Batcher {
    pub(super) shared: Arc<Shared>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) working: Working,
    pub(super) publisher: Publisher,
    pub(super) marker: Arc<Marker>,
    pub(super) version: VersionTopic,
    pub(super) repeats: Repeats,
}

impl Batcher {
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Arrived>) {
        let mut awaited: Option<Awaited> = None;
        loop {
            let first = tokio::select! {
                () = self.shared.stopping.cancelled() => return,
                () = Awaited::timeout(awaited.as_ref()) => {
                    if let Some(missing) = &mut awaited {
                        missing.give_up(&self.shared, &self.publisher);
                        self.caught_up(missing.connection);
                        awaited = awaited.filter(|missing| !missing.is_complete(&self.shared));
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
                    let connection = arrived.connection;
                    awaited = Some(Awaited::begin(&self.marker, connection, &self.shared, &self.publisher));
                }
            }
            let Some(back) = self.take(batch, awaited.as_mut()).await else { continue };
            if let Some(missing) = &awaited {
                let is_complete = missing.is_complete(&self.shared);
                if is_complete || back == Back::CaughtUp {
                    self.caught_up(missing.connection);
                }
                if is_complete {
                    missing.report(&self.shared);
                    awaited = None;
                }
            }
        }
    }

    /// Handles a batch and acknowledges it; the answer is what it brought of what was said to ourselves.
    async fn take(&mut self, batch: Vec<Arrived>, mut awaited: Option<&mut Awaited>) -> Option<Back> {
        let mut messages = Vec::with_capacity(batch.len());
        let mut done = Vec::with_capacity(batch.len());
        let mut back = Back::Waiting;
        for arrived in batch {
            let Arrived { connection, publish: Some(publish), received } = arrived else { continue };
            let again = connection < self.shared.again_before.load(Ordering::SeqCst);
            if again && publish.qos != QoS::AtMostOnce {
                continue;
            }
            if let Some(awaited) = &mut awaited {
                back = back.max(awaited.came(&publish.topic, &publish.payload));
            }
            if !self.repeats.is_repeat(&publish, self.shared.lost()) {
                messages.extend(self.read(&publish, received));
                // It is handled before anything else is looked at, or this process ends.
                if publish.qos != QoS::AtMostOnce {
                    self.repeats.note(&publish);
                }
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
        Some(back)
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

    fn read(&self, publish: &Publish, received: std::time::Instant) -> Option<Message> {
        if publish.payload.is_empty() {
            // That is how something retained is cleared, by us for one.
            return None;
        }
        let topic =
            std::str::from_utf8(&publish.topic).ok().and_then(|topic| Topic::parse(topic, &self.version));
        match topic {
            Some(Topic { device, .. }) if is_a_server(&device) => None,
            Some(Topic { kind, device }) if TopicKind::FROM_DEVICE.contains(&kind) => {
                // The rest of a longer one is not looked at: what begins well enough is read, and the others are
                // counted as unreadable where the device is shown.
                let payload = publish.payload.slice(..publish.payload.len().min(PAYLOAD_MAX_BYTES));
                Some(Message { kind, device, payload, retained: publish.retain, received })
            }
            _ => {
                let topic = std::str::from_utf8(&publish.topic).ok();
                if let Some(id) = topic.and_then(|topic| Topic::invalid_id(topic, &self.version)) {
                    self.handler.invalid_id(id);
                }
                self.shared.ignored.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
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
    pub(super) received: std::time::Instant,
}

/// What receiver, batcher and client share: which connection is the present one, and which messages will come again by
/// themselves.
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
    pub(super) lost_at: Mutex<Option<std::time::Instant>>,
}

impl Shared {
    pub(super) fn lost(&self) -> Option<std::time::Instant> {
        *self.lost_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn acknowledged(&self) {
        // Those of an earlier connection are not counted any more.
        let _ = self.unsent.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |unsent| unsent.checked_sub(1));
    }
}
