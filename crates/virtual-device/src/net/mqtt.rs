//! The connection to the broker, in a task of its own.
//!
//! Each boot starts a clean session, since a device has no memory of an old one; while it runs, the session outlives
//! lost connections, so a trigger sent meanwhile still comes.

use std::time::Duration;

use agent::MessageId;
use anyhow::Context;
use contract::{Presence, Topic, TopicKind, VersionTopic};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, LastWill, MqttOptions,
    NetworkOptions, PublishOptions, QoS, Transport,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::options::Options;

const KEEP_ALIVE_S: u16 = 30;
const SESSION_EXPIRY_S: u32 = 300;
const QUEUE: usize = 64;
const INFLIGHT: u16 = 32;
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
const OFFLINE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum BrokerEvent {
    Connected,
    /// Bad credentials.
    Refused(String),
    Lost(String),
    Message(TopicKind, Vec<u8>),
    Acknowledged(MessageId),
}

pub(crate) struct Link {
    client: AsyncClient,
    events: mpsc::Receiver<BrokerEvent>,
    sender: mpsc::Sender<BrokerEvent>,
    topics: Topics,
    pub(crate) address: String,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Topics {
    device: contract::DeviceId,
    version: VersionTopic,
}

impl Topics {
    fn of(&self, kind: TopicKind) -> String {
        Topic { kind, device: self.device.clone() }.write(&self.version).as_str().to_owned()
    }
}

/// Host and port, without what a URL may hold beside them.
pub(crate) fn address(broker: &Url) -> String {
    let default = if broker.scheme() == "mqtts" { 8883 } else { 1883 };
    format!("{}:{}", broker.host_str().unwrap_or_default(), broker.port().unwrap_or(default))
}

impl Link {
    pub(crate) fn connect(options: &Options, broker: &Url) -> anyhow::Result<Self> {
        let topics = Topics { device: options.id.clone(), version: options.version_topic.clone() };
        let host = broker.host_str().context("the broker's URL has no host")?;
        let (transport, port) = match broker.scheme() {
            "mqtt" => (Transport::tcp(), 1883),
            "mqtts" => (Transport::tls_with_default_config(), 8883),
            other => anyhow::bail!("a broker's URL begins with mqtt:// or mqtts://, not {other}://"),
        };
        let mut mqtt = MqttOptions::new(
            options.id.as_str(),
            (host.trim_matches(['[', ']']), broker.port().unwrap_or(port)),
        );
        mqtt.set_transport(transport);
        // The client allocates room for as many: without a limit, megabytes for each device.
        mqtt.set_outgoing_inflight_upper_limit(INFLIGHT);
        mqtt.set_keep_alive(KEEP_ALIVE_S);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        mqtt.set_network_options(network);
        mqtt.set_clean_start(true);
        mqtt.set_session_expiry_interval(Some(SESSION_EXPIRY_S));
        if let Some(password) = &options.password {
            mqtt.set_credentials(options.id.as_str(), password.clone());
        } else {
            mqtt.set_username(options.id.as_str());
        }
        let offline = Presence::Offline.as_str();
        let will = topics.of(TopicKind::Presence);
        mqtt.set_last_will(LastWill::new(will, offline, QoS::AtLeastOnce, true, None));
        let (client, eventloop) =
            AsyncClient::builder(mqtt).capacity(QUEUE).try_build().context("the connection to the broker")?;
        let (sender, events) = mpsc::channel(QUEUE);
        let task = tokio::spawn(carry(eventloop, client.clone(), topics.clone(), sender.clone()));
        let address = address(broker);
        Ok(Self { client, events, sender, topics, address, _task: AbortOnDropHandle::new(task) })
    }

    /// The next event; never, without a link.
    pub(crate) async fn next(link: &mut Option<Self>) -> BrokerEvent {
        match link {
            // The link holds a sender itself, so the channel never closes.
            Some(link) => link.events.recv().await.unwrap_or(BrokerEvent::Lost(String::new())),
            None => std::future::pending().await,
        }
    }

    /// Publishes with QoS 1; presence and version are retained. What does not fit the queue is dropped: outcomes are
    /// repeated at the next connect.
    pub(crate) fn publish(&self, kind: TopicKind, payload: Vec<u8>, id: Option<MessageId>) {
        let retained = matches!(kind, TopicKind::Presence | TopicKind::Version);
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retained);
        let Ok(notice) = self.client.try_publish_tracked(self.topics.of(kind), payload, options) else {
            return;
        };
        if let Some(id) = id {
            let sender = self.sender.clone();
            tokio::spawn(async move {
                if notice.wait_async().await.is_ok() {
                    // The session may be over.
                    let _ = sender.send(BrokerEvent::Acknowledged(id)).await;
                }
            });
        }
    }

    /// Says `offline` and disconnects, so that the broker does not have to find out.
    pub(crate) async fn announce_offline(self) {
        let options = PublishOptions::new(QoS::AtLeastOnce).retained();
        let topic = self.topics.of(TopicKind::Presence);
        if let Ok(notice) = self.client.try_publish_tracked(topic, Presence::Offline.as_str(), options) {
            let _ = tokio::time::timeout(OFFLINE_TIMEOUT, notice.wait_async()).await;
        }
        let _ = self.client.try_disconnect();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn carry(
    mut eventloop: EventLoop,
    client: AsyncClient,
    topics: Topics,
    sender: mpsc::Sender<BrokerEvent>,
) {
    let mut pause = BACK_OFF_MIN;
    loop {
        let event = match eventloop.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                pause = BACK_OFF_MIN;
                // From now on the session is one that this side remembers too.
                eventloop.options.set_clean_start(false);
                for kind in TopicKind::FROM_SERVER {
                    // The queue is empty after a connect but for what waited; a full one comes again.
                    let _ = client.try_subscribe(topics.of(kind), QoS::AtLeastOnce);
                }
                BrokerEvent::Connected
            }
            // Nothing that a server says is retained: what a broker kept would be obeyed at every connect.
            Ok(Event::Incoming(Incoming::Publish(publish))) if publish.retain => continue,
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = std::str::from_utf8(&publish.topic).unwrap_or_default();
                match Topic::parse(topic, &topics.version) {
                    Some(topic) => BrokerEvent::Message(topic.kind, publish.payload.to_vec()),
                    None => continue,
                }
            }
            Ok(_) => continue,
            Err(ConnectionError::RequestsDone) => return,
            Err(error) => {
                let event = match error {
                    ConnectionError::ConnectionRefused(
                        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
                    ) => BrokerEvent::Refused("it does not know this user name and password".to_owned()),
                    error => BrokerEvent::Lost(error.to_string()),
                };
                if sender.send(event).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF_MAX);
                continue;
            }
        };
        if sender.send(event).await.is_err() {
            return;
        }
    }
}
