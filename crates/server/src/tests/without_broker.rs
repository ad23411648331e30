//! Services without a broker: what an external one would send is handed to them.

use std::ops::Deref;
use std::sync::Arc;

use contract::TopicKind;
use object_store::ObjectStore;
use store::Store;
use tempfile::TempDir;
use tokio::sync::RwLock;
use url::Url;

use super::message;
use super::rig::{BY, config, id};
use crate::access::Access;
use crate::clock::now_ms;
use crate::config::{Admit, Config};
use crate::db::Db;
use crate::devices::Presence;
use crate::error::Error;
use crate::events::Events;
use crate::mqtt::{BrokerAddress, Connection, Handler, Message, MqttOptions};
use crate::services::{Parts, Services};
use crate::tasks::Tasks;
use api::DeviceQuery;

/// Services on a folder of their own.
#[derive(Clone)]
pub(super) struct Handed {
    pub(super) config: Config,
    pub(super) public_url: Url,
    pub(super) db: Db,
    services: Services,
}

impl Deref for Handed {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl Handed {
    /// Nothing is published: the connection is closed.
    async fn new(config: Config, db: Db, store: Store) -> Self {
        let public_url: Url = "http://127.0.0.1:1".parse().expect("a URL");
        let options = MqttOptions {
            broker: BrokerAddress::External("mqtt://127.0.0.1:1".parse().expect("a URL")),
            version_topic: config.mqtt.version_topic.clone(),
            client_id: "test".to_owned(),
        };
        let connection = Connection::open(options, Tasks::default()).expect("opened");
        let events = Events::new();
        let access = Access::new(db.clone(), &config.trusted_publishers);
        let services = Services::new(Parts {
            config: &config,
            public_url: &public_url,
            db: db.clone(),
            store,
            url_key: [1; 32],
            presence: Presence::begin(&config, db.clone(), events.clone(), access.clone())
                .await
                .expect("begins"),
            access,
            events,
            broker: Arc::new(RwLock::new(None)),
            connection: &connection,
            tasks: Tasks::default(),
        });
        connection.close().await;
        Self { config, public_url, db, services }
    }

    /// Another process on the same database and another or the same store, which has read nothing yet.
    pub(super) async fn again(&self, config: Config, store: Store) -> Self {
        Self::new(config, self.db.clone(), store).await
    }
}

impl Handed {
    /// Another server beside it, with connections of its own to the same database.
    pub(super) async fn beside(&self) -> Self {
        let db = Db::open(&self.config.database).await.expect("opens");
        Self::new(self.config.clone(), db, self.releases.store().clone()).await
    }
}

/// Services on a database of this URL.
pub(super) async fn handed_on(url: &str, more: &str) -> (TempDir, Handed) {
    handed(&format!("[database]\nurl = \"{url}\"\n{more}")).await
}

/// Services with this much configuration more.
pub(super) async fn handed(more: &str) -> (TempDir, Handed) {
    handed_through(more, |objects| objects).await
}

/// The same, with something between them and their store.
pub(super) async fn handed_through(
    more: &str,
    wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
) -> (TempDir, Handed) {
    let folder = tempfile::tempdir().expect("a folder");
    let more = format!("[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n{more}");
    let config = config(folder.path(), &more);
    let db = Db::open(&config.database).await.expect("opens");
    std::fs::create_dir_all(folder.path().join("store")).expect("made");
    let options = store::Options {
        public_url: Some("http://127.0.0.1:1".parse().expect("a URL")),
        signing_key: Some([1; 32]),
        ..store::Options::default()
    };
    let store = Store::open(&config.store.url, options).await.expect("opens").through(wrap);
    (folder, Handed::new(config, db, store).await)
}

#[tokio::test]
async fn on_an_external_broker_a_valid_report_makes_a_device_known() {
    let (_folder, app) = handed("[fleet]\nmax_devices = 2\ndefault_product = \"p\"").await;
    assert_eq!(app.config.fleet.admit, Admit::Reported);
    let batch = [
        message("a", TopicKind::Presence, "online"),
        message("a", TopicKind::Status, "SUCCESS"),
        message("a", TopicKind::Version, "nonsense"),
        message("a", TopicKind::Version, "1.0.0"),
        message("b", TopicKind::Version, r#"{"version":"2.0.0","product":"q"}"#),
        message("c", TopicKind::Version, "1.0.0"),
    ];
    app.messages.messages(&batch).await.expect("taken");
    let a = app.devices.show(&id("a")).await.expect("known");
    assert!(a.online && !a.registered && a.unreadable.is_none());
    assert_eq!(a.product.as_deref(), Some("p"));
    assert_eq!(app.devices.show(&id("b")).await.expect("known").product.as_deref(), Some("q"));
    assert!(matches!(app.devices.show(&id("c")).await, Err(Error::NotFound(_))), "there is room for two");
    app.messages.messages(&[message("a", TopicKind::Presence, "offline")]).await.expect("taken");
    assert!(!app.devices.show(&id("a")).await.expect("known").online);
    assert!(app.devices.show(&id("b")).await.expect("known").online, "heard just now");
    let later = now_ms() - 121_000;
    app.messages.take(&[message("b", TopicKind::Version, "2.0.0")], later).await.expect("taken");
    app.devices.presence().sweep(now_ms()).await.expect("swept");
    assert!(!app.devices.show(&id("b")).await.expect("known").online);
    let online = DeviceQuery { state: Some("offline".into()), ..DeviceQuery::default() };
    assert_eq!(app.devices.list(&online).await.expect("listed").items.len(), 2);
}

#[tokio::test]
async fn where_only_registered_devices_are_admitted_a_report_is_not_enough() {
    let (_folder, app) = handed("[fleet]\nadmit = \"registered\"").await;
    app.messages.messages(&[message("a", TopicKind::Version, "1.0.0")]).await.expect("taken");
    assert!(matches!(app.devices.show(&id("a")).await, Err(Error::NotFound(_))));
    app.devices.register(&BY, &id("a"), Some(&"p".parse().expect("a name"))).await.expect("registers");
    app.messages.messages(&[message("a", TopicKind::Version, "1.0.0")]).await.expect("taken");
    assert!(app.devices.show(&id("a")).await.expect("known").version.is_some());
    let nameless = app.devices.register(&BY, &id("b"), None).await;
    assert!(matches!(nameless, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_one_transaction() {
    let (_folder, app) = handed("").await;
    let batch: Vec<Message> =
        (0..1000).map(|n| message(&format!("d{}", n % 700), TopicKind::Version, "1.0.0")).collect();
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        app.messages.messages(&batch).await.expect("taken");
    }
    println!("5000 reports in {:?}", begun.elapsed());
    assert_eq!(app.devices.counts(None).await.expect("counted").devices, 700);
    assert_eq!(app.messages.taken(), 5000);
}
