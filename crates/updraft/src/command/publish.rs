//! `updraft publish`: an image becomes a release.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use contract::{ChannelName, ProductName, Version};
use image::IMAGE_MAX_BYTES;
use serde_json::{Value, json};
use store::{Publication, Store};

use crate::api_client::ApiClient;
use crate::command::target::{self, ProductArg, Target, TargetArgs};
use crate::output::{self, Usage};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// The application image, as the build leaves it (firmware.bin)
    image: PathBuf,
    #[command(flatten)]
    of: ProductArg,
    /// Its version; may be left out if the image says its own
    #[arg(long, value_name = "V")]
    version: Option<Version>,
    /// What is new
    #[arg(long)]
    notes: Option<String>,
    /// Also point a channel to it
    #[arg(long, value_name = "CHANNEL", num_args = 0..=1, default_missing_value = "production")]
    promote: Option<ChannelName>,
    /// The lowest version that may update to this one directly (with --store)
    #[arg(long, value_name = "V")]
    requires: Option<Version>,
    /// The Git commit it was built from (with --store)
    #[arg(long, value_name = "HASH")]
    commit: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.open().await?;
    if matches!(target, Target::Server(_)) && (args.requires.is_some() || args.commit.is_some()) {
        return Err(Usage(
            "--requires and --commit are written by --store only, not through a server.".into(),
        )
        .into());
    }
    let image = read(&args.image)?;
    let product = args.of.product.clone();
    let release = match &target {
        Target::Server(server) => through_server(server, &args, image).await?,
        Target::Store(store) => into_store(store, &args, image).await?,
    };
    if args.json {
        output::json(&release);
        return Ok(ExitCode::SUCCESS);
    }
    let version = output::cell(&release["version"]);
    println!(
        "{product} {version} is published: {} bytes, sha256 {}",
        output::bytes(&release["size"]),
        output::cell(&release["sha256"])
    );
    match &args.promote {
        Some(channel) => println!("{channel} points to {version} now."),
        None => println!("No device is offered it yet: updraft promote {version} -p {product}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    let length = std::fs::metadata(path).with_context(|| format!("Cannot read {}", path.display()))?.len();
    if length > u64::from(IMAGE_MAX_BYTES) {
        bail!("{} has {length} bytes, and an image has at most {IMAGE_MAX_BYTES}.", path.display());
    }
    let image = std::fs::read(path).with_context(|| format!("Cannot read {}", path.display()))?;
    // The same parser that the server uses, before anything is sent.
    image::verify(&image).map_err(|error| anyhow::anyhow!("{}: {error}.", path.display()))?;
    Ok(image.into())
}

async fn through_server(server: &ApiClient, args: &Args, image: Bytes) -> anyhow::Result<Value> {
    let mut query = Vec::new();
    query.extend(args.version.as_ref().map(|version| ("version", version.as_str())));
    query.extend(args.notes.as_deref().map(|notes| ("notes", notes)));
    query.extend(args.promote.as_ref().map(|channel| ("promote", channel.as_str())));
    let size = image.len();
    let bar = output::progress("uploading", size as u64);
    let told = bar.clone();
    let pieces = (0..size).step_by(64 * 1024).map(move |at| {
        let piece = image.slice(at..(at + 64 * 1024).min(size));
        told.inc(piece.len() as u64);
        Ok::<_, std::io::Error>(piece)
    });
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let result = server.upload(&["products", &args.of.product, "releases"], &query, size, body).await;
    bar.finish_and_clear();
    result
}

async fn into_store(store: &Store, args: &Args, image: Bytes) -> anyhow::Result<Value> {
    let publication = Publication {
        product: args.of.product.clone(),
        version: args.version.clone(),
        notes: args.notes.clone(),
        commit: args.commit.clone(),
        requires: args.requires.clone(),
        built_at: None,
    };
    let bar = output::progress("publishing", image.len() as u64);
    let told = bar.clone();
    let result = store.publish(&publication, image, &move |done| told.set_position(done)).await;
    bar.finish_and_clear();
    let published = result?;
    let release = &published.release;
    promote(store, &publication.product, &release.version, args.promote.as_ref()).await?;
    target::warn(store);
    Ok(
        json!({"version": release.version, "size": release.size, "sha256": release.sha256, "chip": release.chip}),
    )
}

async fn promote(
    store: &Store,
    product: &ProductName,
    version: &Version,
    channel: Option<&ChannelName>,
) -> anyhow::Result<()> {
    match channel {
        Some(channel) => {
            let promoted = store.promote(product, version, channel).await;
            promoted.with_context(|| format!("{version} is published, and was not promoted to {channel}"))
        }
        None => Ok(()),
    }
}
