//! How often a second something is done, measured beside a yardstick of the same run.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each is measured, in seconds
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print data for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Options {
    pub(super) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// What was measured: how often a second, and how that compares with the yardstick of the same run.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    what: String,
    per_second: f64,
    /// Of the yardstick's; 1 is the yardstick itself.
    ratio: f64,
}

/// Sets rates side by side; the first is the yardstick.
pub(super) fn compare(rates: Vec<(String, f64)>) -> Vec<Measured> {
    let yardstick = rates.first().map_or(1.0, |(_, rate)| *rate);
    rates
        .into_iter()
        .map(|(what, per_second)| Measured { what, per_second, ratio: per_second / yardstick })
        .collect()
}

pub(super) fn print(measured: &[Measured], as_json: bool) {
    if as_json {
        output::json(&measured);
        return;
    }
    output::table(
        ["WHAT", "PER SECOND", "RATIO"],
        measured
            .iter()
            .map(|row| [row.what.clone(), format!("{:.0}", row.per_second), format!("{:.4}", row.ratio)]),
    );
}

/// How often a second, over whole rounds, until the time is over.
pub(super) async fn rate<E>(
    time: Duration,
    mut round: impl AsyncFnMut() -> Result<u32, E>,
) -> Result<f64, E> {
    let (began, mut done) = (Instant::now(), 0.0);
    while began.elapsed() < time {
        done += f64::from(round().await?);
    }
    Ok(done / began.elapsed().as_secs_f64())
}
