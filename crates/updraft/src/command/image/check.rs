//! `updraft image check`: what a publish would say, for a pull request.

use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use contract::Version;
use serde_json::Value;
use store::Publication;

use crate::command::gate::{self, AllowArgs, Asked};
use crate::command::target::{ProductArg, Target, TargetArgs};
use crate::output;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// The application image (firmware.bin)
    image: PathBuf,
    #[command(flatten)]
    of: ProductArg,
    /// The version that it is to be; may be left out if the image says its own
    #[arg(long, value_name = "V")]
    version: Option<Version>,
    #[command(flatten)]
    allow: AllowArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.open().await?;
    let image = Bytes::from(super::read(&args.image)?);
    let publication = Publication {
        version: args.version.clone(),
        allow: args.allow.allow.clone(),
        file: Some(args.image.display().to_string()),
        ..Publication::new(args.of.product.clone())
    };
    let answer = judged(&target, &publication, &image).await?;
    if args.json {
        output::json(&gate::object(&answer));
    } else {
        gate::tell(&answer);
        if let Some(line) = gate::trend(&answer) {
            println!("{line}");
        }
    }
    if let Some(refusal) = gate::refused(&answer) {
        return Err(refusal);
    }
    if !args.json {
        let (file, product) = (args.image.display(), &args.of.product);
        println!("{file} could be published to {product} as {}.", output::cell(&answer["version"]));
    }
    Ok(ExitCode::SUCCESS)
}

async fn judged(target: &Target, publication: &Publication, image: &Bytes) -> anyhow::Result<Value> {
    let server = match target {
        Target::Store(store) => {
            return Ok(gate::judgement(&publication.product, &store.judge(publication, image).await?));
        }
        Target::Server(server) => server,
    };
    if let Some(refused) = gate::unsendable(publication, image) {
        return Ok(refused);
    }
    let allow = gate::names(&publication.allow);
    let mut query = Vec::new();
    query.extend(publication.version.as_ref().map(|version| ("version", version.as_str())));
    query.extend(Some(("allow", allow.as_str())).filter(|(_, allow)| !allow.is_empty()));
    query.extend(gate::file(publication));
    let path = ["products", &publication.product, "releases", "check"];
    let asked = Asked {
        product: &publication.product,
        version: publication.version.as_ref(),
        image,
        promote: None,
        good: gate::PASSED,
    };
    gate::upload(server, &path, &query, &asked).await
}
