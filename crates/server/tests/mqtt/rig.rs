//! What every test here stands on.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use broker::{Admission, Embedded};
use contract::{DeviceId, TopicKind, VersionTopic};
use updraft_server::mqtt::{BrokerAddress, Connection, Handler, LinkState, Message, Mqtt, MqttOptions};

pub(crate) fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

/// A program of the Debian package, or the sentence that says what to install.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("this test needs {name}: apt-get install {package}"))
}

/// Waits for a condition, 60 s at most.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "waited 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets in who is on the list with the password `secret-{id}`; counts who is there.
#[derive(Default)]
pub(crate) struct Doors {
    pub(crate) registered: Mutex<Vec<String>>,
    pub(crate) connected: Mutex<BTreeMap<String, AtomicI64>>,
}

impl Doors {
    pub(crate) fn of(ids: &[&str]) -> Arc<Self> {
        let registered = Mutex::new(ids.iter().map(ToString::to_string).collect());
        Arc::new(Self { registered, connected: Mutex::default() })
    }

    pub(crate) fn count(&self, device: &str) -> i64 {
        self.connected.lock().unwrap().get(device).map_or(0, |count| count.load(Ordering::SeqCst))
    }

    fn add(&self, device: &DeviceId, change: i64) {
        let mut connected = self.connected.lock().unwrap();
        connected.entry(device.to_string()).or_default().fetch_add(change, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Admission for Doors {
    async fn admit(&self, user: &str, password: &[u8]) -> bool {
        let known = self.registered.lock().unwrap().iter().any(|device| device == user);
        known && password == format!("secret-{user}").as_bytes()
    }
    fn connected(&self, device: DeviceId) {
        self.add(&device, 1);
    }
    fn disconnected(&self, device: DeviceId) {
        self.add(&device, -1);
    }
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
    pub(crate) doors: Arc<Doors>,
    pub(crate) broker: Embedded,
    pub(crate) mqtt: Mqtt,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) port: u16,
}

impl Site {
    pub(crate) async fn with(ids: &[&str]) -> Self {
        Self::with_version_topic(ids, VersionTopic::default()).await
    }

    pub(crate) async fn with_version_topic(ids: &[&str], version: VersionTopic) -> Self {
        let doors = Doors::of(ids);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = Embedded::start(listener, version.clone(), doors.clone()).unwrap();
        let recorder = Arc::new(Recorder::default());
        let mqtt = client_on(&broker, "server", version, recorder.clone()).await;
        let port = broker.local_addr().port();
        Self { doors, broker, mqtt, recorder, port }
    }

    pub(crate) fn device(&self, id: &str) -> Device {
        Device { port: self.port, id: id.to_owned(), password: format!("secret-{id}") }
    }

    pub(crate) async fn send(&self, device: &str, payload: &str) {
        self.mqtt
            .publisher()
            .publish(TopicKind::Trigger, &id(device), payload.as_bytes(), None)
            .await
            .unwrap();
    }
}

pub(crate) async fn client_on(
    broker: &Embedded,
    name: &str,
    version: VersionTopic,
    recorder: Arc<Recorder>,
) -> Mqtt {
    let options = MqttOptions {
        broker: BrokerAddress::Embedded { address: broker.local_addr(), credentials: broker.credentials() },
        version_topic: version,
        client_id: name.to_owned(),
        persistent: true,
    };
    let mqtt = receive(options, recorder);
    up(&mqtt).await;
    mqtt
}

/// A client of a broker, whose messages this handler takes.
pub(crate) fn receive(options: MqttOptions, handler: Arc<Recorder>) -> Mqtt {
    Connection::open(options).unwrap().receive(handler).unwrap()
}

pub(crate) async fn up(mqtt: &Mqtt) {
    let mut link = mqtt.link();
    let up = link.wait_for(|state| *state == LinkState::Up);
    tokio::time::timeout(Duration::from_secs(30), up).await.expect("the link came up").unwrap();
}

/// A device made of mosquitto_pub and mosquitto_sub.
pub(crate) struct Device {
    pub(crate) port: u16,
    pub(crate) id: String,
    pub(crate) password: String,
}

impl Device {
    pub(crate) fn command(&self, program_name: &str, arguments: &[&str]) -> Command {
        // Line by line, though its output is a pipe.
        let mut command = Command::new(program("stdbuf", "coreutils"));
        command.arg("-oL").arg(program(program_name, "mosquitto-clients"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-u", &self.id, "-P", &self.password]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn try_publish(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("mosquitto_pub", arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Publishes at QoS 1, MQTT 3.1.1, to `devices/{own id}/{what}`.
    pub(crate) async fn publish(&self, what: &str, payload: &str) {
        let topic = format!("devices/{}/{what}", self.id);
        let output = self.try_publish(&["-q", "1", "-t", &topic, "-m", payload]).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// Publishes every line at once.
    pub(crate) async fn publish_lines(&self, what: &str, qos: &str, lines: String) {
        let topic = format!("devices/{}/{what}", self.id);
        let mut command = self.command("mosquitto_pub", &["-q", qos, "-t", &topic, "-l"]);
        command.stdin(Stdio::piped());
        let status = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
            child.wait().unwrap()
        });
        assert!(status.await.unwrap().success());
    }

    /// Subscribes, and returns once the broker has granted it.
    pub(crate) async fn listen(&self, filter: &str, arguments: &[&str]) -> Listener {
        let mut all = vec!["-q", "1", "-d", "-t", filter, "-F", "> %r %t %p"];
        all.extend_from_slice(arguments);
        let mut listener = Listener::new(self.command("mosquitto_sub", &all).spawn().unwrap());
        listener.line("Subscribed").await;
        listener
    }

    /// Tries to subscribe; what mosquitto_sub ended with.
    pub(crate) async fn refused(&self, filter: &str, arguments: &[&str]) -> bool {
        let mut all = vec!["-q", "1", "-t", filter, "-W", "5", "-E"];
        all.extend_from_slice(arguments);
        let mut command = self.command("mosquitto_sub", &all);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8_lossy(&output.stderr).contains("denied")
    }
}

/// A running mosquitto_sub; killed when dropped.
pub(crate) struct Listener {
    child: Child,
    lines: mpsc::Receiver<String>,
    pub(crate) heard: Vec<String>,
}

impl Listener {
    fn new(mut child: Child) -> Self {
        let (tell, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, heard: Vec::new() }
    }

    /// Waits for a line that contains this.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            while let Ok(line) = self.lines.try_recv() {
                self.heard.push(line.clone());
                if line.contains(text) {
                    return line;
                }
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no {text:?} in {:?}", self.heard);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a payload; one that came before counts.
    pub(crate) async fn payload(&mut self, text: &str) {
        let end = format!(" {text}");
        let start = Instant::now();
        while !self.messages().iter().any(|line| line.ends_with(&end)) {
            assert!(start.elapsed() < Duration::from_secs(20), "no {text:?} in {:?}", self.heard);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Payload lines so far.
    pub(crate) fn messages(&mut self) -> Vec<String> {
        while let Ok(line) = self.lines.try_recv() {
            self.heard.push(line);
        }
        self.heard.iter().filter(|line| line.starts_with("> ")).cloned().collect()
    }

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

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
