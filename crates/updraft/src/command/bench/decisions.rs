//! Decisions a second: a server with its embedded broker, its database and its folder store, all in a temporary folder,
//! and devices that really connected and reported.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use contract::{ChannelName, DeviceId, ProductName, Version};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use image::Chip;
use image::build::Build;

use server::actor::Actor;
use server::config::{Config, Secret};
use server::run::{Running, StartOptions, start};
use server::services::Services;
use store::Publication;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use virtual_device::{Observer, Options as DeviceOptions};

use super::presign;
use super::rate::{Options, compare, print, rate};

const PRODUCT: &str = "bench";
pub(super) const OLD: &str = "1.0.0";
pub(super) const NEW: &str = "1.1.0";
/// Asked at a time, as a dashboard's users and a script would.
const AT_ONCE: usize = 8;
const REPORT_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many devices take turns
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    devices: u32,
    #[command(flatten)]
    options: Options,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let running = start(config(folder.path(), None), StartOptions::default()).await?;
    let services = running.services();
    let devices = devices(args.devices)?;
    publish(services, OLD).await?;
    promote(services, OLD).await?;
    report(&running, &devices).await?;
    let time = args.options.time();
    let bare = presign::bare(time).await?;
    let up_to_date = rate(time, async || decide(services, &devices, "up_to_date").await).await?;
    publish(services, NEW).await?;
    promote(services, NEW).await?;
    let offered = rate(time, async || {
        let decided = decide(services, &devices, "offered").await?;
        cancel(services, &devices).await?;
        anyhow::Ok(decided)
    })
    .await?;
    running.stop().await?;
    let rates = vec![
        ("bare HMACs of a SigV4 URL".to_owned(), bare),
        ("decision: up_to_date".to_owned(), up_to_date),
        ("decision: offered, trigger sent, update cancelled".to_owned(), offered),
    ];
    print(&compare(rates), args.options.json);
    Ok(())
}

/// The defaults, on free ports and in one folder that is gone at the end; the database elsewhere, if one is named.
pub(super) fn config(folder: &Path, database: Option<&str>) -> Config {
    let mut config = Config::default();
    config.http.listen.set_port(0);
    config.mqtt.listen.set_port(0);
    config.store.url = format!("file:{}", folder.join("store").display());
    let file = || format!("sqlite:{}", folder.join("updraft.db").display());
    config.database.url = Secret::new(database.map_or_else(file, ToOwned::to_owned));
    config
}

fn devices(count: u32) -> anyhow::Result<Vec<DeviceId>> {
    (0..count).map(|number| Ok(format!("bench-{number}").parse()?)).collect()
}

pub(super) fn product() -> ProductName {
    PRODUCT.parse().expect("the product has a valid name")
}

pub(super) fn version(text: &str) -> Version {
    text.parse().expect("the versions are valid")
}

fn image_of(text: &str) -> Vec<u8> {
    Build { size_bytes: 64 * 1024, ..Build::new(Chip::Esp32S3, text) }.bytes()
}

pub(super) async fn publish(services: &Services, text: &str) -> anyhow::Result<()> {
    let publication = Publication { version: Some(version(text)), ..Publication::new(product()) };
    services.releases.publish(&Actor::SERVER, publication, None, image_of(text).into()).await?;
    Ok(())
}

pub(super) async fn promote(services: &Services, text: &str) -> anyhow::Result<()> {
    services.releases.promote(&Actor::SERVER, &product(), &version(text), &ChannelName::production()).await?;
    Ok(())
}

/// Lets each device connect and say what it runs, then disconnect: what follows is to measure the server alone.
async fn report(running: &Running, devices: &[DeviceId]) -> anyhow::Result<()> {
    let address = running.mqtt_addr().context("the bench has its own broker")?;
    let broker: Url = format!("mqtt://{address}").parse().context("the broker's address")?;
    let firmware: Arc<[u8]> = image_of(OLD).into();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    for id in devices {
        let registered = running.services().devices.register(&Actor::SERVER, id, Some(&product())).await?;
        let mut options = DeviceOptions::new(id.clone(), broker.clone(), firmware.clone());
        options.password = Some(registered.mqtt_password);
        tasks.spawn(virtual_device::run(options, stop.clone(), Observer::default()));
    }
    tasks.close();
    let reported = tokio::time::timeout(REPORT_TIMEOUT, async {
        for id in devices {
            while running.services().devices.show(id).await?.version.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        anyhow::Ok(())
    });
    reported.await.context("the devices did not report within a minute")??;
    stop.cancel();
    tasks.wait().await;
    Ok(())
}

/// Asks once for each device, and makes sure of the answer: a wrong one would be fast.
async fn decide(services: &Services, devices: &[DeviceId], expected: &str) -> anyhow::Result<u32> {
    let answers =
        stream::iter(devices).map(async |id| services.updates.check(&Actor::SERVER, id, true).await);
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).try_collect().await?;
    let other = answers.iter().find(|answer| answer.decision != expected);
    ensure!(other.is_none(), "the decision is not {expected}: {other:?}");
    Ok(u32::try_from(answers.len())?)
}

async fn cancel(services: &Services, devices: &[DeviceId]) -> anyhow::Result<()> {
    for id in devices {
        if let Some(update) = services.devices.show(id).await?.update {
            services.updates.cancel(&Actor::SERVER, update.id).await?;
        }
    }
    Ok(())
}
