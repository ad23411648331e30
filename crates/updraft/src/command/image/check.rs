//! `updraft image check`: what a publish would say, for a pull request.

use std::path::PathBuf;
use std::process::ExitCode;

use api::{CheckQuery, Judgement};
use bytes::Bytes;
use contract::Version;
use server::releases::judgement;
use store::Publication;

use crate::command::gate::{self, AllowArgs, Answer, Asked};
use crate::command::image::file;
use crate::command::target::{ProductArgs, Target};
use crate::output;

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// The application image (firmware.bin)
    image: PathBuf,
    /// The version that it is to be; may be left out if the image says its own
    #[arg(long, value_name = "V")]
    version: Option<Version>,
    #[command(flatten)]
    allow: AllowArgs,
    #[command(flatten)]
    of: ProductArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.of.target.open().await?;
    let image = Bytes::from(file::read(&args.image)?);
    let publication = Publication {
        version: args.version.clone(),
        allow: args.allow.allow.clone(),
        file: Some(args.image.display().to_string()),
        ..Publication::new(args.of.product.clone())
    };
    let answer = judged(&target, &publication, &image).await?;
    if args.of.json {
        output::json(&answer.json());
    } else {
        gate::tell(&answer.judgement);
        if let Some(line) = gate::trend(&answer.judgement) {
            answer!("{line}");
        }
    }
    if let Some(refusal) = gate::refused(&answer.judgement) {
        return Err(refusal);
    }
    if !args.of.json {
        let (file, product) = (args.image.display(), &args.of.product);
        answer!(
            "{file} could be published to {product} as {}.",
            output::cell(answer.judgement.version.as_ref())
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn judged(target: &Target, publication: &Publication, image: &Bytes) -> anyhow::Result<Answer> {
    let server = match target {
        Target::Store(store) => {
            return Ok(judgement(&publication.product, store.judge(publication, image).await?).into());
        }
        Target::Server(server) => server,
    };
    if let Some(refused) = gate::unsendable(publication, image) {
        return Ok(refused.into());
    }
    let query = CheckQuery {
        version: publication.version.clone(),
        allow: gate::names(&publication.allow),
        file: gate::file(publication),
    };
    let path = ["products", &publication.product, "releases", "check"];
    let asked =
        Asked { product: &publication.product, version: publication.version.as_ref(), image, promote: None };
    gate::upload::<Judgement>(server, &path, &query, &asked).await
}
