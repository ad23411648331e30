//! A broker, a server that misbehaves on demand, and a device between them.

use std::net::TcpListener as StdTcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::{DeviceId, Progress, Report};
use image::build::Build;
use image::{Behaviour, Chip};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::slot_bytes;
use updraft_virtual_device::{Notice, Observer, Options, run};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = StdTcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let config = folder.path().join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
        std::fs::write(&config, text).expect("a file");
        let child = Command::new("mosquitto")
            .env("PATH", format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default()))
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto runs; on Debian: apt-get install mosquitto");
        let broker = Self { child, port, _folder: folder };
        timeout(TIMEOUT, async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("mosquitto listens");
        broker
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the HTTP server serves its one object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serving {
    Well,
    /// The first answers end after so many bytes of body.
    ResetAt(usize, usize),
    /// 200 and everything, whatever was asked; the first answer breaks off.
    IgnoresRange,
    /// 403 for the first URL.
    ExpiredOnce,
    Answers(u16),
}

/// Serves `bytes`; returns its address and how many requests came.
pub(crate) async fn serve(bytes: Vec<u8>, serving: Serving) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            let (read, mut write) = socket.split();
            let mut lines = BufReader::new(read).lines();
            let total = bytes.len();
            let (mut from, mut is_range, mut fresh) = (0, false, false);
            while let Ok(Some(line)) = lines.next_line().await {
                fresh |= line.contains("fresh");
                if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    let (first, last) = range.split_once('-').expect("a range");
                    let end = || total.saturating_sub(last.parse().expect("a length"));
                    from = first.parse().unwrap_or_else(|_| end());
                    is_range = true;
                }
                if line.is_empty() {
                    break;
                }
            }
            let status = match serving {
                Serving::Answers(status) => Some(status),
                Serving::ExpiredOnce if !fresh => Some(403),
                _ => None,
            };
            let head = match status {
                Some(status) => format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n"),
                None if is_range && serving != Serving::IgnoresRange => format!(
                    "HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\n",
                    total - 1,
                    total - from
                ),
                None => {
                    from = 0;
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n")
                }
            };
            let end = match serving {
                Serving::ResetAt(at, times) if nth < times => (from + at).min(total),
                Serving::IgnoresRange if nth == 0 => total / 2,
                _ => total,
            };
            let _ =
                write.write_all(format!("{head}ETag: \"one\"\r\nConnection: close\r\n\r\n").as_bytes()).await;
            if status.is_none() {
                let _ = write.write_all(&bytes[from..end]).await;
                let _ = write.flush().await;
            }
            drop(socket);
        }
    });
    (address, requests)
}

pub(crate) fn firmware(version: &str, behaviour: Behaviour) -> Vec<u8> {
    let mut build = Build::new(Chip::Esp32S3, version);
    build.size_bytes = 200 * 1024;
    build.behaviour = Some(behaviour);
    build.bytes()
}

pub(crate) type Messages = mpsc::UnboundedReceiver<(String, Vec<u8>)>;

/// A client of a broker, and all that devices send there.
pub(crate) async fn subscribe(port: u16) -> (AsyncClient, Messages) {
    let mut mqtt = MqttOptions::new("server", ("127.0.0.1", port));
    mqtt.set_clean_start(true);
    let (client, mut eventloop) = AsyncClient::builder(mqtt).capacity(64).build();
    client.subscribe("devices/#", QoS::AtLeastOnce).await.expect("queued");
    let (sender, messages) = mpsc::unbounded_channel();
    let (ready, subscribed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut ready = Some(ready);
        while let Ok(event) = eventloop.poll().await {
            match event {
                Event::Incoming(Incoming::SubAck(_)) => {
                    let _ = ready.take().map(|ready| ready.send(()));
                }
                Event::Incoming(Incoming::Publish(publish)) => {
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    let _ = sender.send((topic, publish.payload.to_vec()));
                }
                _ => {}
            }
        }
    });
    timeout(TIMEOUT, subscribed).await.expect("in time").expect("subscribed");
    (client, messages)
}

/// Waits for a message; gives what else came before it.
pub(crate) async fn until(messages: &mut Messages, wanted: &str) -> Vec<String> {
    let mut before = Vec::new();
    let found = async {
        loop {
            let (topic, _) = messages.recv().await.expect("connected");
            if topic == wanted {
                return;
            }
            before.push(topic);
        }
    };
    timeout(TIMEOUT, found).await.unwrap_or_else(|_| panic!("no message on {wanted}"));
    before
}

/// A device, and the server's view of it.
pub(crate) struct Scene {
    pub(crate) _broker: Broker,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) client: AsyncClient,
    pub(crate) messages: Messages,
    pub(crate) notices: mpsc::UnboundedReceiver<(DeviceId, Notice)>,
    pub(crate) stop: CancellationToken,
    pub(crate) device: tokio::task::JoinHandle<anyhow::Result<()>>,
    pub(crate) options: Options,
}

impl Scene {
    pub(crate) async fn new(change: impl FnOnce(&mut Options)) -> Self {
        let broker = Broker::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let (client, messages) = subscribe(broker.port).await;
        let url = format!("mqtt://127.0.0.1:{}", broker.port).parse().expect("a URL");
        let first = firmware("1.0.0", Behaviour::Healthy);
        let mut options = Options::new("dev-1".parse().expect("an id"), url, first.into());
        options.flash_path = Some(folder.path().join("flash.bin"));
        options.back_off = Duration::from_millis(20);
        options.pace.restart = Duration::from_millis(50);
        change(&mut options);
        let (observer, notices) = Observer::new();
        let stop = CancellationToken::new();
        let device = tokio::spawn(run(options.clone(), stop.clone(), observer));
        let mut scene = Self { _broker: broker, folder, client, messages, notices, stop, device, options };
        scene.report("1.0.0").await;
        scene
    }

    pub(crate) async fn message(&mut self, kind: &str) -> Vec<u8> {
        let topic = format!("devices/dev-1/{kind}");
        timeout(TIMEOUT, async {
            loop {
                let (found, payload) = self.messages.recv().await.expect("connected");
                if found == topic {
                    return payload;
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("no message on {topic}"))
    }

    pub(crate) async fn status(&mut self) -> String {
        String::from_utf8(self.message("ota/status").await).expect("UTF-8")
    }

    pub(crate) async fn progress(&mut self) -> Progress {
        serde_json::from_slice(&self.message("ota/progress").await).expect("progress")
    }

    /// Waits for a report of this version.
    pub(crate) async fn report(&mut self, version: &str) -> Report {
        loop {
            let report: Report = serde_json::from_slice(&self.message("version").await).expect("a report");
            if report.version.as_str() == version {
                return report;
            }
        }
    }

    pub(crate) async fn notice(&mut self, wanted: impl Fn(&Notice) -> bool) {
        let found = async {
            while let Some((_, notice)) = self.notices.recv().await {
                if wanted(&notice) {
                    return;
                }
            }
            panic!("the device ended");
        };
        timeout(TIMEOUT, found).await.expect("the notice comes in time");
    }

    pub(crate) async fn trigger(&self, url: &str) {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.publish("devices/dev-1/ota", url.to_owned(), options).await.expect("queued");
    }

    /// Stops the device and looks at its flash.
    pub(crate) async fn slot(mut self, slot: u8, length: usize) -> Vec<u8> {
        self.stop.cancel();
        timeout(TIMEOUT, &mut self.device).await.expect("stops").expect("no panic").expect("no error");
        let (mut flash, _) = Flash::in_file(&self.folder.path().join("flash.bin")).expect("a file");
        slot_bytes(&mut flash, slot, length).expect("in bounds")
    }
}
