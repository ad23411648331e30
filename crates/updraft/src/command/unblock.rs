//! `updraft unblock`: a version may be offered again.

use std::process::ExitCode;

use serde_json::json;

use crate::command::target::{self, Target, TargetArgs, VersionArgs, require_product};
use crate::output;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    what: VersionArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (product, version) = (&args.what.of.product, &args.what.version);
    match args.target.open().await? {
        Target::Server(server) => {
            server.delete(&["products", product, "blocked", version.as_str()]).await?;
        }
        Target::Store(store) => {
            require_product(&store, product).await?;
            store.unblock(product, version).await?;
            target::warn(&store);
        }
    }
    if args.json {
        output::json(&json!({"version": version}));
    } else {
        println!("{version} of {product} is not blocked any more.");
    }
    Ok(ExitCode::SUCCESS)
}
