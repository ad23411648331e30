//! `updraft bench`: how fast this machine decides and signs, each beside the bare cryptography in the same run.

mod decisions;
mod presign;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde::Serialize;

use crate::output;

/// Arguments.
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

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each is measured, in seconds
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

impl Options {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// What was measured: how often a second, and how that compares with the yardstick of the same run.
#[derive(Debug, Serialize)]
struct Measured {
    what: String,
    per_second: f64,
    /// Of the yardstick's; 1 is the yardstick itself.
    ratio: f64,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Presign(options) => presign::run(&options).await?,
        Command::Decisions(args) => decisions::run(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets rates side by side; the first is the yardstick.
fn compare(rates: Vec<(String, f64)>) -> Vec<Measured> {
    let yardstick = rates.first().map_or(1.0, |(_, rate)| *rate);
    rates
        .into_iter()
        .map(|(what, per_second)| Measured { what, per_second, ratio: per_second / yardstick })
        .collect()
}

fn print(measured: &[Measured], as_json: bool) {
    if as_json {
        output::json(&measured);
        return;
    }
    let mut rows = vec![vec!["WHAT".to_owned(), "PER SECOND".to_owned(), "RATIO".to_owned()]];
    rows.extend(
        measured
            .iter()
            .map(|row| vec![row.what.clone(), format!("{:.0}", row.per_second), format!("{:.4}", row.ratio)]),
    );
    output::table(&rows);
}

/// How often a second, over whole rounds, until the time is over.
async fn rate<E>(time: Duration, mut round: impl AsyncFnMut() -> Result<u32, E>) -> Result<f64, E> {
    let (began, mut done) = (Instant::now(), 0.0);
    while began.elapsed() < time {
        done += f64::from(round().await?);
    }
    Ok(done / began.elapsed().as_secs_f64())
}
