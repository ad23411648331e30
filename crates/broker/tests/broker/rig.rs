//! What every test here stands on: a broker, and a client in the server's place.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use listen::Limits;
use rumqttc::{
    AckMode, AsyncClient, Broker, Event, EventLoop, Incoming, MqttOptions, PublishOptions, PublishProperties,
    QoS, SubscribeFilterInput,
};
use updraft_broker::{Admission, Embedded, NotAdmitted, Unavailable};

use crate::device::{Device, Listener, until};

pub(crate) fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

/// Lets in who is on the list with the password `secret-{id}`; writes down who came and went.
#[derive(Default)]
pub(crate) struct Doors {
    pub(crate) registered: Mutex<Vec<String>>,
    pub(crate) tokens: Mutex<Vec<String>>,
    /// Nobody can say who is registered.
    pub(crate) is_away: AtomicBool,
    /// Who was not let in, and why.
    pub(crate) refused: Mutex<Vec<(String, NotAdmitted)>>,
    /// `true`: came.
    pub(crate) events: Mutex<BTreeMap<String, Vec<bool>>>,
}

impl Doors {
    /// Whether the device is there: 1 or 0. It comes again when it takes over, and goes only if it is there.
    pub(crate) fn count(&self, device: &str) -> i64 {
        let events = self.events.lock().unwrap();
        let events = events.get(device).map_or(&[][..], |events| events);
        assert!(events.first() != Some(&false), "{device}: {events:?}");
        assert!(!events.windows(2).any(|pair| pair == [false, false]), "{device}: {events:?}");
        events.last().map_or(0, |came| i64::from(*came))
    }

    fn answer(&self, is_right: bool) -> Result<bool, Unavailable> {
        if self.is_away.load(Ordering::Relaxed) { Err(Unavailable) } else { Ok(is_right) }
    }

    fn add(&self, device: &DeviceId, came: bool) {
        self.events.lock().unwrap().entry(device.to_string()).or_default().push(came);
    }
}

#[async_trait::async_trait]
impl Admission for Doors {
    async fn admit(&self, user: &str, password: &[u8]) -> Result<bool, Unavailable> {
        let known = self.registered.lock().unwrap().iter().any(|device| device == user);
        self.answer(known && password == format!("secret-{user}").as_bytes())
    }
    async fn admit_reader(&self, token: &[u8]) -> Result<bool, Unavailable> {
        self.answer(self.tokens.lock().unwrap().iter().any(|known| known.as_bytes() == token))
    }
    fn not_admitted(&self, _: IpAddr, who: &str, why: NotAdmitted) {
        self.refused.lock().unwrap().push((who.to_owned(), why));
    }
    fn connected(&self, device: DeviceId) {
        self.add(&device, true);
    }
    fn disconnected(&self, device: DeviceId) {
        self.add(&device, false);
    }
}

/// A message that reached the server, and whether it had been retained.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// "kind device payload"
    pub(crate) line: String,
    pub(crate) retained: bool,
}

/// A client with the server's own credentials that listens to all devices.
#[derive(Clone)]
pub(crate) struct Server {
    client: AsyncClient,
    version: VersionTopic,
    marker: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) async fn on(broker: &Embedded, name: &str, version: VersionTopic) -> Self {
        Self::slow(broker, name, version, Duration::ZERO).await
    }

    /// Acknowledges one message at a time, each after a pause. Connected once its own marker has come back, and with it
    /// everything that was retained.
    pub(crate) async fn slow(broker: &Embedded, name: &str, version: VersionTopic, pause: Duration) -> Self {
        let address = broker.local_addr();
        let credentials = broker.credentials();
        let mut options = MqttOptions::new(name, Broker::tcp(address.ip().to_string(), address.port()));
        options.set_credentials(&credentials.user, credentials.password.clone());
        options.set_ack_mode(AckMode::Manual);
        options.set_receive_maximum(Some(2000));
        let (client, events) = AsyncClient::builder(options).capacity(5000).try_build().unwrap();
        let seen = Arc::default();
        let marker = format!("devices/{name}-marker/ota/control");
        let server = Self { client, version, marker: marker.clone(), seen };
        let filter = |kind| contract::filter(kind, &server.version).to_string();
        let filters: Vec<_> =
            TopicKind::FROM_DEVICE.into_iter().map(filter).chain([marker.clone()]).collect();
        let filters = filters.iter().map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce));
        server.client.try_subscribe_many(filters).unwrap();
        tokio::spawn(server.clone().run(events, pause));
        until("the marker", || server.lines().iter().any(|line| line.ends_with(" marker"))).await;
        server.seen.lock().unwrap().retain(|seen| !seen.line.ends_with(" marker"));
        server
    }

    async fn run(self, mut events: EventLoop, pause: Duration) {
        while let Ok(event) = events.poll().await {
            let publish = match event {
                Event::Incoming(Incoming::Publish(publish)) => publish,
                Event::Incoming(Incoming::SubAck(_)) => {
                    let options = PublishOptions::at_least_once();
                    self.client.try_publish(self.marker.clone(), "marker", options).unwrap();
                    continue;
                }
                _ => continue,
            };
            let topic = std::str::from_utf8(&publish.topic).unwrap();
            let Topic { kind, device } = Topic::parse(topic, &self.version).unwrap();
            let payload = String::from_utf8_lossy(&publish.payload);
            if !payload.is_empty() {
                let line = format!("{kind:?} {device} {payload}");
                self.seen.lock().unwrap().push(Seen { line, retained: publish.retain });
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            if NonZeroU16::new(publish.pkid).is_some() {
                let _ = self.client.ack(&publish).await;
            }
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|seen| seen == line)
    }

    pub(crate) async fn publish(
        &self,
        kind: TopicKind,
        device: &str,
        payload: &str,
        expiry: Option<Duration>,
        retain: bool,
    ) {
        let topic = Topic { kind, device: id(device) }.write(&self.version).to_string();
        let properties = PublishProperties {
            message_expiry_interval: expiry.map(|expiry| u32::try_from(expiry.as_secs()).unwrap()),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().retain(retain).properties(properties);
        let sent = self.client.publish_tracked(topic, payload.to_owned(), options).await.unwrap();
        sent.wait_completion_async().await.unwrap();
    }

    pub(crate) async fn clear_retained(&self, device: &str) {
        for kind in TopicKind::FROM_DEVICE {
            self.publish(kind, device, "", None, true).await;
        }
    }
}

/// A broker without a client.
pub(crate) async fn start(ids: &[&str], version: VersionTopic) -> (Arc<Doors>, Embedded) {
    let registered = Mutex::new(ids.iter().map(ToString::to_string).collect());
    let doors = Arc::new(Doors { registered, ..Doors::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = Embedded::start(listener, Limits::of(10_000), version, doors.clone()).unwrap();
    (doors, broker)
}

/// A broker with a server's client on it.
pub(crate) struct Site {
    pub(crate) doors: Arc<Doors>,
    pub(crate) broker: Embedded,
    pub(crate) server: Server,
    pub(crate) port: u16,
}

impl Site {
    pub(crate) async fn with(ids: &[&str]) -> Self {
        Self::start(ids, VersionTopic::default(), Duration::ZERO).await
    }

    pub(crate) async fn start(ids: &[&str], version: VersionTopic, pause: Duration) -> Self {
        let (doors, broker) = start(ids, version.clone()).await;
        let server = Server::slow(&broker, "server", version, pause).await;
        let port = broker.local_addr().port();
        Self { doors, broker, server, port }
    }

    pub(crate) fn device(&self, id: &str) -> Device {
        Device { port: self.port, id: id.to_owned(), password: format!("secret-{id}") }
    }

    /// Whoever has this API token.
    pub(crate) fn reader(&self, token: &str) -> Device {
        Device { port: self.port, id: "_token".to_owned(), password: token.to_owned() }
    }

    pub(crate) async fn send(&self, device: &str, payload: &str) {
        self.server.publish(TopicKind::Trigger, device, payload, None, false).await;
    }
}

impl Device {
    /// Tries to subscribe; what mosquitto_sub ended with.
    pub(crate) async fn refused(&self, filter: &str, arguments: &[&str]) -> bool {
        let mut all = vec!["-q", "1", "-t", filter, "-W", "5", "-E"];
        all.extend_from_slice(arguments);
        let mut command = self.command("mosquitto_sub", &all);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8_lossy(&output.stderr).contains("denied")
    }
}

impl Listener {
    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Ends it with a DISCONNECT.
    pub(crate) fn end(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
    }
}
