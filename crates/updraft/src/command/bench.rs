//! `updraft bench`: how fast this machine decides, signs and sends, each beside a yardstick of the same run.

mod decisions;
mod halt;
mod lists;
mod offers;
mod presign;
mod rate;
mod reports;

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
    /// Messages of devices a second, committed in batches, beside bare rows and rows that the row mapping saves
    Reports(reports::Args),
    /// How long lists and figures of a large fleet take
    Lists(lists::Args),
    /// How often rollouts of good releases stop by themselves, and how soon those of bad ones, simulated
    Halt(halt::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Presign(options) => presign::run(&options).await?,
        Command::Decisions(args) => decisions::run(&args).await?,
        Command::Offers(args) => offers::run(&args).await?,
        Command::Reports(args) => reports::run(&args).await?,
        Command::Lists(args) => lists::run(&args).await?,
        Command::Halt(args) => halt::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}
