//! `updraft promote`: a channel comes to point to a release.

use std::process::ExitCode;

use api::{Channel, Promotion};
use contract::ChannelName;

use crate::command::target::{Target, VersionArgs};
use crate::output;

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    what: VersionArgs,
    /// The channel
    #[arg(long, default_value = "production")]
    channel: ChannelName,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (product, version, channel) = (&args.what.of.product, &args.what.version, &args.channel);
    match args.what.of.target.open().await? {
        Target::Server(server) => {
            let path = ["products", product, "channels", channel];
            let now: Channel = server.put(&path, &Promotion { version: version.clone() }).await?;
            server.require(now.name == *channel && now.version.as_ref() == Some(version))?;
        }
        Target::Store(store) => {
            store.promote(product, version, channel).await?;
        }
    }
    if args.what.of.json {
        output::json(&Channel { name: channel.clone(), version: Some(version.clone()) });
    } else {
        answer!("{channel} of {product} points to {version} now.");
    }
    Ok(ExitCode::SUCCESS)
}
