//! `updraft block`: a version is never offered again; `updraft unblock`: it may be.

use std::process::ExitCode;

use api::{BlockedVersion, Blocking, Channel};
use contract::{ChannelName, ProductName, Version};
use serde_json::json;

use crate::command::target::{Target, VersionArgs, require_product};
use crate::output;

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    what: VersionArgs,
    /// Why, for whoever meets it
    #[arg(long)]
    reason: String,
    /// It has a hole: the next release is published only with a higher secure version, which devices then insist on
    #[arg(long)]
    security: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (product, version) = (&args.what.of.product, &args.what.version);
    let target = args.what.of.target.open().await?;
    match &target {
        Target::Server(server) => {
            let blocking = Blocking { reason: args.reason.clone(), security: args.security };
            server.set(&["products", product, "blocked", version.as_str()], &blocking).await?;
        }
        Target::Store(store) => {
            require_product(store, product).await?;
            if args.security {
                store.raise_secure_version(product, version).await?;
            }
            store.block(product, version, &args.reason).await?;
        }
    }
    if args.what.of.json {
        output::json(&BlockedVersion { version: version.clone(), reason: Some(args.reason) });
    } else {
        answer!("{version} of {product} is blocked: {}", args.reason);
        if args.security {
            answer!(
                "Blocking does not take back signed bytes: whoever has them can still offer them to a device. The next release \
                 of {product} is published only with a higher secure version; a device that confirmed it refuses {version}."
            );
        }
        for channel in pointing(&target, product, version).await? {
            answer!(
                "{channel} still points to it, so devices there are offered nothing: promote another version."
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn unblock(what: VersionArgs) -> anyhow::Result<ExitCode> {
    let (product, version) = (&what.of.product, &what.version);
    match what.of.target.open().await? {
        Target::Server(server) => {
            server.delete(&["products", product, "blocked", version.as_str()]).await?;
        }
        Target::Store(store) => {
            require_product(&store, product).await?;
            store.unblock(product, version).await?;
        }
    }
    if what.of.json {
        output::json(&json!({"version": version}));
    } else {
        answer!("{version} of {product} is not blocked any more.");
    }
    Ok(ExitCode::SUCCESS)
}

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
