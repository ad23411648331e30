//! `updraft audit verify`: whether the entries are those that were sealed.

use std::process::ExitCode;

use server::access::{SealHead, Verified};

use crate::command::database::DatabaseArgs;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A seal that was noted elsewhere, as this command printed it or the server logged it: it has to be there
    #[arg(long, value_name = "N:DIGEST", value_parser = head)]
    head: Option<SealHead>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

fn head(text: &str) -> Result<SealHead, String> {
    let parts = text.split_once(':').and_then(|(number, digest)| Some((number.parse().ok()?, digest)));
    let is_digest = |digest: &str| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    parts
        .filter(|(_, digest)| is_digest(digest))
        .map(|(number, digest)| (number, digest.to_ascii_lowercase()))
        .ok_or_else(|| "it is the number of a seal, a colon, and its 64 hexadecimal digits".to_owned())
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let verified = args.database.open().await?.verify_audit(args.head.as_ref()).await?;
    if args.json {
        output::json(&verified);
    } else {
        print(&verified, args.head.as_ref());
    }
    Ok(if verified.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(verified: &Verified, noted: Option<&SealHead>) {
    for broken in &verified.first_broken {
        answer!(
            "Seal {} of {} does not hold: entries above {} up to {}, or the seal, were changed, removed or added to since \
             ({} were sealed, {} are there).",
            broken.seal,
            broken.at.format("%Y-%m-%d %H:%M:%S"),
            broken.above,
            broken.up_to,
            broken.sealed,
            broken.found
        );
    }
    let more = verified.broken - verified.first_broken.len() as u64;
    if more > 0 {
        answer!("{more} more do not hold.");
    }
    if let (Some((number, digest)), Some(false)) = (noted, verified.is_noted_there) {
        answer!(
            "The noted seal {number}:{digest} is not there: the entries were sealed anew since, or cut off."
        );
    }
    answer!("{} entries in {} seals are as they were sealed.", verified.entries, verified.seals);
    answer!("{} entries are not sealed yet; a server that runs seals once a minute.", verified.unsealed);
    if let Some(head) = verified.head.as_ref().filter(|_| verified.holds()) {
        answer!("Note the newest seal somewhere else, for --head: {head}");
    }
}
