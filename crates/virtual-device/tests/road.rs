//! A device on a real Mosquitto and a real HTTP server that misbehaves on demand.

use std::net::TcpListener as StdTcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::{DeviceId, Outcome, Progress, Report};
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, sign};
use image::{Behaviour, Chip};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::slot_bytes;
use updraft_virtual_device::{Notice, Observer, Options, Rollback, run};

const PATIENCE: Duration = Duration::from_secs(20);

struct Broker {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Broker {
    async fn start() -> Self {
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
        timeout(PATIENCE, async {
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
enum Manner {
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
async fn serve(bytes: Vec<u8>, manner: Manner) -> (String, Arc<AtomicUsize>) {
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
            let status = match manner {
                Manner::Answers(status) => Some(status),
                Manner::ExpiredOnce if !fresh => Some(403),
                _ => None,
            };
            let head = match status {
                Some(status) => format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n"),
                None if is_range && manner != Manner::IgnoresRange => format!(
                    "HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\n",
                    total - 1,
                    total - from
                ),
                None => {
                    from = 0;
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n")
                }
            };
            let end = match manner {
                Manner::ResetAt(at, times) if nth < times => (from + at).min(total),
                Manner::IgnoresRange if nth == 0 => total / 2,
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

fn firmware(version: &str, behaviour: Behaviour) -> Vec<u8> {
    let mut build = Build::new(Chip::Esp32S3, version);
    build.size_bytes = 200 * 1024;
    build.behaviour = Some(behaviour);
    build.bytes()
}

/// A device, and the server's view of it.
struct Scene {
    _broker: Broker,
    folder: tempfile::TempDir,
    client: AsyncClient,
    messages: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    notices: mpsc::UnboundedReceiver<(DeviceId, Notice)>,
    stop: CancellationToken,
    device: tokio::task::JoinHandle<anyhow::Result<()>>,
    options: Options,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut Options)) -> Self {
        let broker = Broker::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut mqtt = MqttOptions::new("server", ("127.0.0.1", broker.port));
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
        timeout(PATIENCE, subscribed).await.expect("in time").expect("subscribed");
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

    async fn message(&mut self, kind: &str) -> Vec<u8> {
        let topic = format!("devices/dev-1/{kind}");
        timeout(PATIENCE, async {
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

    async fn status(&mut self) -> String {
        String::from_utf8(self.message("ota/status").await).expect("UTF-8")
    }

    async fn progress(&mut self) -> Progress {
        serde_json::from_slice(&self.message("ota/progress").await).expect("progress")
    }

    /// Waits for a report of this version.
    async fn report(&mut self, version: &str) -> Report {
        loop {
            let report: Report = serde_json::from_slice(&self.message("version").await).expect("a report");
            if report.version.as_str() == version {
                return report;
            }
        }
    }

    async fn notice(&mut self, wanted: impl Fn(&Notice) -> bool) {
        let found = async {
            while let Some((_, notice)) = self.notices.recv().await {
                if wanted(&notice) {
                    return;
                }
            }
            panic!("the device ended");
        };
        timeout(PATIENCE, found).await.expect("the notice comes in time");
    }

    async fn trigger(&self, url: &str) {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.publish("devices/dev-1/ota", url.to_owned(), options).await.expect("queued");
    }

    /// Stops the device and looks at its flash.
    async fn slot(mut self, slot: u8, length: usize) -> Vec<u8> {
        self.stop.cancel();
        timeout(PATIENCE, &mut self.device).await.expect("stops").expect("no panic").expect("no error");
        let (mut flash, _) = Flash::in_file(&self.folder.path().join("flash.bin")).expect("a file");
        slot_bytes(&mut flash, slot, length).expect("in bounds")
    }
}

#[tokio::test]
async fn a_good_image_is_confirmed_and_lies_in_the_slot_byte_for_byte() {
    let mut scene = Scene::new(|_| {}).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, requests) = serve(new.clone(), Manner::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?signature=x")).await;
    let report = scene.report("1.2.0").await;
    assert_eq!(report.state.as_deref(), Some("valid"));
    assert_eq!(report.slot.as_deref(), Some("ota_1"));
    assert_eq!(report.rollback, Some(true));
    assert_eq!(report.last.expect("an outcome").result, Outcome::Success);
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(requests.load(Ordering::SeqCst), 2, "the end of the file, then all of it");
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn a_bootloader_without_rollback_is_reported() {
    let mut scene = Scene::new(|options| options.rollback = Rollback::Off).await;
    let (server, _) = serve(firmware("1.2.0", Behaviour::Healthy), Manner::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
    let report = scene.report("1.2.0").await;
    assert_eq!(report.rollback, Some(false));
    assert_eq!(scene.status().await, "SUCCESS");
}

#[tokio::test]
async fn an_image_that_crashes_is_rolled_back_and_the_device_says_so() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::CrashesAtBoot), Manner::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    let report = scene.report("1.0.0").await;
    let last = report.last.expect("an outcome");
    assert_eq!(last.to.expect("known").as_str(), "1.1.0");
    assert!(last.reason.expect("one").as_str().starts_with("rolled back: "));
    assert!(scene.status().await.starts_with("FAILED rolled back: "));
}

#[tokio::test]
async fn an_image_that_failed_twice_is_refused_until_the_quarantine_is_cleared() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::CrashesAtBoot), Manner::Well).await;
    let url = format!("{server}/p/releases/v1.1.0/firmware.bin");
    for expected in ["FAILED rolled back: ", "FAILED rolled back: ", "FAILED quarantined: "] {
        scene.trigger(&url).await;
        let status = scene.status().await;
        assert!(status.starts_with(expected), "{status} instead of {expected}");
    }
    let options = PublishOptions::new(QoS::AtLeastOnce);
    scene.client.publish("devices/dev-1/ota/control", "clear_quarantine", options).await.expect("queued");
    scene.trigger(&url).await;
    assert!(scene.status().await.starts_with("FAILED rolled back: "));
}

#[tokio::test]
async fn an_image_that_never_reaches_the_broker_gives_up_and_the_old_one_says_so() {
    let mut scene = Scene::new(|options| options.self_test = Duration::from_millis(200)).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::NeverReachesNetwork), Manner::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    let expected = "FAILED rolled back: the broker was not reached within 1 s [broker_not_reached]";
    assert_eq!(scene.status().await, expected);
}

#[tokio::test]
async fn a_lost_connection_goes_on_where_it_was() {
    let mut scene = Scene::new(|_| {}).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, requests) = serve(new.clone(), Manner::ResetAt(70_000, 2)).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_appends_nothing() {
    let mut scene = Scene::new(|_| {}).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, _) = serve(new.clone(), Manner::IgnoresRange).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn connections_lost_for_good_end_as_failed_with_the_old_image_running() {
    let mut scene = Scene::new(|_| {}).await;
    let old = scene.options.firmware.clone();
    let (server, _) = serve(firmware("1.2.0", Behaviour::Healthy), Manner::ResetAt(1000, 100)).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?signature=secret")).await;
    let status = scene.status().await;
    assert!(status.starts_with("FAILED given up after 6 tries: the connection closed too early"), "{status}");
    assert!(!status.contains("secret") && !status.contains("http:"), "{status}");
    assert_eq!(scene.slot(0, old.len()).await, *old);
}

#[tokio::test]
async fn an_expired_url_is_asked_for_again() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.2.0", Behaviour::Healthy), Manner::ExpiredOnce).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?old")).await;
    assert_eq!(scene.message("ota/request").await, b"url_expired");
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?fresh")).await;
    assert_eq!(scene.status().await, "SUCCESS");
}

#[tokio::test]
async fn bad_images_and_answers_are_refused_in_words() {
    let mut scene = Scene::new(|_| {}).await;
    let good = firmware("1.2.0", Behaviour::Healthy);
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    let mut other = Build::new(Chip::Esp32C3, "1.2.0");
    other.size_bytes = 64 * 1024;
    let cases = [
        (damaged, Manner::Well, "FAILED the image is damaged"),
        (good[..good.len() - 5000].to_vec(), Manner::Well, "FAILED the image is cut short"),
        (other.bytes(), Manner::Well, "FAILED wrong chip: the image is for esp32c3, this device is esp32s3"),
        (b"<html>not here</html>".repeat(100), Manner::Well, "FAILED not an ESP32 image"),
        (vec![0xE9; 2_000_000], Manner::Well, "FAILED the image is too large: 2000000 bytes"),
        (good.clone(), Manner::Answers(404), "FAILED the server answered 404"),
    ];
    for (bytes, manner, expected) in cases {
        let (server, _) = serve(bytes, manner).await;
        scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
        let status = scene.status().await;
        assert!(status.starts_with(expected), "{status} instead of {expected}");
    }
    let restarted = std::iter::from_fn(|| scene.notices.try_recv().ok())
        .any(|(_, notice)| matches!(notice, Notice::Restarting));
    assert!(!restarted);
}

#[tokio::test]
async fn a_trigger_that_the_broker_kept_is_not_obeyed_at_every_connect() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, requests) = serve(firmware("1.2.0", Behaviour::Healthy), Manner::Well).await;
    let old = format!("{server}/p/releases/v1.2.0/firmware.bin?old");
    let kept = PublishOptions::new(QoS::AtLeastOnce).retain(true);
    let (options, slot) = (scene.options.clone(), scene.folder.path().join("flash.bin"));
    scene.stop.cancel();
    timeout(PATIENCE, &mut scene.device).await.expect("stops").expect("no panic").expect("no error");
    scene.client.publish("devices/dev-1/ota", old, kept).await.expect("queued");
    scene.message("ota").await;
    let (observer, notices) = Observer::new();
    (scene.stop, scene.notices) = (CancellationToken::new(), notices);
    scene.device =
        tokio::spawn(run(Options { flash_path: Some(slot), ..options }, scene.stop.clone(), observer));
    // The subscription is made before the report is sent, so what was kept comes before the answer to this.
    scene.report("1.0.0").await;
    scene.trigger("not a URL").await;
    assert!(scene.status().await.starts_with("FAILED the trigger is not"));
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_download_goes_on_after_a_power_cut() {
    let mut scene = Scene::new(|options| options.pace.bytes_per_s = Some(100_000)).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, _) = serve(new.clone(), Manner::Well).await;
    let url = format!("{server}/p/releases/v1.2.0/firmware.bin");
    scene.trigger(&url).await;
    while scene.progress().await.done < 70_000 {}
    scene.options.power.cut();
    // The URL is a secret that the device does not keep.
    assert_eq!(scene.message("ota/request").await, b"url_expired");
    scene.trigger(&url).await;
    assert!(scene.progress().await.done >= 64 * 1024, "it began again");
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn a_device_that_stops_says_offline() {
    let mut scene = Scene::new(|_| {}).await;
    scene.stop.cancel();
    loop {
        if scene.message("presence").await == b"offline" {
            break;
        }
    }
}

#[tokio::test]
async fn an_image_that_crashes_after_it_was_confirmed_is_left_for_the_one_before() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::CrashesLater), Manner::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    assert_eq!(scene.status().await, "SUCCESS", "it looked well");
    let report = scene.report("1.0.0").await;
    let expected = "FAILED rolled back: the image crashed 5 times in a row [crash_loop]";
    assert_eq!(scene.status().await, expected);
    assert_eq!(report.state.as_deref(), Some("valid"));
    assert_eq!(report.last.expect("an outcome").to.expect("known").as_str(), "1.1.0");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_left_for_the_one_before() {
    let mut scene = Scene::new(|options| options.move_time = Duration::from_secs(1)).await;
    // Nobody listens there once the port was given back.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    scene.options.moves.move_to(format!("mqtt://{dead}").parse().expect("a URL"));
    let returned = scene.report("1.0.0").await.returned.expect("says why it is back");
    assert_eq!(returned.code(), Some(contract::Code::MoveFailed), "{returned}");
}

#[tokio::test]
async fn a_broker_that_answers_is_kept_through_restarts() {
    let mut scene = Scene::new(|_| {}).await;
    let other = Broker::start().await;
    let url: url::Url = format!("mqtt://127.0.0.1:{}", other.port).parse().expect("a URL");
    scene.options.moves.move_to(url);
    let address = format!("127.0.0.1:{}", other.port);
    scene.notice(|notice| *notice == Notice::Moving(address.clone())).await;
    scene.notice(|notice| *notice == Notice::Connected).await;
    scene.options.power.cut();
    scene.notice(|notice| *notice == Notice::PowerCut).await;
    scene.notice(|notice| *notice == Notice::Connected).await;
    // The old broker is told nothing any more, not even that the device is gone and back.
    let said = timeout(Duration::from_millis(300), scene.report("1.0.0")).await;
    assert!(said.is_err(), "it reports to the broker that it left");
}

#[tokio::test]
async fn a_device_that_trusts_keys_takes_only_what_they_signed() {
    let key = SigningKey::generate(Scheme::EcdsaP256).expect("a key");
    let other = SigningKey::generate(Scheme::EcdsaP256).expect("a key");
    let trusted = key.public().digest();
    let mut scene = Scene::new(|options| options.trusted_keys = vec![trusted]).await;
    let plain = firmware("1.1.0", Behaviour::Healthy);
    let by_other = sign(&plain, &other).expect("signed");
    for (image, code) in [(plain.clone(), "[unsigned]"), (by_other, "[untrusted_key]")] {
        let (server, _) = serve(image, Manner::Well).await;
        scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
        let status = scene.status().await;
        assert!(status.starts_with("FAILED ") && status.ends_with(code), "{status}");
    }
    let (server, _) = serve(sign(&plain, &key).expect("signed"), Manner::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    let report = scene.report("1.1.0").await;
    assert!(!report.lacks.iter().any(|lack| lack == "signatures"), "{:?}", report.lacks);
    assert_eq!(scene.status().await, "SUCCESS");
}
