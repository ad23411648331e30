//! `updraft publish`: an image becomes a release.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use contract::{ChannelName, Version};
use serde_json::{Value, json};
use store::{Attempt, Publication, Store};

use crate::api_client::ApiClient;
use crate::command::gate::{self, AllowArgs, Asked};
use crate::command::image;
use crate::command::publish::rollout::Rollout;
use crate::command::publish::wait::{Outcome, Patience, Watch};
use crate::command::target::{self, ProductArg, Target, TargetArgs};
use crate::output;

mod git;
mod rollout;
mod wait;

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
    /// The lowest version that may update to this one directly
    #[arg(long, value_name = "V")]
    requires: Option<Version>,
    /// The Git commit it was built from; without this, the working directory's
    #[arg(long, value_name = "HASH")]
    commit: Option<String>,
    /// The Git tag at that commit; without this, the working directory's
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Whether what was built differed from that commit; without this, whether the working directory does
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    dirty: Option<bool>,
    #[command(flatten)]
    allow: AllowArgs,
    /// Wait until a rollout of the release has ended, for so long at most (90m; without a duration 1h): exit code 0 only if it
    /// is done. Only through a server, which alone has rollouts
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1h", conflicts_with = "store")]
    wait: Option<Patience>,
    #[command(flatten)]
    target: TargetArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.open_or_make().await?;
    let bytes = Bytes::from(image::read(&args.image)?);
    let publication = publication(&args).await;
    let watch = match (&target, args.wait) {
        (Target::Server(server), Some(patience)) => {
            Some(Watch::open(server, &args.of.product, patience).await?)
        }
        _ => None,
    };
    let answer = match &target {
        Target::Server(server) => through_server(server, &args, &publication, bytes).await?,
        Target::Store(store) => into_store(store, &args, &publication, bytes).await?,
    };
    let refusal = gate::refused(&answer);
    if !args.json {
        gate::tell(&answer);
        if refusal.is_none() {
            say(&args, &target, &answer);
        }
    }
    let mut object = gate::object(&answer);
    let waited = match &watch {
        Some(watch) if refusal.is_none() => Some(waited(watch, &answer).await?),
        _ => None,
    };
    if let Some(outcome) = &waited {
        object["rollout"] = json!(outcome.rollout.as_ref().map(Rollout::json));
    }
    if args.json {
        output::json(&object);
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    match waited.and_then(|outcome| outcome.failure) {
        Some(why) => Err(anyhow::Error::msg(why)),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn waited(watch: &Watch<'_>, answer: &Value) -> anyhow::Result<Outcome> {
    let version = answer["version"].as_str().and_then(|version| version.parse().ok());
    let version: Version = version.context("the server does not say which version it published")?;
    Ok(watch.outcome(&version, answer["decision"] == "unchanged").await)
}

fn say(args: &Args, target: &Target, answer: &Value) {
    if let Some(line) = gate::trend(answer) {
        println!("{line}");
    }
    let (product, version) = (&args.of.product, output::cell(&answer["version"]));
    println!(
        "{product} {version} is published{}: {} bytes, sha256 {}",
        if answer["decision"] == "unchanged" { " already, with the same content" } else { "" },
        output::bytes(&answer["size"]),
        output::cell(&answer["sha256"])
    );
    println!("{}", output::cell(&answer["url"]));
    match &args.promote {
        Some(channel) => println!("{channel} points to {version} now."),
        // What was there before may have been promoted since.
        None if answer["decision"] == "unchanged" || args.wait.is_some() => {}
        None => println!(
            "No device is offered it yet: updraft promote {version} -p {product}{}",
            where_to(target)
        ),
    }
}

/// What the next command needs besides, if it is not in the environment.
fn where_to(target: &Target) -> &'static str {
    match target {
        Target::Server(_) => "",
        Target::Store(_) => " (with the same --store)",
    }
}

/// What is said by the arguments, and by Git where they do not.
async fn publication(args: &Args) -> Publication {
    let source = git::source(args.version.as_ref()).await;
    // Of another commit than the one that is checked out, Git's working directory says nothing.
    let is_this =
        |commit: &String| source.commit.as_ref().is_some_and(|head| head.starts_with(commit.as_str()));
    let known = args.commit.as_ref().is_none_or(is_this);
    Publication {
        version: args.version.clone(),
        allow: args.allow.allow.clone(),
        file: Some(args.image.display().to_string()),
        notes: args.notes.clone(),
        requires: args.requires.clone(),
        tag: args.tag.clone().or(source.tag.filter(|_| known)),
        dirty: args.dirty.or(source.dirty.filter(|_| known)),
        commit: args.commit.clone().or(source.commit),
        ..Publication::new(args.of.product.clone())
    }
}

async fn through_server(
    server: &ApiClient,
    args: &Args,
    publication: &Publication,
    image: Bytes,
) -> anyhow::Result<Value> {
    if let Some(refused) = gate::unsendable(publication, &image) {
        return Ok(refused);
    }
    let allow = gate::names(&publication.allow);
    let mut query = Vec::new();
    query.extend(publication.version.as_ref().map(|version| ("version", version.as_str())));
    query.extend(publication.notes.as_deref().map(|notes| ("notes", notes)));
    query.extend(publication.commit.as_deref().map(|commit| ("commit", commit)));
    query.extend(publication.tag.as_deref().map(|tag| ("tag", tag)));
    query.extend(publication.dirty.map(|dirty| ("dirty", if dirty { "true" } else { "false" })));
    query.extend(publication.requires.as_ref().map(|requires| ("requires", requires.as_str())));
    query.extend(Some(("allow", allow.as_str())).filter(|(_, allow)| !allow.is_empty()));
    query.extend(gate::file(publication));
    query.extend(args.promote.as_ref().map(|channel| ("promote", channel.as_str())));
    let asked = Asked {
        product: &publication.product,
        version: publication.version.as_ref(),
        image: &image,
        promote: args.promote.as_ref(),
        good: gate::PUBLISHED,
    };
    gate::upload(server, &["products", &args.of.product, "releases"], &query, &asked).await
}

async fn into_store(
    store: &Store,
    args: &Args,
    publication: &Publication,
    image: Bytes,
) -> anyhow::Result<Value> {
    let bar = output::progress("publishing", image.len() as u64);
    let told = bar.clone();
    let result = store.attempt(publication, image, &move |done| told.set_position(done)).await;
    bar.finish_and_clear();
    let published = match result? {
        Attempt::Published(published) => published,
        Attempt::Refused(verdict) => return Ok(gate::judgement(&publication.product, &verdict)),
    };
    let release = &published.release;
    if let Some(channel) = &args.promote {
        let promoted = store.promote_published(publication, &published, channel).await;
        promoted.with_context(|| {
            format!("{} is published, and was not promoted to {channel}", release.version)
        })?;
    }
    target::warn(store);
    let mut answer = gate::judgement(&publication.product, &published.verdict);
    answer["decision"] = if published.already_there { "unchanged" } else { "published" }.into();
    answer["version"] = json!(release.version);
    answer["sha256"] = json!(release.sha256.or(published.verdict.sha256));
    answer["url"] = store.address(&publication.product, &release.version).into();
    answer["promoted"] = json!(args.promote);
    Ok(answer)
}
