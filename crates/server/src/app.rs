//! What the server can do, whoever asks: the API, the dashboard and the command line call these and nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use store::{Store, StoreError};
use tokio::sync::{Semaphore, broadcast};
use url::Url;

use crate::broker::Embedded;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::db::Db;
use crate::events::Events;
use crate::model::{Event, Judgement};
use crate::mqtt::Mqtt;

mod auth;
mod check;
mod device;
mod firmware;
mod health;
mod login;
mod messages;
mod oidc;
mod online;
mod show;
mod slots;
mod trigger;

pub(crate) use self::oidc::Admission;
pub use auth::{Auth, FIRST_USER, FirstLogin, TokenInfo};
pub(crate) use auth::{digest, random_secret};
pub use firmware::Upload;
pub(crate) use firmware::WRITE_PATIENCE;
pub(crate) use messages::settle;
pub(crate) use slots::{SLOT_SIZES, Taught};

use self::oidc::Issuers;
use check::Damage;
use health::Health;
use messages::Strangers;
use online::Online;

/// Why something was not done. The sentence is for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such thing (404).
    #[error("{0}")]
    NotFound(String),
    /// What was asked is malformed (400).
    #[error("{0}")]
    Invalid(String),
    /// Well-formed, and refused; nothing was changed (409).
    #[error("{0}")]
    Refused(String),
    /// The gate refuses an image, with all that it found.
    #[error("{error}")]
    Gate {
        /// The same as one sentence: `Invalid` or `Refused`.
        error: Box<Self>,
        /// What it found.
        judgement: Box<Judgement>,
    },
    /// A signed or short URL that is expired or tampered with, or a publisher that is not trusted with this (403).
    #[error("{0}")]
    Forbidden(String),
    /// A statement of who somebody is, which proves nothing (401).
    #[error("{0}")]
    Unproven(String),
    /// Who would have to vouch for somebody does not answer (503).
    #[error("{0}")]
    IssuerUnavailable(String),
    /// The store did not answer (503).
    #[error("{0}")]
    StoreUnavailable(String),
    /// The store takes longer than anybody waits, and what was asked goes on (503).
    #[error("{0}")]
    GoesOn(String),
    /// Ours; the sentence does not leave the log (500).
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl AppError {
    /// The same, after what had been done already: who hears of the failure has to know that.
    fn after(self, done: &str) -> Self {
        let told = |why: String| format!("{done}: {why}");
        match self {
            Self::NotFound(why) => Self::NotFound(told(why)),
            Self::Invalid(why) => Self::Invalid(told(why)),
            Self::Refused(why) => Self::Refused(told(why)),
            Self::StoreUnavailable(why) => Self::StoreUnavailable(told(why)),
            other => other,
        }
    }
}

impl From<DbErr> for AppError {
    fn from(error: DbErr) -> Self {
        Self::Internal(anyhow::Error::new(error).context("the database failed"))
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(cause) => Self::NotFound(cause.sentence()),
            StoreError::Invalid(cause) => Self::Invalid(cause.sentence()),
            StoreError::Refused(cause) => Self::Refused(cause.sentence()),
            StoreError::Unavailable { cause, .. } => Self::StoreUnavailable(cause.sentence()),
        }
    }
}

/// Who asks: the name for the log, and what they may do.
#[derive(Debug, Clone)]
pub struct Actor {
    /// User or token name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The product that it is confined to, whatever the role may.
    pub scope: Option<::oidc::Scope>,
}

/// What an actor may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything but tokens.
    Operator,
    /// Read, publish and promote.
    Ci,
    /// Read.
    Viewer,
}

impl Role {
    /// Every role, the mightiest first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Ci, Self::Viewer];

    /// The word on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Ci => "ci",
            Self::Viewer => "viewer",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// The running server. Clones are the same server.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    public_url: Url,
    db: Db,
    auth: Auth,
    store: Store,
    url_key: [u8; 32],
    catalog: Catalog,
    events: Events,
    online: Online,
    health: Health,
    strangers: Strangers,
    issuers: Issuers,
    damage: Damage,
    promotions: Arc<Semaphore>,
    /// Both are set late, since they call the App.
    mqtt: OnceLock<Mqtt>,
    embedded: Mutex<Option<Arc<Embedded>>>,
    /// Updates whose trigger is being sent.
    sending: Mutex<HashSet<i64>>,
    messages: AtomicU64,
    /// Held while it is counted, so that many who look at once count once.
    counted: tokio::sync::Mutex<HashMap<Option<contract::ProductName>, show::Counted>>,
}

/// What an App is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) public_url: Url,
    pub(crate) db: Db,
    pub(crate) store: Store,
    pub(crate) url_key: [u8; 32],
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, public_url, db, store, url_key } = parts;
        let events = Events::new();
        let issuers = Issuers::new(&config.trusted_publishers);
        let auth = Auth::new(db.clone(), &config.trusted_publishers);
        Self {
            inner: Arc::new(Inner {
                config,
                public_url,
                auth,
                db,
                catalog: Catalog::new(store.clone(), events.clone()),
                store,
                url_key,
                online: Online::default(),
                health: Health::default(),
                strangers: Strangers::default(),
                issuers,
                damage: Damage::default(),
                promotions: Arc::new(Semaphore::new(firmware::PROMOTIONS_MAX)),
                events,
                mqtt: OnceLock::new(),
                embedded: Mutex::default(),
                sending: Mutex::default(),
                messages: AtomicU64::new(0),
                counted: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Gives it the broker in this process, so that it can disconnect a device that is removed.
    pub(crate) fn set_embedded(&self, embedded: Embedded) {
        *self.inner.embedded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(embedded));
    }

    fn embedded(&self) -> Option<Arc<Embedded>> {
        self.inner.embedded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the MQTT client, then the broker in this process.
    pub(crate) async fn disconnect(&self) {
        if let Some(mqtt) = self.mqtt() {
            mqtt.stop().await;
        }
        let embedded = self.inner.embedded.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(embedded) = embedded.and_then(Arc::into_inner) {
            embedded.stop().await;
        }
    }

    /// Gives it its MQTT client.
    pub(crate) fn set_mqtt(&self, mqtt: Mqtt) {
        assert!(self.inner.mqtt.set(mqtt).is_ok(), "the MQTT client is set once");
    }

    pub(crate) fn mqtt(&self) -> Option<&Mqtt> {
        self.inner.mqtt.get()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    fn damage(&self) -> &Damage {
        &self.inner.damage
    }

    pub(crate) fn announce(&self) -> &Events {
        &self.inner.events
    }

    /// What happens from now on. A receiver that lags shows everything anew.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// The bucket, for the bytes of local signed URLs and short ones.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Where browsers and devices reach this server.
    pub fn public_url(&self) -> &Url {
        &self.inner.public_url
    }

    /// Users and tokens.
    pub fn auth(&self) -> &Auth {
        &self.inner.auth
    }

    fn count_messages(&self, count: usize) {
        self.inner.messages.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

/// As the API says it.
pub(crate) fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests;
