//! What a device is, and the switches by which somebody acts on it while it runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::{DeviceId, ProductName, Version, VersionTopic};
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use crate::bootloader::Rollback;
use crate::flash::Cut;

/// How fast a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a restart takes.
    pub restart: Duration,
    /// How fast it downloads; `None`: as fast as it can.
    pub bytes_per_s: Option<u32>,
}

impl Pace {
    /// As fast as is useful in tests.
    pub const FAST: Self = Self { restart: Duration::from_millis(300), bytes_per_s: None };
    /// So slow that a person sees each phase.
    pub const VISIBLE: Self = Self { restart: Duration::from_secs(2), bytes_per_s: Some(96 * 1024) };
}

/// Cuts the power of a running device; it comes back after a restart's time.
#[derive(Debug, Clone, Default)]
pub struct PowerSwitch(Arc<Notify>);

impl PowerSwitch {
    /// Cuts the power now.
    pub fn cut(&self) {
        self.0.notify_one();
    }

    pub(crate) async fn cut_comes(&self) {
        self.0.notified().await;
    }
}

/// Tells a running device to move to another broker; it comes back if that one does not work.
#[derive(Debug, Clone, Default)]
pub struct MoveSwitch(Arc<Mutex<Option<Url>>>, Arc<Notify>);

impl MoveSwitch {
    /// Moves to a broker, `mqtt://host:port` or `mqtts://host:port`.
    pub fn move_to(&self, broker: Url) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(broker);
        self.1.notify_one();
    }

    pub(crate) async fn wanted(&self) -> Option<Url> {
        self.1.notified().await;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A time in which a device is not to be updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotNow {
    /// When it is over.
    pub until: Instant,
    /// Why, in words.
    pub reason: String,
    /// What is offered is downloaded and verified meanwhile, and installed afterwards.
    pub downloads: bool,
}

/// What a device is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its id, which is its MQTT user name and client id too.
    pub id: DeviceId,
    /// What it takes itself for.
    pub product: Option<ProductName>,
    /// `mqtt://host:port` or `mqtts://host:port`.
    pub broker: Url,
    /// Its MQTT password.
    pub password: Option<String>,
    /// Where versions are reported.
    pub version_topic: VersionTopic,
    /// The file of its flash; `None`: in memory.
    pub flash_path: Option<PathBuf>,
    /// The image it leaves the factory with; used if the flash is new.
    pub firmware: Arc<[u8]>,
    /// That image's version, where the image does not say it itself.
    pub version: Option<Version>,
    /// How its bootloader was built.
    pub rollback: Rollback,
    /// How fast it is.
    pub pace: Pace,
    /// How long a new image has to reach the broker.
    pub self_test: Duration,
    /// How long a silent download connection is kept.
    pub stall: Duration,
    /// The first pause after a lost download connection.
    pub back_off: Duration,
    /// How long a new broker has to be reached before the one before it counts again.
    pub move_time: Duration,
    /// Digests of the keys that are compiled into its firmware; with none it takes unsigned images.
    pub trusted_keys: Vec<[u8; 32]>,
    /// By so many of these keys an image must be signed.
    pub signatures_required: u8,
    /// When it is not to be updated.
    pub not_now: Option<NotNow>,
    /// Moves it to another broker at any time.
    pub moves: MoveSwitch,
    /// A power cut to come.
    pub cut: Option<Cut>,
    /// Cuts the power at any time.
    pub power: PowerSwitch,
}

impl Options {
    /// A device with the usual settings, in memory.
    pub fn new(id: DeviceId, broker: Url, firmware: Arc<[u8]>) -> Self {
        Self {
            id,
            product: None,
            broker,
            password: None,
            version_topic: VersionTopic::default(),
            flash_path: None,
            firmware,
            version: None,
            rollback: Rollback::On,
            pace: Pace::FAST,
            self_test: Duration::from_mins(1),
            stall: Duration::from_secs(30),
            back_off: Duration::from_secs(1),
            move_time: Duration::from_mins(2),
            trusted_keys: Vec::new(),
            signatures_required: 1,
            not_now: None,
            moves: MoveSwitch::default(),
            cut: None,
            power: PowerSwitch::default(),
        }
    }
}
