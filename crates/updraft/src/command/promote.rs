//! `updraft promote`: a channel comes to point to a release.

use std::process::ExitCode;

use contract::ChannelName;
use serde_json::{Value, json};

use crate::command::target::{self, Target, TargetArgs, VersionArgs};
use crate::output;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    what: VersionArgs,
    /// The channel
    #[arg(long, default_value = "production")]
    channel: ChannelName,
    #[command(flatten)]
    target: TargetArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (product, version, channel) = (&args.what.of.product, &args.what.version, &args.channel);
    match args.target.open().await? {
        Target::Server(server) => {
            let is_it = |answer: &Value| {
                answer["name"] == channel.as_str()
                    && answer["version"].as_str().and_then(|is| is.parse().ok()).as_ref() == Some(version)
            };
            let path = ["products", product, "channels", channel];
            server.put(&path, &json!({"version": version}), is_it).await?;
        }
        Target::Store(store) => {
            store.promote(product, version, channel).await?;
            target::warn(&store);
        }
    }
    if args.json {
        output::json(&json!({"name": channel, "version": version}));
    } else {
        println!("{channel} of {product} points to {version} now.");
    }
    Ok(ExitCode::SUCCESS)
}
