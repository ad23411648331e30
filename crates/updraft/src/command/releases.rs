//! `updraft releases`: what a product has, where it is and what is blocked.

use std::process::ExitCode;

use contract::ProductName;
use serde_json::{Value, json};
use store::{Blocked, Store};

use crate::command::target::{ProductArg, Target, TargetArgs, require_product};
use crate::output;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: ProductArg,
    #[command(flatten)]
    target: TargetArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let product = &args.of.product;
    let items = match args.target.open().await? {
        Target::Server(server) => {
            let is_release = |item: &Value| output::is_version(&item["version"]) && item["size"].is_u64();
            server.list(&["products", product, "releases"], &[], is_release).await?
        }
        Target::Store(store) => in_store(&store, product).await?,
    };
    if args.json {
        output::json_list(&items);
        return Ok(ExitCode::SUCCESS);
    }
    if items.is_empty() {
        println!("{product} has no releases yet: updraft publish firmware.bin -p {product} --version 1.0.0");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows =
        vec![["VERSION", "SIZE", "CHIP", "CHANNELS", "BLOCKED", "SHA256"].map(str::to_owned).to_vec()];
    rows.extend(items.iter().map(row));
    output::table(&rows);
    Ok(ExitCode::SUCCESS)
}

fn row(release: &Value) -> Vec<String> {
    let channels: Vec<&str> =
        release["channels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let blocked = match (release["blocked"].as_bool(), &release["reason"]) {
        (Some(true), Value::Null) => "blocked".into(),
        (Some(true), reason) => output::cell(reason),
        _ => "-".into(),
    };
    vec![
        output::cell(&release["version"]),
        output::bytes(&release["size"]),
        output::cell(&release["chip"]),
        if channels.is_empty() { "-".into() } else { channels.join(", ") },
        blocked,
        output::cell(&release["sha256"]).chars().take(12).collect(),
    ]
}

/// The same shape that the server answers.
async fn in_store(store: &Store, product: &ProductName) -> anyhow::Result<Vec<Value>> {
    require_product(store, product).await?;
    let channels = store.channels(product).await?;
    let blocked = store.blocked(product).await?;
    let releases = store.releases(product).await?;
    Ok(releases
        .into_iter()
        .map(|release| {
            let pointing: Vec<_> =
                channels.iter().filter(|(_, at)| at.as_ref() == Some(&release.version)).map(|(name, _)| name).collect();
            let reason = match &blocked {
                Blocked::List(list) => list.get(&release.version).cloned(),
                Blocked::Unreadable(cause) => Some(Some(cause.sentence())),
            };
            json!({
                "version": release.version, "size": release.size, "sha256": release.sha256, "chip": release.chip,
                "blocked": reason.is_some(), "reason": reason.flatten(), "channels": pointing, "notes": release.notes,
                "commit": release.commit, "built_at": release.built_at,
            })
        })
        .collect())
}
