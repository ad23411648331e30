//! On an external broker: a real Mosquitto.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use contract::TopicKind;
use fleet::UpdateState;
use serde_json::json;

use crate::error::Error;

use super::rig::{Actor, BY, Rig, id, until};

struct Mosquitto {
    child: Child,
    port: u16,
}

impl Mosquitto {
    async fn start(folder: &Path) -> Self {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        Self::at(port, folder).await
    }

    async fn at(port: u16, folder: &Path) -> Self {
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let program = program.expect("this test needs mosquitto: apt-get install mosquitto");
        let (settings, rights) = (folder.join("mosquitto.conf"), folder.join("acl"));
        let acl = if rights.exists() { format!("acl_file {}\n", rights.display()) } else { String::new() };
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser {user}\n{acl}");
        std::fs::write(&settings, text).expect("written");
        let child =
            Command::new(program).arg("-c").arg(settings).stderr(Stdio::null()).spawn().expect("starts");
        until("mosquitto listens", || async { std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() })
            .await;
        Self { child, port }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_a_device_says_while_the_server_is_down_completes_its_update() {
    let folder = tempfile::tempdir().expect("a folder");
    let mosquitto = Mosquitto::start(folder.path()).await;
    let rig = Rig::with(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"", mosquitto.port)).await;
    rig.deploy("p", "1.1.0", json!({}));
    until("the catalog was read", || async {
        rig.services().releases.default_product(&rig.running.db).await.expect("read").is_some()
    })
    .await;
    let device = Actor::connect(mosquitto.port, "d1", "").await;
    device.leave(TopicKind::Version, "1.0.0").await;
    until("it is known", || async { rig.services().devices.show(&id("d1")).await.is_ok() }).await;
    assert_eq!(rig.show("d1").await.product.as_deref(), Some("p"), "the only product there is");
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    let Rig { folder: data, running, more } = rig;
    running.stop().await.expect("stops");
    device.say(TopicKind::Status, "SUCCESS").await;
    let rig = Rig::within(data, &more).await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    let shown = rig.show("d1").await;
    assert_eq!(shown.version.expect("a version"), "1.1.0", "what was retained is older");
    assert_eq!(device.triggers().len(), 1);
    rig.services().devices.remove(&BY, &id("d1")).await.expect("removed");
    let rig = rig.restart().await;
    assert!(rig.services().devices.show(&id("d1")).await.is_err(), "what it had left there is gone");
}

/// A connection whose last will says `offline` once it is dropped.
struct EarlierConnection(Child);

impl EarlierConnection {
    async fn open(port: u16, more: &[&str]) -> Self {
        let mut command = Command::new("stdbuf");
        command.args([
            "-oL",
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-t",
            "devices/d1/ota",
            "-d",
        ]);
        command.args(["--will-topic", "devices/d1/presence", "--will-payload", "Offline", "--will-qos", "1"]);
        let child = command.args(more).stdout(Stdio::piped()).spawn();
        let mut child = child
            .expect("this test needs mosquitto_sub and stdbuf: apt-get install mosquitto-clients coreutils");
        let out = child.stdout.take().expect("piped");
        let subscribed = tokio::task::spawn_blocking(move || {
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok);
            let subscribed = lines.any(|line| line.contains("Subscribed"));
            // Read on, or it would be killed by its own output.
            std::thread::spawn(move || lines.for_each(drop));
            subscribed
        });
        assert!(subscribed.await.expect("read"), "it has subscribed");
        Self(child)
    }
}

impl Drop for EarlierConnection {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_last_will_that_comes_late_does_not_outlast_what_the_device_says() {
    for retain in [&["--will-retain"][..], &[]] {
        let folder = tempfile::tempdir().expect("a folder");
        let mosquitto = Mosquitto::start(folder.path()).await;
        let rig = Rig::with(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"", mosquitto.port)).await;
        let earlier = EarlierConnection::open(mosquitto.port, retain).await;
        let device = Actor::connect(mosquitto.port, "d1", "").await;
        device.leave(TopicKind::Presence, "online").await;
        device.leave(TopicKind::Version, r#"{"version":"1.0.0","product":"p"}"#).await;
        until("it is known", || async { rig.services().devices.show(&id("d1")).await.is_ok() }).await;
        rig.until_online("d1").await;
        drop(earlier);
        until("its earlier connection's will", || async { !rig.show("d1").await.online }).await;
        device.say(TopicKind::Progress, r#"{"phase":"download"}"#).await;
        rig.until_online("d1").await;
        drop(EarlierConnection::open(mosquitto.port, retain).await);
        until("another will", || async { !rig.show("d1").await.online }).await;
        // What is retained by now is told to the server that starts.
        let rig = rig.restart().await;
        device.say(TopicKind::Version, r#"{"version":"1.0.1"}"#).await;
        rig.until_version("d1", "1.0.1").await;
        rig.until_online("d1").await;
        let rig = rig.restart().await;
        device.leave(TopicKind::Version, r#"{"version":"1.0.2"}"#).await;
        rig.until_version("d1", "1.0.2").await;
        assert!(rig.show("d1").await.online);
    }
}

#[tokio::test]
async fn while_the_broker_is_away_nobody_is_online_and_the_server_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mosquitto = Mosquitto::start(folder.path()).await;
    let rig = Rig::with(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"", mosquitto.port)).await;
    rig.deploy("p", "1.1.0", json!({}));
    let device = Actor::connect(mosquitto.port, "d1", "").await;
    device.say(TopicKind::Version, r#"{"version":"1.0.0","product":"p"}"#).await;
    until("it is known", || async { rig.services().devices.show(&id("d1")).await.is_ok() }).await;
    let port = mosquitto.port;
    drop(mosquitto);
    until("it is noticed", || async { !rig.services().health.problems().await.is_empty() }).await;
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "offline");
    assert!(answer.reason.contains("broker"), "{}", answer.reason);
    assert!(matches!(rig.services().devices.remove(&BY, &id("d1")).await, Err(Error::Refused(_))));
    let forced = rig.services().updates.check(&BY, &id("d1"), true).await.expect("decides");
    assert_eq!(forced.decision, "offered");
    assert!(forced.reason.contains("as soon as"), "{}", forced.reason);
    assert!(rig.waits("d1").await && device.triggers().is_empty());
    let _mosquitto = Mosquitto::at(port, folder.path()).await;
    let device = Actor::connect(port, "d1", "").await;
    rig.until_sent("d1").await;
    // It may have been sent before the device was there: it was forced.
    device.say(TopicKind::Request, "url_expired").await;
    device.until_triggers(1).await;
}

#[tokio::test]
async fn a_trigger_that_the_broker_refuses_is_named_until_it_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let rights = folder.path().join("acl");
    std::fs::write(
        &rights,
        "topic readwrite devices/+/version\ntopic read devices/#\nuser d1\ntopic readwrite devices/d1/#\n",
    )
    .expect("written");
    let mosquitto = Mosquitto::start(folder.path()).await;
    let more = format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"", mosquitto.port);
    let rig = Rig::with(&more).await;
    rig.deploy("p", "1.1.0", json!({}));
    let device = Actor::connect(mosquitto.port, "d1", "").await;
    let report = r#"{"version":"1.0.0","product":"p"}"#;
    device.say(TopicKind::Version, report).await;
    until("it is known", || async { rig.services().devices.show(&id("d1")).await.is_ok() }).await;
    let said = async || rig.services().updates.check(&BY, &id("d1"), true).await.expect("decides");
    let answer = said().await;
    let names_it = |text: &str| text.contains("not authorized") && text.contains("devices/d1/ota");
    assert!(answer.decision == "offered" && names_it(&answer.reason), "{}", answer.reason);
    let again = said().await;
    assert!(again.decision == "in_progress" && names_it(&again.reason), "{}", again.reason);
    let shown = async || rig.show("d1").await.update.expect("an update");
    let first = shown().await;
    assert!(names_it(&first.reason.expect("a reason")) && first.cause.is_some());
    // As if it had waited for an hour.
    rig.change_update(first.id, |row| row.heard_at -= 3_600_000).await;
    rig.until_state("d1", UpdateState::TimedOut).await;
    assert!(names_it(&shown().await.reason.expect("a reason")), "it does not say that the device was silent");

    let kinds = async |update: i64| -> Vec<String> {
        let events = rig.services().updates.events(&id("d1"), update, None, None).await.expect("read");
        events.items.into_iter().map(|event| event.kind).collect()
    };
    assert!(kinds(first.id).await.contains(&"refused".to_owned()));

    std::fs::write(&rights, "topic readwrite devices/#\nuser d1\ntopic readwrite devices/d1/#\n")
        .expect("written");
    let reread = Command::new("kill").args(["-HUP", &mosquitto.child.id().to_string()]).status();
    assert!(reread.expect("told").success());
    // What was refused is sent again after a pause; a new offer is sent at once.
    until("the broker has read its rights", || async {
        said().await;
        let is_sent = !shown().await.waiting;
        if !is_sent {
            rig.services().updates.cancel(&BY, shown().await.id).await.expect("cancelled");
        }
        is_sent
    })
    .await;
    device.until_triggers(1).await;
    assert_eq!(shown().await.reason, None);
    assert!(kinds(shown().await.id).await.contains(&"sent".to_owned()));
}

#[tokio::test]
async fn a_broker_that_delivers_nothing_is_a_problem_that_names_the_topics() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("acl"), "topic write devices/#\n").expect("written");
    let mosquitto = Mosquitto::start(folder.path()).await;
    let rig = Rig::with(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"", mosquitto.port)).await;
    let problems = rig.services().health.problems().await.join("; ");
    assert!(
        problems.contains("devices/+/version") && problems.contains("devices/+/ota/status"),
        "{problems}"
    );
}
