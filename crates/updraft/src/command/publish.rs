//! `updraft publish`: an image becomes a release.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use api::{PublishDecision, Published};
use bytes::Bytes;
use contract::{ChannelName, Version};
use serde_json::json;
use server::releases::judgement;
use store::{Attempt, Publication, Store};

use crate::api_client::ApiClient;
use crate::command::gate::{self, AllowArgs, Answer, Asked, Receipt};
use crate::command::image::file;
use crate::command::image::stamped::stamped;
use crate::command::publish::timeout::Timeout;
use crate::command::publish::wait::{Outcome, Watch};
use crate::command::target::{ProductArgs, Target};
use crate::command::verdict;
use crate::output;

mod git;
mod timeout;
mod wait;

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// The application image, as the build leaves it (firmware.bin)
    image: PathBuf,
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
    /// Make the image say its version and product itself first, in place of what a library wrote there (`updraft image stamp`)
    #[arg(long, requires = "version")]
    stamp: bool,
    /// The secure version that it is to say, too
    #[arg(long, value_name = "N", requires = "stamp")]
    secure_version: Option<u32>,
    #[command(flatten)]
    allow: AllowArgs,
    /// Wait until a rollout of the release has ended, for so long at most (90m; without a duration 1h): exit code 0 only if it
    /// is done. Only through a server, which alone has rollouts
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1h", conflicts_with = "store")]
    wait: Option<Timeout>,
    #[command(flatten)]
    of: ProductArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.of.target.open_or_make().await?;
    let bytes = Bytes::from(image(&args)?);
    let publication = publication(&args).await;
    let watch = match (&target, args.wait) {
        (Target::Server(server), Some(timeout)) => {
            Some(Watch::open(server, &args.of.product, timeout).await?)
        }
        _ => None,
    };
    let answer = match &target {
        Target::Server(server) => through_server(server, &args, &publication, bytes).await?,
        Target::Store(store) => into_store(store, &args, &publication, bytes).await?,
    };
    let refusal = gate::refused(&answer.judgement);
    if !args.of.json {
        gate::tell(&answer.judgement);
        if refusal.is_none() {
            say(&args, &target, &answer);
        }
    }
    let mut object = answer.json();
    let waited = match &watch {
        Some(watch) if refusal.is_none() => Some(waited(watch, &answer).await?),
        _ => None,
    };
    if let Some(outcome) = &waited {
        object["rollout"] = json!(outcome.rollout.as_ref().map(verdict::json));
    }
    if args.of.json {
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

/// The image as it is to be published.
fn image(args: &Args) -> anyhow::Result<Vec<u8>> {
    let bytes = file::read(&args.image)?;
    match &args.version {
        Some(version) if args.stamp => stamped(bytes, version, &args.of.product, args.secure_version)
            .with_context(|| args.image.display().to_string()),
        _ => Ok(bytes),
    }
}

async fn waited(watch: &Watch<'_>, answer: &Answer) -> anyhow::Result<Outcome> {
    let version = answer.judgement.version.as_ref();
    let version = version.context("the server does not say which version it published")?;
    Ok(watch.outcome(version, answer.is_unchanged()).await)
}

fn say(args: &Args, target: &Target, answer: &Answer) {
    let (Answer { judgement, published: Some(published) }, product) = (answer, &args.of.product) else {
        return;
    };
    if let Some(line) = gate::trend(judgement) {
        answer!("{line}");
    }
    let version = output::cell(judgement.version.as_ref());
    answer!(
        "{product} {version} is published{}: {} bytes, sha256 {}",
        if answer.is_unchanged() { " already, with the same content" } else { "" },
        store::grouped(judgement.size),
        output::cell(judgement.sha256.as_ref())
    );
    answer!("{}", output::line(&published.url));
    match &args.promote {
        Some(channel) => answer!("{channel} points to {version} now."),
        // What was there before may have been promoted since.
        None if answer.is_unchanged() || args.wait.is_some() => {}
        None => {
            answer!(
                "No device is offered it yet: updraft promote {version} -p {product}{}",
                where_to(target)
            );
        }
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
) -> anyhow::Result<Answer> {
    if let Some(refused) = gate::unsendable(publication, &image) {
        return Ok(refused.into());
    }
    let query = api::Publication {
        version: publication.version.clone(),
        promote: args.promote.clone(),
        notes: publication.notes.clone(),
        commit: publication.commit.clone(),
        tag: publication.tag.clone(),
        dirty: publication.dirty,
        requires: publication.requires.clone(),
        allow: gate::names(&publication.allow),
        file: gate::file(publication),
    };
    let asked = Asked {
        product: &publication.product,
        version: publication.version.as_ref(),
        image: &image,
        promote: args.promote.as_ref(),
    };
    gate::upload::<Published>(server, &["products", &args.of.product, "releases"], &query, &asked).await
}

async fn into_store(
    store: &Store,
    args: &Args,
    publication: &Publication,
    image: Bytes,
) -> anyhow::Result<Answer> {
    let waiting = output::waiting("publishing");
    let result = store.attempt(publication, image).await;
    waiting.finish_and_clear();
    let published = match result? {
        Attempt::Published(published) => *published,
        Attempt::Refused(verdict) => return Ok(judgement(&publication.product, *verdict).into()),
    };
    let release = published.release.clone();
    if let Some(channel) = &args.promote {
        let promoted = store.promote_published(publication, &published, channel).await;
        promoted.with_context(|| {
            format!("{} is published, and was not promoted to {channel}", release.version)
        })?;
    }
    let mut judgement = judgement(&publication.product, published.verdict);
    judgement.version = Some(release.version.clone());
    judgement.sha256 = release.sha256.or(judgement.sha256);
    let decision =
        if published.already_there { PublishDecision::Unchanged } else { PublishDecision::Published };
    let url = store.address(&release);
    Ok(Answer { judgement, published: Some(Receipt { decision, url, promoted: args.promote.clone() }) })
}
