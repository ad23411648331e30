//! `updraft block`: a version is never offered again.

use std::process::ExitCode;

use api::{BlockedVersion, Blocking, Channel};
use contract::{ChannelName, ProductName, Version};

use crate::command::target::{self, Target, TargetArgs, VersionArgs, require_product};
use crate::output;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    what: VersionArgs,
    /// Why, for whoever meets it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    target: TargetArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (product, version) = (&args.what.of.product, &args.what.version);
    let target = args.target.open().await?;
    match &target {
        Target::Server(server) => {
            let blocking = Blocking { reason: args.reason.clone() };
            server.set(&["products", product, "blocked", version.as_str()], &blocking).await?;
        }
        Target::Store(store) => {
            require_product(store, product).await?;
            store.block(product, version, &args.reason).await?;
            target::warn(store);
        }
    }
    if args.json {
        output::json(&BlockedVersion { version: version.clone(), reason: Some(args.reason) });
    } else {
        println!("{version} of {product} is blocked: {}", args.reason);
        for channel in pointing(&target, product, version).await? {
            println!(
                "{channel} still points to it, so devices there are offered nothing: promote another version."
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The channels that point to the version.
async fn pointing(
    target: &Target,
    product: &ProductName,
    version: &Version,
) -> anyhow::Result<Vec<ChannelName>> {
    let channels = match target {
        Target::Server(server) => {
            let channels: Vec<Channel> = server.list(&["products", product, "channels"], &()).await?;
            channels.into_iter().map(|channel| (channel.name, channel.version)).collect()
        }
        Target::Store(store) => store.channels(product).await?,
    };
    let here = channels.into_iter().filter(|(_, at)| at.as_ref() == Some(version));
    Ok(here.map(|(name, _)| name).collect())
}
