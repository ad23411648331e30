//! Offers a second: decided, committed, signed, published to a real broker and noted as sent; beside bare messages and bare rows
//! of the same run. And what devices cost that wait and are offline.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contract::DeviceId;
use serde::Serialize;
use server::actor::Actor;
use server::config::{BrokerConfig, Secret};
use server::run::{Running, StartOptions, start};

use super::decisions::{NEW, OLD, config, product, promote, publish, version};
use super::rate::{Measured, Options, compare, print, rate};
use crate::output;

/// Devices that are made to wait at a time.
const PART: usize = 5_000;
const PAUSE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many devices are offered an update at a time
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// Then so many wait offline, and what the process costs is measured before and after; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    waiting: u32,
    /// A database that may be filled, such as postgres://…; a file in a temporary folder if none is named
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A broker without a password, such as mqtt://127.0.0.1:1883; the embedded one if none is named
    #[arg(long, value_name = "URL", conflicts_with = "waiting")]
    broker: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// What the process costs in a while in which nobody asks for anything.
#[derive(Debug, Serialize)]
struct Cost {
    waiting: u32,
    percent_of_a_core: f64,
}

#[derive(Debug, Serialize)]
struct Outcome {
    rates: Vec<Measured>,
    cost: Vec<Cost>,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut config = config(folder.path(), args.database.as_deref());
    if let Some(url) = &args.broker {
        config.mqtt.url = BrokerConfig::External(Secret::new(url.clone()));
    }
    let running = start(config, StartOptions::default()).await?;
    running.linked().await?;
    publish(running.services(), NEW).await?;
    promote(running.services(), NEW).await?;
    let time = args.options.time();
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        ids(&format!("bench-{number}"), args.devices)
    };
    let messages = fresh()?;
    let messages = rate(time, async || {
        running.publish_bare(&messages).await?;
        anyhow::Ok(args.devices)
    })
    .await?;
    let rows = rate(time, async || {
        running.insert_bare(&fresh()?).await?;
        anyhow::Ok(args.devices)
    })
    .await?;
    let (mut took, mut sent) = (Duration::ZERO, 0.0);
    while took < time {
        let devices = fresh()?;
        running.fill(&devices, &product(), &version(OLD), false).await?;
        took += offer(&running, &devices).await?;
        sent += f64::from(args.devices);
    }
    let rates = compare(vec![
        ("bare messages at QoS 1".to_owned(), messages),
        ("bare rows, 500 a transaction".to_owned(), rows),
        ("offered, trigger sent".to_owned(), sent / took.as_secs_f64()),
    ]);
    let cost = if args.broker.is_some() { Vec::new() } else { cost(&running, args.waiting, time).await? };
    running.stop().await?;
    show(Outcome { rates, cost }, args.options.json);
    Ok(())
}

pub(super) fn ids(prefix: &str, count: u32) -> anyhow::Result<Vec<DeviceId>> {
    (0..count).map(|number| Ok(format!("{prefix}-{number}").parse()?)).collect()
}

/// How long it takes until the triggers of all are sent. They are nobody's: a broker that has nobody to send them to is fastest.
pub(super) async fn offer(running: &Running, devices: &[DeviceId]) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let answers = running.services().updates.check_many(&Actor::COMMAND_LINE, devices, true).await?;
    let other = answers.values().find(|answer| answer.decision != "offered");
    ensure!(answers.len() == devices.len() && other.is_none(), "not all were offered: {other:?}");
    while running.waiting(devices).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}

/// The process without and with devices that wait and are not there.
async fn cost(running: &Running, count: u32, time: Duration) -> anyhow::Result<Vec<Cost>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let before = percent(time).await?;
    let devices = ids("waits", count)?;
    for devices in devices.chunks(PART) {
        running.fill(devices, &product(), &version(OLD), true).await?;
        running.services().updates.check_many(&Actor::COMMAND_LINE, devices, false).await?;
        running.fill(devices, &product(), &version(OLD), false).await?;
    }
    ensure!(running.waiting(&devices).await? == devices.len(), "not all of them wait");
    let after = percent(time).await?;
    Ok(vec![
        Cost { waiting: 0, percent_of_a_core: before },
        Cost { waiting: count, percent_of_a_core: after },
    ])
}

async fn percent(time: Duration) -> anyhow::Result<f64> {
    // What was begun before ends first.
    tokio::time::sleep(PAUSE).await;
    let before = cpu_s()?;
    tokio::time::sleep(time).await;
    Ok((cpu_s()? - before) * 100.0 / time.as_secs_f64())
}

/// What the process has used, as Linux counts it: in hundredths of a second.
fn cpu_s() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .context("only Linux says what a process costs: --waiting 0")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // `utime` and `stime`, the 14th and the 15th field of proc(5); the name was the second.
    Ok(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

fn show(result: Outcome, as_json: bool) {
    if as_json {
        output::json(&result);
        return;
    }
    print(&result.rates, false);
    for cost in result.cost {
        answer!("{} waiting offline: {:.1} % of a core", cost.waiting, cost.percent_of_a_core);
    }
}
