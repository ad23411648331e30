//! A device from power-on to power-off: bootloader, image, agent, restart, over and over.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::otadata::Running;
use agent::{Agent, ResetReason, Settings};
use anyhow::Context;
use contract::{DeviceId, Outcome, ProductName, Progress, Reason, Version, VersionTopic};
use embedded_storage::nor_flash::ReadNorFlash;
use image::{Behaviour, Chip, Demo};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::bootloader::{self, NoBoot, Rollback};
use crate::flash::{Cut, Flash};
use crate::layout::{self, SLOTS};
use crate::net::{self, End};

/// The longest pause of a device that crashes again and again.
const CRASH_PAUSE_MAX: Duration = Duration::from_secs(30);

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
            moves: MoveSwitch::default(),
            cut: None,
            power: PowerSwitch::default(),
        }
    }
}

/// What an observer sees a device do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An image starts.
    Booted {
        /// `ota_0`, `ota_1`.
        slot: String,
        /// As far as known.
        version: Option<Version>,
        /// Not confirmed yet.
        on_trial: bool,
    },
    /// The image crashed.
    Crashed,
    /// No slot holds an image that boots.
    NoBootableApp,
    /// The broker was reached.
    Connected,
    /// The broker was lost, or not reached; in words.
    Disconnected(String),
    /// A trigger came, for this version if its URL says so.
    Triggered(Option<Version>),
    /// How far it is.
    Progress(Progress),
    /// The URL expired, a fresh one was asked for.
    UrlExpired,
    /// An attempt ended.
    Ended(Outcome, Reason),
    /// It connects anew, to the broker at this address.
    Moving(String),
    /// It restarts.
    Restarting,
    /// The power was cut.
    PowerCut,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted { slot, version, on_trial } => {
                let version = version.as_ref().map_or("an unknown version", Version::as_str);
                write!(f, "boots {version} from {slot}{}", if *on_trial { ", on trial" } else { "" })
            }
            Self::Crashed => f.write_str("the image crashed"),
            Self::NoBootableApp => f.write_str("no slot holds an image that boots; it must be flashed again"),
            Self::Connected => f.write_str("connected"),
            Self::Disconnected(why) => write!(f, "not connected: {why}"),
            Self::Triggered(Some(version)) => write!(f, "is told to update to {version}"),
            Self::Triggered(None) => f.write_str("is told to update"),
            Self::Progress(Progress { phase, done: 0, total }) if *total > 0 => {
                write!(f, "begins to {} {total} bytes", phase.as_str())
            }
            Self::Progress(Progress { phase, done, total: 0 }) => {
                write!(f, "{}: {done} bytes", phase.as_str())
            }
            Self::Progress(Progress { phase, done, total }) => {
                write!(f, "{}: {done} of {total} bytes", phase.as_str())
            }
            Self::UrlExpired => f.write_str("asks for a fresh URL"),
            Self::Ended(outcome, reason) if reason.as_str().is_empty() => f.write_str(outcome.as_str()),
            Self::Ended(outcome, reason) => write!(f, "{} {reason}", outcome.as_str()),
            Self::Moving(address) => write!(f, "connects to {address}"),
            Self::Restarting => f.write_str("restarts"),
            Self::PowerCut => f.write_str("the power was cut"),
        }
    }
}

/// Where notices go; nobody need listen.
#[derive(Debug, Clone, Default)]
pub struct Observer(Option<mpsc::UnboundedSender<(DeviceId, Notice)>>);

impl Observer {
    /// An observer and what it sees.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<(DeviceId, Notice)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    pub(crate) fn tell(&self, id: &DeviceId, notice: Notice) {
        if let Some(sender) = &self.0 {
            // Whoever stopped listening does not want to know.
            let _ = sender.send((id.clone(), notice));
        }
    }
}

/// Opens the flash; a new one gets layout and first image. Says which chip this device is.
pub fn provision(options: &Options) -> anyhow::Result<(Flash, Chip)> {
    let summary = image::verify(&options.firmware).context("the device's first image")?;
    let chip = summary.chip().context("the device's first image is for a chip that is not known")?;
    let (mut flash, new) = match &options.flash_path {
        None => (Flash::in_memory(), true),
        Some(path) => Flash::in_file(path).with_context(|| format!("the flash file {}", path.display()))?,
    };
    if new {
        layout::provision(&mut flash, &options.firmware, &summary, options.version.as_ref())?;
        flash.keep().context("the new flash file")?;
    }
    flash.cut_at(options.cut);
    Ok((flash, chip))
}

/// Runs a device until it is stopped. An error is one that no waiting mends: a refused password at the first
/// connect, an image that is none, a flash file that cannot be used.
pub async fn run(options: Options, stop: CancellationToken, observer: Observer) -> anyhow::Result<()> {
    let (mut flash, chip) = provision(&options)?;
    // As keys that are compiled in are: there for good.
    let trusted_keys: &'static [[u8; 32]] = Vec::leak(options.trusted_keys.clone());
    let mut reset = ResetReason::PowerOn;
    let mut crashes = 0_u32;
    let mut ever_connected = false;
    let tell = |notice| observer.tell(&options.id, notice);
    while !stop.is_cancelled() {
        let running = match bootloader::boot(&mut flash, chip, options.rollback) {
            Ok(running) => running,
            Err(NoBoot::Flash(_)) if !flash.is_powered() => {
                reset = starts_again(End::PowerCut, &mut flash, &options, &observer).await;
                continue;
            }
            Err(error) => {
                tell(Notice::NoBootableApp);
                return Err(error).context(format!("{}", options.id));
            }
        };
        let behaviour = behaviour(&mut flash, running)?;
        if behaviour == Behaviour::CrashesAtBoot {
            tell(Notice::Crashed);
            pause_after_crash(&options, crashes, &stop).await;
            crashes += 1;
            reset = ResetReason::Panic;
            continue;
        }
        crashes = 0;
        let started = Instant::now();
        let settings = Settings { trusted_keys, ..settings(&options, chip, reset) };
        let mut agent = Box::new(Agent::new(settings));
        let end = match agent.boot(&mut flash, running, 0) {
            Ok(()) => {
                tell(Notice::Booted {
                    slot: slot_name(running),
                    version: agent.version().cloned(),
                    on_trial: matches!(agent.phase(), agent::Phase::SelfTest { .. }),
                });
                let mut session = net::Session {
                    options: &options,
                    flash: &mut flash,
                    agent: &mut agent,
                    observer: &observer,
                    started,
                    ever_connected: &mut ever_connected,
                    behaviour,
                };
                session.run(&stop).await?
            }
            Err(_) if !flash.is_powered() => End::PowerCut,
            Err(error) => return Err(error).context(format!("{}", options.id)),
        };
        if end == End::Stopped {
            return Ok(());
        }
        reset = starts_again(end, &mut flash, &options, &observer).await;
    }
    Ok(())
}

/// What passes between the end of one boot and the next, and what the next takes for its reason.
async fn starts_again(end: End, flash: &mut Flash, options: &Options, observer: &Observer) -> ResetReason {
    let (notice, reset) = match end {
        End::Stopped | End::Restart => (Notice::Restarting, ResetReason::Software),
        End::Crash => (Notice::Crashed, ResetReason::Panic),
        End::PowerCut => (Notice::PowerCut, ResetReason::PowerOn),
    };
    observer.tell(&options.id, notice);
    sleep(options.pace.restart).await;
    if end == End::PowerCut {
        flash.power_on();
    }
    reset
}

/// Longer each time: a device that can never start again must not keep the machine busy.
async fn pause_after_crash(options: &Options, crashes: u32, stop: &CancellationToken) {
    let pause = options.pace.restart.saturating_mul(1 << crashes.min(8)).min(CRASH_PAUSE_MAX);
    tokio::select! {
        () = sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

fn slot_name(running: Running) -> String {
    match running {
        Running::Factory => "factory".to_owned(),
        Running::Slot(slot) => format!("ota_{slot}"),
    }
}

fn behaviour(flash: &mut Flash, running: Running) -> anyhow::Result<Behaviour> {
    let slot = match running {
        Running::Slot(slot) => SLOTS[usize::from(slot)],
        Running::Factory => layout::FACTORY,
    };
    let demo = Demo::find(|offset, bytes| flash.read(slot.offset.saturating_add(offset), bytes))?;
    Ok(demo.map_or(Behaviour::Healthy, |demo| demo.behaviour()))
}

fn settings(options: &Options, chip: Chip, reset: ResetReason) -> Settings {
    let milliseconds = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    Settings {
        product: options.product.clone(),
        reset,
        self_test_ms: milliseconds(options.self_test),
        stall_ms: milliseconds(options.stall),
        back_off_ms: milliseconds(options.back_off),
        move_ms: milliseconds(options.move_time),
        ..Settings::new(chip)
    }
}
