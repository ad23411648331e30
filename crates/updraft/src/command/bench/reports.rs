//! Messages of devices a second, in the batches that the batcher makes, committed as a running server commits them; beside bare
//! rows of the same run, and rows that the row mapping saves.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use api::UpdateState;
use server::Rows;
use server::run::{StartOptions, start};

use super::decisions::{NEW, OLD, config, product, promote, publish, version};
use super::offers::{ids, offer};
use super::rate::{Options, compare, print, rate};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many devices say something at a time
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// A database that may be filled, such as postgres://…; a file in a temporary folder if none is named
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    #[command(flatten)]
    options: Options,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let config = config(folder.path(), args.database.as_deref());
    let running = start(config, StartOptions::default()).await?;
    running.linked().await?;
    publish(running.services(), NEW).await?;
    promote(running.services(), NEW).await?;
    let (old, new, time) = (version(OLD), version(NEW), args.options.time());
    let mut number = 0;
    let mut round = || {
        number += 1;
        number
    };
    let rows = ids("rows", args.devices)?;
    running.fill(&rows, &product(), &old, false).await?;
    // Not the first time, which inserts.
    running.write_rows(&rows, round(), Rows::OfTheirOwn).await?;
    let mut rates = Vec::new();
    for (what, how) in [
        ("bare rows of another table, upserted 1,000 a transaction", Rows::OfTheirOwn),
        ("rows of devices, read and updated by plain statements", Rows::Plain),
        ("the same by the row mapping", Rows::Mapped),
    ] {
        let written = rate(time, async || {
            running.write_rows(&rows, round(), how).await?;
            anyhow::Ok(args.devices)
        });
        rates.push((what.to_owned(), written.await?));
    }
    let (mut took, mut handled) = (Duration::ZERO, 0.0);
    while took < time {
        let devices = ids(&format!("says-{}", round()), args.devices)?;
        running.fill(&devices, &product(), &old, false).await?;
        offer(&running, &devices).await?;
        let begun = Instant::now();
        handled += f64::from(running.handle_reports(&devices, &old, &new).await?);
        took += begun.elapsed();
        let last = running.services().devices.show(&devices[devices.len() - 1]).await?;
        let has_succeeded = last.update.as_ref().is_some_and(|update| update.state == UpdateState::Succeeded);
        ensure!(has_succeeded, "what was said was not believed: {last:?}");
    }
    running.stop().await?;
    rates.push(("messages of updates, committed".to_owned(), handled / took.as_secs_f64()));
    print(&compare(rates), args.options.json);
    Ok(())
}
