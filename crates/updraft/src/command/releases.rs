//! `updraft releases`: what a product has, where it is and what is blocked.

use std::process::ExitCode;

use api::Release;
use contract::{ChannelName, ProductName};
use store::{Blocked, Store};

use crate::command::target::{ProductArg, Target, TargetArgs, require_product};
use crate::output;
use crate::whole::Whole;

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
    let items: Vec<Whole<Release>> = match args.target.open().await? {
        Target::Server(server) => server.list(&["products", product, "releases"], &()).await?,
        Target::Store(store) => in_store(&store, product).await?,
    };
    if args.json {
        output::json_list(items);
        return Ok(ExitCode::SUCCESS);
    }
    if items.is_empty() {
        println!("{product} has no releases yet: updraft publish firmware.bin -p {product} --version 1.0.0");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows =
        vec![["VERSION", "SIZE", "CHIP", "CHANNELS", "BLOCKED", "SHA256"].map(str::to_owned).to_vec()];
    rows.extend(items.iter().map(|release| row(release)));
    output::table(&rows);
    Ok(ExitCode::SUCCESS)
}

fn row(release: &Release) -> Vec<String> {
    let channels: Vec<&str> = release.channels.iter().map(ChannelName::as_str).collect();
    let blocked = release.blocked.then(|| release.reason.as_deref().unwrap_or("blocked"));
    vec![
        release.version.to_string(),
        store::grouped(release.size),
        output::cell(release.chip.as_ref()),
        if channels.is_empty() { "-".into() } else { channels.join(", ") },
        output::cell(blocked),
        output::cell(release.sha256).chars().take(12).collect(),
    ]
}

/// The same shape that the server answers.
async fn in_store(store: &Store, product: &ProductName) -> anyhow::Result<Vec<Whole<Release>>> {
    require_product(store, product).await?;
    let channels = store.channels(product).await?;
    let blocked = store.blocked(product).await?;
    let releases = store.releases(product).await?;
    let shown = |release: store::Release| {
        let is_here = |at: &Option<_>| at.as_ref() == Some(&release.version);
        let pointing = channels.iter().filter(|(_, at)| is_here(at)).map(|(name, _)| name.clone()).collect();
        let reason = match &blocked {
            Blocked::List(list) => list.get(&release.version).cloned(),
            Blocked::Unreadable(cause) => Some(Some(cause.sentence())),
        };
        let release = Release {
            size: release.size,
            sha256: release.sha256,
            chip: release.chip,
            blocked: reason.is_some(),
            reason: reason.flatten(),
            channels: pointing,
            notes: release.notes,
            built_at: release.built_at,
            published_at: release.published_at,
            commit: release.commit,
            tag: release.tag,
            dirty: release.dirty,
            version: release.version,
        };
        release.into()
    };
    Ok(releases.into_iter().map(shown).collect())
}
