//! A whole server on loopback with a folder of its own, and devices made of a plain MQTT client.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::image::Chip;
use ::image::build::Build;
use contract::{DeviceId, Topic, TopicKind, VersionTopic};
use rumqttc::{AsyncClient, Broker, Event, Incoming, MqttOptions, PublishOptions, QoS};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::database::database_url;
use crate::config::Config;
use crate::db::update::UpdateRow;
use crate::db::waiting;
use crate::run::{Running, StartOptions, start};
use crate::services::Services;
use crate::updates::Cursor;
use api::{Device, UpdateState};

/// Who writes in tests.
pub(crate) static BY: crate::actor::Actor = crate::actor::Actor::SERVER;

pub(super) fn id(text: &str) -> DeviceId {
    text.parse().expect("an id")
}

/// From where somebody logs in.
pub(super) const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Waits for a condition, 20 s at most.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn config(folder: &Path, more: &str) -> Config {
    let environment = [
        ("UPDRAFT_HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("UPDRAFT_MQTT__LISTEN", "127.0.0.1:0".to_owned()),
        ("UPDRAFT_STORE__URL", format!("file:{}", folder.join("store").display())),
        ("UPDRAFT_STORE__REFRESH_S", "1".to_owned()),
        ("UPDRAFT_DATABASE__URL", database_url(folder)),
    ];
    let names_database = more.contains("[database]");
    let environment =
        environment.into_iter().filter(|(name, _)| !(names_database && name.contains("DATABASE")));
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    Config::parse("updraft.toml", more, environment).expect("a valid configuration")
}

pub(super) struct Rig {
    pub(super) folder: TempDir,
    pub(super) running: Running,
    pub(super) more: String,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::with("").await
    }

    /// With more of `updraft.toml`.
    pub(super) async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("store")).expect("made");
        Self::within(folder, more).await
    }

    pub(super) async fn within(folder: TempDir, more: &str) -> Self {
        let running = start(config(folder.path(), more), StartOptions::default()).await.expect("starts");
        let rig = Self { folder, running, more: more.to_owned() };
        let mut link = rig.running.mqtt.link();
        let up = link.wait_for(|state| *state == crate::mqtt::LinkState::Up);
        tokio::time::timeout(Duration::from_secs(20), up).await.expect("the link comes up").expect("a link");
        rig
    }

    /// Stops it and starts it again on the same folder.
    pub(super) async fn restart(self) -> Self {
        let Self { folder, running, more } = self;
        running.stop().await.expect("stops");
        Self::within(folder, &more).await
    }

    pub(super) fn services(&self) -> &Services {
        self.running.services()
    }

    /// Puts a release into the store, as another program would. `more` goes into its metadata.
    pub(super) fn release(&self, product: &str, version: &str, more: serde_json::Value) {
        let folder = self.folder.path().join(format!("store/{product}/releases/v{version}"));
        put(&folder, version, product, more);
    }

    /// Points production to a version, as another program would.
    pub(super) fn deploy(&self, product: &str, version: &str, more: serde_json::Value) {
        self.release(product, version, more.clone());
        put(&self.folder.path().join(format!("store/{product}/production")), version, product, more);
    }

    pub(super) fn block(&self, product: &str, text: &str) {
        let folder = self.folder.path().join(format!("store/{product}/rollback"));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("blocked_versions.json"), text).expect("written");
    }

    /// Registers a device and connects it.
    pub(super) async fn device(&self, name: &str, product: &str) -> Actor {
        let product = product.parse().expect("a product");
        let registered =
            self.services().devices.register(&BY, &id(name), Some(&product)).await.expect("registers");
        self.connect(name, &registered.mqtt_password).await
    }

    pub(super) async fn connect(&self, name: &str, password: &str) -> Actor {
        let actor = Actor::connect(self.mqtt_port(), name, password).await;
        self.until_online(name).await;
        actor
    }

    pub(super) fn mqtt_port(&self) -> u16 {
        self.running.mqtt_addr().expect("embedded").port()
    }

    pub(super) async fn until_online(&self, device: &str) {
        until("the device is online", || async { self.show(device).await.online }).await;
    }

    /// Pushes the updates of all who wait and are there.
    pub(super) async fn sweep(&self) {
        let mut at = Some(Cursor::default());
        while let Some(cursor) = at {
            at = self.services().updates.sweep(cursor).await.expect("looked through");
        }
    }

    /// Whether a device's trigger is still to be sent.
    pub(super) async fn waits(&self, device: &str) -> bool {
        !waiting::updates_of(&self.running.db, &[id(device)]).await.expect("read").is_empty()
    }

    pub(super) async fn until_sent(&self, device: &str) {
        until("the trigger is noted as sent", || async { !self.waits(device).await }).await;
    }

    /// Changes an update's row, as something else might have.
    pub(super) async fn change_update(&self, id: i64, change: impl FnOnce(&mut UpdateRow)) {
        let write = self.running.db.write(&BY).await.expect("writes");
        let (mut device, mut update) = write.lock_update(id).await.expect("read").expect("there");
        change(&mut update);
        write.save(std::iter::once((&mut device, Some(&update)))).await.expect("saved");
        write.commit().await.expect("committed");
    }

    pub(super) async fn decision(&self, device: &str) -> String {
        self.services().updates.check(&BY, &id(device), false).await.expect("decides").decision
    }

    pub(super) async fn show(&self, device: &str) -> Device {
        self.services().devices.show(&id(device)).await.expect("known")
    }

    /// Waits for the device's newest update to be in a state.
    pub(super) async fn until_state(&self, device: &str, state: UpdateState) {
        until(state.as_str(), || async {
            self.show(device).await.update.is_some_and(|update| update.state == state)
        })
        .await;
    }

    pub(super) async fn until_version(&self, device: &str, version: &str) {
        until("the version is known", || async {
            self.show(device).await.version.is_some_and(|known| known == version)
        })
        .await;
    }
}

/// The image that [`put`] puts there, for a chip that is known; else for the ESP32-S3.
pub(super) fn image_of(product: &str, version: &str, chip: Option<&str>) -> Vec<u8> {
    let chip = chip.and_then(Chip::from_name).unwrap_or(Chip::Esp32S3);
    let project_name = product.to_owned();
    Build { project_name, size_bytes: 1024, ..Build::new(chip, version) }.bytes()
}

/// The three files; the version last.
pub(super) fn put(folder: &Path, version: &str, product: &str, more: serde_json::Value) {
    std::fs::create_dir_all(folder).expect("made");
    let image = image_of(product, version, more["chip"].as_str());
    let mut metadata = serde_json::json!({
        "version": version, "product": product, "chip": "esp32s3", "size": image.len(),
        "sha256": hex::encode(Sha256::digest(&image)),
    });
    if let (Some(metadata), serde_json::Value::Object(more)) = (metadata.as_object_mut(), more) {
        metadata.extend(more);
    }
    std::fs::write(folder.join("firmware.bin"), image).expect("written");
    std::fs::write(folder.join("metadata.json"), metadata.to_string()).expect("written");
    std::fs::write(folder.join("version.txt"), format!("{version}\n")).expect("written");
}

/// A device that is nothing but an MQTT client. Dropped, its connection ends.
pub(super) struct Actor {
    pub(super) password: String,
    device: DeviceId,
    client: AsyncClient,
    triggers: Arc<Mutex<Vec<String>>>,
    subscribed: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Actor {
    /// Connects, and listens to its triggers.
    pub(super) async fn connect(port: u16, name: &str, password: &str) -> Self {
        let actor = Self::open(port, name, password);
        actor.subscribe().await;
        actor
    }

    /// Connects, and does not listen yet.
    pub(super) fn open(port: u16, name: &str, password: &str) -> Self {
        let mut options = MqttOptions::new(name, Broker::tcp("127.0.0.1", port));
        options.set_credentials(name, password.to_owned());
        let (client, mut events) = AsyncClient::builder(options).capacity(10).build();
        let (triggers, subscribed) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Notify>::default());
        let (seen, tell) = (Arc::clone(&triggers), Arc::clone(&subscribed));
        let task = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Incoming::SubAck(_)) => tell.notify_one(),
                    Event::Incoming(Incoming::Publish(publish)) => {
                        let text = String::from_utf8(publish.payload.to_vec()).expect("text");
                        seen.lock().expect("whole").push(text);
                    }
                    _ => {}
                }
            }
        });
        Self { password: password.to_owned(), device: id(name), client, triggers, subscribed, task }
    }

    pub(super) async fn subscribe(&self) {
        self.listen(TopicKind::Trigger).await;
    }

    /// What comes is among the triggers.
    pub(super) async fn listen(&self, kind: TopicKind) {
        let topic = self.topic(kind);
        self.client.subscribe(topic, QoS::AtLeastOnce).await.expect("subscribes");
        let subscribed = self.subscribed.notified();
        tokio::time::timeout(Duration::from_secs(10), subscribed).await.expect("in time");
    }

    fn topic(&self, kind: TopicKind) -> String {
        Topic { kind, device: self.device.clone() }.write(&VersionTopic::default()).as_str().to_owned()
    }

    pub(super) async fn say(&self, kind: TopicKind, payload: &str) {
        self.publish(kind, payload, false).await;
    }

    /// Leaves it with the broker too.
    pub(super) async fn leave(&self, kind: TopicKind, payload: &str) {
        self.publish(kind, payload, true).await;
    }

    async fn publish(&self, kind: TopicKind, payload: &str, retain: bool) {
        let options = PublishOptions::at_least_once().retain(retain);
        self.client.publish(self.topic(kind), payload.to_owned(), options).await.expect("queued");
    }

    pub(super) fn task_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) fn triggers(&self) -> Vec<String> {
        self.triggers.lock().expect("whole").clone()
    }

    pub(super) async fn until_triggers(&self, count: usize) {
        until("triggers", || async { self.triggers().len() >= count }).await;
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
