//! `updraft bench`: how fast this machine decides and signs, each beside the bare cryptography in the same run.

mod decisions;
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
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Presign(options) => presign::run(&options).await?,
        Command::Decisions(args) => decisions::run(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
