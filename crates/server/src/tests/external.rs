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
        let settings = folder.join("mosquitto.conf");
        std::fs::write(&settings, format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
            .expect("written");
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
