//! What every test here stands on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{Admission, Embedded, Unavailable};
use contract::{DeviceId, VersionTopic};
use listen::Limits;
use updraft_server::mqtt::{BrokerAddress, Connection, Handler, LinkState, Message, Mqtt, MqttOptions};
use updraft_server::tasks::Tasks;

use crate::device::Device;

pub(crate) fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

/// Lets in every device with the password `secret-{id}`.
struct Open;

#[async_trait::async_trait]
impl Admission for Open {
    async fn admit(&self, user: &str, password: &[u8]) -> Result<bool, Unavailable> {
        Ok(password == format!("secret-{user}").as_bytes())
    }
    async fn admit_reader(&self, _: &[u8]) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn connected(&self, _: DeviceId) {}
    fn disconnected(&self, _: DeviceId) {}
}

/// Keeps what it is given; fails as often as it is told to.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) seen: Mutex<Vec<Message>>,
    pub(crate) failures: AtomicI64,
    pub(crate) pause: Mutex<Duration>,
}

#[async_trait::async_trait]
impl Handler for Recorder {
    async fn messages(&self, batch: &[Message]) -> anyhow::Result<()> {
        assert!(!batch.is_empty() && batch.len() <= 1000, "a batch of {}", batch.len());
        let pause = *self.pause.lock().unwrap();
        tokio::time::sleep(pause).await;
        anyhow::ensure!(self.failures.fetch_sub(1, Ordering::SeqCst) <= 0, "the database is locked");
        self.seen.lock().unwrap().extend_from_slice(batch);
        Ok(())
    }
}

impl Recorder {
    /// What was handled, as "kind device payload".
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |message: &Message| {
            let kind = format!("{:?}", message.kind);
            format!("{kind} {} {}", message.device, String::from_utf8_lossy(&message.payload))
        };
        self.seen.lock().unwrap().iter().map(line).collect()
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|seen| seen == line)
    }
}

/// An embedded broker with the server's client on it.
pub(crate) struct Site {
    pub(crate) broker: Embedded,
    pub(crate) mqtt: Mqtt,
    pub(crate) recorder: Arc<Recorder>,
    port: u16,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker =
            Embedded::start(listener, Limits::of(10_000), VersionTopic::default(), Arc::new(Open)).unwrap();
        let recorder = Arc::new(Recorder::default());
        let options = MqttOptions {
            broker: BrokerAddress::Embedded {
                address: broker.local_addr(),
                credentials: broker.credentials(),
            },
            version_topic: VersionTopic::default(),
            client_id: "server".to_owned(),
        };
        let mqtt = receive(options, recorder.clone());
        up(&mqtt).await;
        let port = broker.local_addr().port();
        Self { broker, mqtt, recorder, port }
    }

    pub(crate) fn device(&self, id: &str) -> Device {
        Device { port: self.port, id: id.to_owned(), password: format!("secret-{id}") }
    }
}

/// A client of a broker, whose messages this handler takes.
pub(crate) fn receive(options: MqttOptions, handler: Arc<Recorder>) -> Mqtt {
    Connection::open(options, Tasks::default()).unwrap().receive(handler).unwrap()
}

pub(crate) async fn up(mqtt: &Mqtt) {
    let mut link = mqtt.link();
    let up = link.wait_for(|state| *state == LinkState::Up);
    tokio::time::timeout(Duration::from_secs(30), up).await.expect("the link came up").unwrap();
}
