//! `updraft bench`: how fast this machine decides, signs and sends, each beside a yardstick of the same run.

mod decisions;
mod offers;
mod presign;
mod rate;

use std::process::ExitCode;

use clap::Subcommand;

use rate::Options;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Signed URLs a second, of S3 and of a folder, beside the bare HMACs that they need
    Presign(Options),
    /// Decisions a second of a whole server on this machine, with real devices and the embedded defaults
    Decisions(decisions::Args),
    /// Offers a second, each with its trigger sent, beside bare messages and rows; and what devices cost that wait
    Offers(offers::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Presign(options) => presign::run(&options).await?,
        Command::Decisions(args) => decisions::run(&args).await?,
        Command::Offers(args) => offers::run(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
