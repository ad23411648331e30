//! All services, and how they are made of one another. Only the start and the router's state have all of them.

use store::Store;
use url::Url;

use crate::access::{Access, Publishers};
use crate::config::Config;
use crate::db::Db;
use crate::devices::{Broker, Devices, Presence};
use crate::events::Events;
use crate::health::Health;
use crate::mqtt::Connection;
use crate::releases::{Releases, StoreHealth};
use crate::tasks::Tasks;
use crate::updates::{Messages, Rollouts, Updates, Urls};

/// What the server can do, whoever asks.
#[derive(Clone)]
pub struct Services {
    /// Users, tokens, sessions.
    pub access: Access,
    pub(crate) publishers: Publishers,
    /// Devices.
    pub devices: Devices,
    /// What devices are offered.
    pub updates: Updates,
    pub(crate) messages: Messages,
    /// How versions are given to the fleet.
    pub rollouts: Rollouts,
    /// Releases, channels, blocked versions.
    pub releases: Releases,
    pub(crate) store_health: StoreHealth,
    /// What does not answer.
    pub health: Health,
    /// What happens.
    pub events: Events,
}

pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) public_url: &'a Url,
    pub(crate) db: Db,
    pub(crate) store: Store,
    pub(crate) url_key: [u8; 32],
    pub(crate) access: Access,
    pub(crate) presence: Presence,
    pub(crate) events: Events,
    pub(crate) broker: Broker,
    pub(crate) connection: &'a Connection,
    pub(crate) tasks: Tasks,
}

impl Services {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let Parts { config, public_url, db, store, events, connection, .. } = parts;
        let publisher = connection.publisher();
        let releases = Releases::new(config, public_url.clone(), db.clone(), store.clone(), events.clone());
        let devices = Devices::new(
            db.clone(),
            events.clone(),
            parts.presence,
            publisher,
            parts.broker,
            releases.clone(),
        );
        let urls = Urls::new(config, store.clone(), public_url, parts.url_key);
        let updates = Updates::new(
            config,
            db.clone(),
            events.clone(),
            connection,
            devices.clone(),
            releases.clone(),
            urls,
        );
        let messages = Messages::new(config, db.clone(), events.clone(), updates.clone(), releases.clone());
        let offline_after_s = config.mqtt.offline_after_s;
        let rollouts = Rollouts::new(
            offline_after_s,
            db.clone(),
            events.clone(),
            devices.clone(),
            releases.clone(),
            updates.clone(),
        );
        let store_health = StoreHealth::new(store, events.clone());
        let health =
            Health::new(db, store_health.clone(), (connection.link(), connection.delivery()), parts.tasks);
        let access = parts.access;
        let publishers = Publishers::new(access.clone(), public_url);
        Self {
            access,
            publishers,
            devices,
            updates,
            messages,
            rollouts,
            releases,
            store_health,
            health,
            events,
        }
    }
}
