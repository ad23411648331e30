//! How long lists and figures of a large fleet take, beside the limit of 50 ms.

use std::time::{Duration, Instant};

use anyhow::Context;
use api::DeviceQuery;
use contract::DeviceId;
use serde::Serialize;
use server::run::{StartOptions, start};
use server::services::Services;

use super::decisions::config;
use super::rate::Options;
use crate::output;

/// What the slowest of a hundred may take.
const LIMIT: Duration = Duration::from_millis(50);
const PER_LIST_MIN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many devices there are
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    devices: u32,
    /// A database that may be filled, such as postgres://…; a file in a temporary folder if none is named
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Serialize)]
struct Measured {
    what: &'static str,
    median_ms: f64,
    p99_ms: f64,
    /// Of what the slowest of a hundred may take.
    ratio: f64,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let config = config(folder.path(), args.database.as_deref());
    let running = start(config, StartOptions::default()).await?;
    // The last ones have another name, all together.
    let name = |number| if number < args.devices - args.devices / 100 { "lamp" } else { "pump" };
    let ids: Vec<DeviceId> = (0..args.devices)
        .map(|number| format!("{}-{number:08x}", name(number)).parse())
        .collect::<Result<_, _>>()?;
    let begun = Instant::now();
    running.fill_varied(&ids).await?;
    eprintln!("{} devices, in {:.0} s", ids.len(), begun.elapsed().as_secs_f64());
    let services = running.services();
    // What is counted first is not yet known.
    services.devices.counts(None).await?;
    let mut measured = Vec::new();
    for (what, query) in queries(&ids) {
        measured.push(measure(what, args.options.time(), async || list(services, &query).await).await?);
    }
    let figures = async || Ok(services.devices.counts(None).await.map(|_| ())?);
    measured.push(measure("figures, as /metrics has them", args.options.time(), figures).await?);
    running.stop().await?;
    if args.options.json {
        output::json(&measured);
    } else {
        let ms = |ms: f64| format!("{ms:.1}");
        output::table(
            ["WHAT", "MEDIAN ms", "P99 ms", "OF THE LIMIT"],
            measured.iter().map(|row| {
                [row.what.to_owned(), ms(row.median_ms), ms(row.p99_ms), format!("{:.2}", row.ratio)]
            }),
        );
    }
    Ok(())
}

fn queries(ids: &[DeviceId]) -> Vec<(&'static str, DeviceQuery)> {
    let text = |text: &str| Some(text.to_owned());
    let query = DeviceQuery::default;
    // Far back, where a walk from the beginning takes longest.
    let rare = ids[ids.len() - 7].as_str()[6..].to_owned();
    vec![
        ("a page", query()),
        ("a page in the middle", DeviceQuery { cursor: text(ids[ids.len() / 2].as_str()), ..query() }),
        ("q=, one device has it", DeviceQuery { q: Some(rare), ..query() }),
        ("q=, no device has it", DeviceQuery { q: text("valve"), ..query() }),
        ("q=, most devices have it", DeviceQuery { q: text("lamp"), ..query() }),
        ("q=, the last hundredth has it", DeviceQuery { q: text("pump"), ..query() }),
        ("state=failed, 1 in 1,000", DeviceQuery { state: text("failed"), ..query() }),
        ("state=succeeded, most", DeviceQuery { state: text("succeeded"), ..query() }),
        ("state=online, most", DeviceQuery { state: text("online"), ..query() }),
        ("state=offline, 1 in 100", DeviceQuery { state: text("offline"), ..query() }),
        (
            "tag=, 1 in 10, and state=failed",
            DeviceQuery { tag: text("lab"), state: text("failed"), ..query() },
        ),
        (
            "tag=, 100 devices, and state=succeeded",
            DeviceQuery { tag: text("few"), state: text("succeeded"), ..query() },
        ),
        (
            "tag=, 100 devices, and state=failed: none",
            DeviceQuery { tag: text("few"), state: text("failed"), ..query() },
        ),
        ("version=, 1 in 100", DeviceQuery { version: text("1.0.0"), ..query() }),
        (
            "version=, 1 in 100, and state=offline: none",
            DeviceQuery { version: text("1.0.0"), state: text("offline"), ..query() },
        ),
    ]
}

async fn list(services: &Services, query: &DeviceQuery) -> anyhow::Result<()> {
    services.devices.list(query).await?;
    Ok(())
}

async fn measure(
    what: &'static str,
    time: Duration,
    mut once: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < time || took.len() < PER_LIST_MIN {
        let one = Instant::now();
        once().await?;
        took.push(one.elapsed());
    }
    took.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let (median, p99) = (took[took.len() / 2], took[(took.len() - 1) * 99 / 100]);
    Ok(Measured { what, median_ms: ms(median), p99_ms: ms(p99), ratio: ms(p99) / ms(LIMIT) })
}
