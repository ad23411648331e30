//! What this server says to itself: a marker, behind everything that the broker kept for us, and before it, on an external broker, a
//! probe on each kind of topic that devices write, since a broker may take a subscription and deliver nothing of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::publisher::{NotPublished, Publisher};
use super::shared::Shared;

/// The pause before a marker that could not be sent is sent again.
const MARKER_AGAIN: Duration = Duration::from_secs(1);
/// How long the broker may keep one.
const EXPIRY: Duration = Duration::from_mins(1);
/// Nothing came for so long: nothing more is to come.
const QUIET: Duration = Duration::from_secs(5);
/// However much comes, it counts as everything.
const CAUGHT_UP_AFTER: Duration = Duration::from_mins(1);
/// Once something that was said to ourselves is back, the rest is, too.
const TOGETHER: Duration = Duration::from_secs(2);
/// The pause before what did not come back is said again: rights may have been granted meanwhile.
const AGAIN: Duration = Duration::from_secs(15);

/// The id of a device that does not exist: `server-` and 16 hexadecimal digits.
const ID: &str = "server-";

/// A topic that this server writes and reads itself, and the filter by which it is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    topic: String,
    filter: String,
}

pub(super) struct Marker {
    /// The last is the marker's own.
    own: Vec<Own>,
    /// Tells it from a marker of an earlier process, which may be among what was kept.
    process: String,
}

impl Marker {
    /// The marker's topic is the control topic of a device that does not exist: a topic of the contract, so that a broker
    /// with an access list needs no rule of its own for it.
    pub(super) fn new(client_id: &str, version: &VersionTopic, probes: bool) -> anyhow::Result<Arc<Self>> {
        let id = format!("{ID}{}", hex::encode(&Sha256::digest(client_id.as_bytes())[..8]));
        let device: DeviceId = id.parse().context("a marker's name is a device id")?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).context("no random numbers for the marker")?;
        let topic = |kind| Topic { kind, device: device.clone() }.write(version).to_string();
        let probe = |kind| Own { topic: topic(kind), filter: contract::filter(kind, version).to_string() };
        let probes = TopicKind::FROM_DEVICE.into_iter().filter(|_| probes).map(probe);
        let marker = topic(TopicKind::Control);
        let own = probes.chain([Own { topic: marker.clone(), filter: marker }]).collect();
        Ok(Arc::new(Self { own, process: hex::encode(random) }))
    }

    /// What has to be subscribed to beside the topics of devices.
    pub(super) fn topic(&self) -> &str {
        self.own.last().map_or("", |own| &own.topic)
    }

    /// No program that reads devices' topics reads this as anything.
    fn payload(&self, connection: u64) -> String {
        format!("[{} {connection}]", self.process)
    }

    /// Which of ours a message is, sent on this connection.
    fn own(&self, topic: &[u8], payload: &[u8], connection: u64) -> Option<&Own> {
        let is_present = payload == self.payload(connection).as_bytes();
        self.own.iter().find(|own| is_present && own.topic.as_bytes() == topic)
    }
}

/// Whether it is what a server says to itself, this one or another one on the same broker.
pub(super) fn is_a_server(device: &DeviceId) -> bool {
    let digits = device.as_str().strip_prefix(ID);
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// What was said to ourselves on a connection and is not back yet.
pub(super) struct Awaited {
    marker: Arc<Marker>,
    pub(super) connection: u64,
    missing: Vec<Own>,
    /// If nothing comes until then, it is not waited for any more.
    until: Instant,
    at_most: Instant,
}

/// How it is with what was said to ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Back {
    /// Nothing has changed.
    Waiting,
    /// Everything that the broker kept for us has come.
    CaughtUp,
}

impl Awaited {
    /// Says all of it.
    pub(super) fn begin(
        marker: &Arc<Marker>,
        connection: u64,
        shared: &Arc<Shared>,
        publisher: &Publisher,
    ) -> Self {
        let now = Instant::now();
        let (until, at_most) = (now + QUIET, now + CAUGHT_UP_AFTER);
        let awaited =
            Self { marker: Arc::clone(marker), connection, missing: marker.own.clone(), until, at_most };
        awaited.say(shared, publisher);
        awaited
    }

    pub(super) async fn timeout(awaited: Option<&Self>) {
        match awaited {
            Some(awaited) => tokio::time::sleep_until(awaited.until).await,
            None => std::future::pending().await,
        }
    }

    /// A message came, on this connection; ours or another one.
    pub(super) fn came(&mut self, topic: &[u8], payload: &[u8]) -> Back {
        let now = Instant::now();
        let Some(own) = self.marker.own(topic, payload, self.connection) else {
            self.until = self.until.max(now + QUIET).min(self.at_most);
            return Back::Waiting;
        };
        self.missing.retain(|missing| missing != own);
        self.at_most = self.at_most.min(now + TOGETHER);
        self.until = self.at_most;
        if own.topic == self.marker.topic() { Back::CaughtUp } else { Back::Waiting }
    }

    /// Whether all is back that could be said.
    pub(super) fn is_complete(&self, shared: &Shared) -> bool {
        self.missing.iter().all(|own| !shared.delivery.can_write(&own.topic))
    }

    /// The time is over: tells what is missing, and says it again.
    pub(super) fn give_up(&mut self, shared: &Arc<Shared>, publisher: &Publisher) {
        self.missing.retain(|own| shared.delivery.can_write(&own.topic));
        self.report(shared);
        self.until = Instant::now() + AGAIN;
        self.at_most = self.until;
        self.say(shared, publisher);
    }

    /// Tells what is missing.
    pub(super) fn report(&self, shared: &Shared) {
        let missing = self.missing.iter().filter(|own| shared.delivery.can_write(&own.topic));
        shared.delivery.note_missing(missing.map(|own| own.filter.clone()).collect());
    }

    fn say(&self, shared: &Arc<Shared>, publisher: &Publisher) {
        let (shared, publisher, connection) = (Arc::clone(shared), publisher.clone(), self.connection);
        let payload = Bytes::from(self.marker.payload(connection));
        let (missing, marker) = (self.missing.clone(), self.marker.topic().to_owned());
        tokio::spawn(async move {
            let is_present = || shared.connection.load(Ordering::SeqCst) == connection;
            let said = async {
                let mut is_closed = false;
                for Own { topic, .. } in &missing {
                    let is_probe = *topic != marker;
                    // The publishing connection may come back later than the receiving one.
                    while is_present() && !(is_probe && is_closed) {
                        match publisher.send(topic, payload.clone(), Some(EXPIRY), false).await {
                            Ok(()) => break,
                            Err(NotPublished::Refused(why)) => {
                                tracing::info!(%topic, "the MQTT broker does not let us write here ({why})");
                                shared.delivery.cannot_write(topic);
                                break;
                            }
                            // Some brokers close the connection where others say no: one attempt is enough.
                            Err(NotPublished::Lost) if is_probe => is_closed = true,
                            Err(error) => {
                                tracing::debug!(%error, "the marker could not be sent");
                                sleep(MARKER_AGAIN).await;
                            }
                        }
                    }
                    if is_probe && is_closed {
                        shared.delivery.cannot_write(topic);
                    }
                }
            };
            tokio::select! {
                () = shared.stopping.cancelled() => {}
                () = said => {}
            }
        });
    }
}
