//! `updraft virtual-device`: devices to try things on, each with flash, bootloader and the real agent.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use api::{NewDevice, RegisteredDevice};
use clap::ValueEnum;
use contract::{DeviceId, ProductName, Version};
use image::build::Build;
use image::{Behaviour, Chip};
use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use virtual_device::{NotNow, Notice, Observer, Options, Pace, Rollback};

use crate::api_client::{ApiClient, server_url};
use crate::failure;

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// How many devices; their ids then end in -1, -2, …
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// The MQTT broker
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    broker: Url,
    /// The device's id, or what the ids of many begin with
    #[arg(long, value_name = "ID", default_value = "virtual")]
    id: String,
    /// What the devices take themselves for
    #[arg(short, long, value_name = "P")]
    product: Option<ProductName>,
    /// The MQTT password; the user name is the device's id
    #[arg(long, env = "UPDRAFT_DEVICE_PASSWORD", hide_env_values = true, conflicts_with = "password_file")]
    password: Option<String>,
    /// A file with the MQTT password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The image the devices leave the factory with; without it, a healthy one made for the purpose
    #[arg(long, value_name = "FIRMWARE")]
    image: Option<PathBuf>,
    /// The version of that image, where it does not say it itself
    #[arg(long, value_name = "V")]
    version: Option<Version>,
    /// The chip of the image made for the purpose
    #[arg(long, default_value_t = Chip::Esp32S3, conflicts_with = "image", value_parser = chip)]
    chip: Chip,
    /// Where the flash files are kept; without it, flash is in memory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A key whose signatures the firmware trusts (PEM, either half); may be given more than once. Without one, unsigned
    /// images are taken
    #[arg(long, value_name = "KEY.pem")]
    trusted_key: Vec<PathBuf>,
    /// By so many of these keys an image must be signed
    #[arg(long, value_name = "N", default_value_t = 1, requires = "trusted_key", value_parser = clap::value_parser!(u8).range(1..=3))]
    signatures_required: u8,
    /// How the bootloader was built
    #[arg(long, value_enum, default_value_t = Bootloader::Rollback)]
    bootloader: Bootloader,
    /// How fast the devices are
    #[arg(long, value_enum, default_value_t = Speed::Fast)]
    pace: Speed,
    /// How long a new image has to reach the broker, in seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    self_test_s: u64,
    /// For so many seconds from now the devices put updates off, as if somebody used them
    #[arg(long, value_name = "S")]
    not_now: Option<u32>,
    /// The reason that they give
    #[arg(long, value_name = "TEXT", default_value = "in use", requires = "not_now")]
    not_now_reason: String,
    /// They download and verify meanwhile, and install afterwards
    #[arg(long, requires = "not_now")]
    download_first: bool,
    /// The server to register the devices with first
    #[arg(long, value_name = "URL", env = "UPDRAFT_SERVER", requires = "token", value_parser = server_url)]
    server: Option<Url>,
    /// A token for that server
    #[arg(long, value_name = "T", env = "UPDRAFT_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bootloader {
    /// Rolls an unconfirmed image back
    Rollback,
    /// Cannot roll back, as the one that espflash carries
    NoRollback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Speed {
    /// As fast as it goes
    Fast,
    /// So slow that each phase can be seen
    Visible,
}

fn chip(name: &str) -> Result<Chip, String> {
    let known = || Chip::ALL.map(Chip::name).join(", ");
    Chip::from_name(name).ok_or_else(|| format!("the chips are {}", known()))
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let firmware = firmware(&args)?;
    if let Some(folder) = &args.data {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder {}", folder.display()))?;
    }
    let trusted_keys = trusted_keys(&args.trusted_key)?;
    let stop = CancellationToken::new();
    let (observer, mut notices) = Observer::new();
    let mut devices = JoinSet::new();
    for id in ids(&args)? {
        let mut options = options(&args, id, firmware.clone()).await?;
        options.trusted_keys.clone_from(&trusted_keys);
        options.signatures_required = args.signatures_required;
        options.not_now = args.not_now.map(|seconds| NotNow {
            until: Instant::now() + Duration::from_secs(seconds.into()),
            reason: args.not_now_reason.clone(),
            downloads: args.download_first,
        });
        devices.spawn(virtual_device::run(options, stop.clone(), observer.clone()));
    }
    drop(observer);
    let broker = address(&args.broker);
    // What each device said last about its broker: it is said once, not at each attempt.
    let mut disconnected = HashMap::new();
    let mut code = ExitCode::SUCCESS;
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Some((id, Notice::Disconnected(why))) => {
                    if disconnected.insert(id.clone(), why.clone()).as_ref() != Some(&why) {
                        say!("{id}  not connected to {broker}: {why}; tries again");
                    }
                }
                Some((id, notice)) => {
                    disconnected.remove(&id);
                    say!("{id}  {notice}");
                }
                None => break,
            },
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("waiting for Ctrl-C")?;
                stop.cancel();
            }
            Some(ended) = devices.join_next() => {
                if let Err(error) = ended.context("a device ended unexpectedly")? {
                    crate::output::error(&error);
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
    while let Some(ended) = devices.join_next().await {
        if let Err(error) = ended.context("a device ended unexpectedly")? {
            crate::output::error(&error);
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Where a broker is, without the password that its URL may have.
fn address(broker: &Url) -> String {
    format!("{}:{}", broker.host_str().unwrap_or_default(), broker.port().unwrap_or(1883))
}

fn ids(args: &Args) -> anyhow::Result<Vec<DeviceId>> {
    let names: Vec<String> = match args.count {
        1 => vec![args.id.clone()],
        count => (1..=count).map(|n| format!("{}-{n}", args.id)).collect(),
    };
    names.into_iter().map(|name| name.parse().with_context(|| format!("{name:?}"))).collect()
}

fn trusted_keys(paths: &[PathBuf]) -> anyhow::Result<Vec<[u8; 32]>> {
    paths.iter().map(|path| super::key::read_public(path).map(|key| key.digest())).collect()
}

fn firmware(args: &Args) -> anyhow::Result<Arc<[u8]>> {
    let Some(path) = &args.image else {
        let mut build = Build::new(args.chip, args.version.as_ref().map_or("1.0.0", Version::as_str));
        build.behaviour = Some(Behaviour::Healthy);
        return Ok(build.bytes().into());
    };
    let bytes = std::fs::read(path).with_context(|| format!("the image {}", path.display()))?;
    let summary = image::verify(&bytes).with_context(|| format!("{}", path.display()))?;
    let own = summary.descriptor.as_ref().and_then(image::AppDescriptor::own_version);
    let says = |text: &str| text.parse::<Version>().is_ok();
    let known = summary.demo.as_ref().is_some_and(|demo| says(demo.version())) || own.is_some_and(says);
    ensure!(
        known || args.version.is_some(),
        "{} does not say which version it is: give it with --version",
        path.display()
    );
    Ok(bytes.into())
}

async fn options(args: &Args, id: DeviceId, firmware: Arc<[u8]>) -> anyhow::Result<Options> {
    let mut options = Options::new(id.clone(), args.broker.clone(), firmware);
    options.password = password(args, &id).await?;
    options.product.clone_from(&args.product);
    options.version.clone_from(&args.version);
    options.flash_path = args.data.as_ref().map(|folder| folder.join(format!("{id}.flash")));
    options.rollback = match args.bootloader {
        Bootloader::Rollback => Rollback::On,
        Bootloader::NoRollback => Rollback::Off,
    };
    options.pace = match args.pace {
        Speed::Fast => Pace::FAST,
        Speed::Visible => Pace::VISIBLE,
    };
    options.self_test = Duration::from_secs(args.self_test_s);
    Ok(options)
}

async fn password(args: &Args, id: &DeviceId) -> anyhow::Result<Option<String>> {
    if let Some(path) = &args.password_file {
        return read_password(path).map(Some);
    }
    if args.password.is_some() {
        return Ok(args.password.clone());
    }
    let (Some(server), Some(token)) = (&args.server, &args.token) else { return Ok(None) };
    // A device that was registered in an earlier run keeps its password beside its flash.
    let kept = args.data.as_ref().map(|folder| folder.join(format!("{id}.password")));
    if let Some(path) = kept.as_deref().filter(|path| path.exists()) {
        return read_password(path).map(Some);
    }
    let password = register(server, token, id, args.product.as_ref()).await?;
    if let Some(path) = kept {
        write_secret(&path, &password).with_context(|| format!("the file {}", path.display()))?;
    }
    Ok(Some(password))
}

fn read_password(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the password file {}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}

async fn register(
    server: &Url,
    token: &str,
    id: &DeviceId,
    product: Option<&ProductName>,
) -> anyhow::Result<String> {
    let client = ApiClient::new(server, Some(token))?;
    let device = NewDevice { id: id.clone(), product: product.cloned() };
    let registered: anyhow::Result<RegisteredDevice> = client.post(&["devices"], &device).await;
    let registered = registered.and_then(|it| client.require(it.id == *id).map(|()| it));
    let error = match registered {
        Ok(registered) => return Ok(registered.mqtt_password),
        Err(error) => error,
    };
    let next = match failure::status(&error) {
        Some(StatusCode::CONFLICT) => {
            " If it was registered before, give its password with --password, or other ids with --id."
        }
        _ => "",
    };
    bail!("{id} was not registered: {error:#}{next}")
}
