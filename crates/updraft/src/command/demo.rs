//! `updraft demo`: server, broker, store, five virtual devices and three releases on this machine, and a guide through them.

mod story;
mod tour;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use contract::{ChannelName, DeviceId};
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, sign};
use image::{Behaviour, Chip};
use server::access::Role;
use server::actor::Actor;
use server::config::{Config, Secret};
use server::releases::Releases;
use server::run::{Running, StartOptions, start};
use store::Publication;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use virtual_device::{Notice, Observer, Options, Pace};

use crate::command::serve::stopped;
use crate::log;
use story::{BAD, DEVICES, GOOD, OLD, PRODUCT, product, version};
use tour::Tour;

/// About what an application with Wi-Fi and MQTT has.
const IMAGE_BYTES: u32 = 1_200_000;
/// So slow that a person sees each phase, and no slower.
const PACE: Pace = Pace { restart: Duration::from_millis(1500), bytes_per_s: Some(160 * 1024) };
/// As long as a demonstration may lie open.
const LINK_LIFETIME: Duration = Duration::from_secs(12 * 3600);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the dashboard listens; another port is taken if this one is in use
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where the MQTT broker listens; another port is taken if this one is in use
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Do all the steps by itself, then end: a tour to look at, and a test of this machine
    #[arg(long)]
    play: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let _log = log::to_stderr(tracing_subscriber::filter::LevelFilter::WARN);
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let running =
        start(config(&args, folder.path()), StartOptions { login_link: Some(LINK_LIFETIME) }).await?;
    let services = running.services().clone();
    let key = SigningKey::generate(Scheme::EcdsaP256).context("making the demo's key")?;
    publish(&services.releases, &key).await?;
    let devices = Devices::start(&running, &key).await?;
    welcome(&running).await?;
    let mut tour = Tour::new(services, args.play);
    let played = tokio::select! {
        played = tour.guide(devices.notices) => played,
        stopped = stopped() => stopped.map(|()| ExitCode::SUCCESS),
        lost = running.lost() => Err(lost),
    };
    say!("\nStopping.");
    devices.stop.cancel();
    devices.tasks.wait().await;
    running.stop().await?;
    played
}

/// Everything on loopback and in one folder that is gone at the end.
fn config(args: &Args, folder: &std::path::Path) -> Config {
    let mut config = Config::default();
    config.http.listen = free(args.http);
    config.mqtt.listen = free(args.mqtt);
    config.store.url = format!("file:{}", folder.join("store").display());
    config.database.url = Secret::new(format!("sqlite:{}", folder.join("updraft.db").display()));
    config
}

/// The address, or one with a free port if another program listens there.
fn free(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// An image, signed as a team would sign its own: the devices take nothing else.
fn image_of(text: &str, behaviour: Behaviour, key: &SigningKey) -> anyhow::Result<Bytes> {
    let mut build = Build::new(Chip::Esp32S3, text);
    build.project_name = PRODUCT.into();
    build.size_bytes = IMAGE_BYTES;
    build.behaviour = Some(behaviour);
    Ok(sign(&build.bytes(), key).context("signing the demo's images")?.into())
}

/// Three releases, of which the second crashes at boot.
async fn publish(releases: &Releases, key: &SigningKey) -> anyhow::Result<()> {
    for (text, behaviour, notes) in [
        (OLD, Behaviour::Healthy, "Where everybody begins."),
        (BAD, Behaviour::CrashesAtBoot, "Warmer white. (It crashes at boot, but nobody knows that yet.)"),
        (GOOD, Behaviour::Healthy, "Warmer white, without the crash."),
    ] {
        let image = image_of(text, behaviour, key)?;
        let publication = Publication {
            version: Some(version(text)),
            notes: Some(notes.to_owned()),
            ..Publication::new(product())
        };
        releases.publish(&Actor::SERVER, publication, None, image).await?;
    }
    releases.promote(&Actor::SERVER, &product(), &version(OLD), &ChannelName::production()).await?;
    Ok(())
}

struct Devices {
    stop: CancellationToken,
    tasks: TaskTracker,
    notices: UnboundedReceiver<(DeviceId, Notice)>,
}

impl Devices {
    /// Registers and starts the five, each with its flash in memory and the first release in it.
    async fn start(running: &Running, key: &SigningKey) -> anyhow::Result<Self> {
        let address = running.mqtt_addr().context("the demo has its own broker")?;
        let broker: Url = format!("mqtt://{address}").parse().context("the broker's address")?;
        let firmware: Arc<[u8]> = Arc::from(&*image_of(OLD, Behaviour::Healthy, key)?);
        let (observer, notices) = Observer::new();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for name in DEVICES {
            let id: DeviceId = name.parse().context("the demo's device ids are valid")?;
            let registered =
                running.services().devices.register(&Actor::SERVER, &id, Some(&product())).await?;
            let mut options = Options::new(id, broker.clone(), firmware.clone());
            options.password = Some(registered.mqtt_password);
            options.product = Some(product());
            options.pace = PACE;
            options.trusted_keys = vec![key.public().digest()];
            let device = virtual_device::run(options, stop.clone(), observer.clone());
            tasks.spawn(async move {
                if let Err(error) = device.await {
                    crate::output::error(&error);
                }
            });
        }
        tasks.close();
        Ok(Self { stop, tasks, notices })
    }
}

async fn welcome(running: &Running) -> anyhow::Result<()> {
    let token = running.services().access.create_token(&Actor::SERVER, "demo", Role::Operator, None).await?;
    let broker = running.mqtt_addr().unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    let link = running.login_link().context("the demo asked for a login link")?;
    say!(
        "Updraft demo: a server, an MQTT broker, a store and five devices on this machine. Ctrl-C ends it.\n"
    );
    say!("  Dashboard  {link}");
    say!("  MQTT       mqtt://{broker}");
    say!("  Devices    {}", DEVICES.join(", "));
    say!("  Releases   {OLD} runs on all of them and is in production, {BAD} and {GOOD} wait");
    let server = running.public_url().as_str().trim_end_matches('/');
    // As it was called: after `cargo run` there is no `updraft` on the path.
    let updraft = std::env::args().next().unwrap_or_else(|| "updraft".into());
    say!("  Terminal   export UPDRAFT_SERVER={server} UPDRAFT_TOKEN={token}");
    say!("             {updraft} devices\n");
    Ok(())
}
