//! `updraft releases`: what a product has, where it is and what is blocked.

use std::process::ExitCode;

use api::Release;
use contract::{ChannelName, ProductName};
use server::releases::shown;
use store::Store;

use crate::command::target::{ProductArgs, Target, require_product};
use crate::output;
use crate::whole::Whole;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: ProductArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let product = &args.of.product;
    let items: Vec<Whole<Release>> = match args.of.target.open().await? {
        Target::Server(server) => server.list(&["products", product, "releases"], &()).await?,
        Target::Store(store) => in_store(&store, product).await?,
    };
    let empty =
        format!("{product} has no releases yet: updraft publish firmware.bin -p {product} --version 1.0.0");
    let heads = ["VERSION", "SIZE", "CHIP", "CHANNELS", "BLOCKED", "SHA256"];
    output::list(items, args.of.json, &empty, heads, |release| {
        let channels = release.channels.iter().map(ChannelName::as_str).collect::<Vec<_>>().join(", ");
        let blocked = release.blocked.then(|| release.reason.as_deref().unwrap_or("blocked"));
        [
            release.version.to_string(),
            store::grouped(release.size),
            output::cell(release.chip.as_ref()),
            output::cell(Some(channels).filter(|channels| !channels.is_empty())),
            output::cell(blocked),
            output::cell(release.sha256).chars().take(12).collect(),
        ]
    });
    Ok(ExitCode::SUCCESS)
}

/// The same shape that the server answers.
async fn in_store(store: &Store, product: &ProductName) -> anyhow::Result<Vec<Whole<Release>>> {
    require_product(store, product).await?;
    let channels = store.channels(product).await?;
    let blocked = store.blocked(product).await?;
    let releases = store.releases(product).await?;
    Ok(releases.iter().map(|release| shown(&channels, &blocked, release).into()).collect())
}
