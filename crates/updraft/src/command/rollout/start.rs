//! `updraft rollout start`.

use std::process::ExitCode;

use api::{HaltAt, LeftOut, NewRollout, Rollout, RolloutPreview, Selector, Step, Window};
use chrono::{DateTime, Utc};
use contract::{DeviceId, ProductName, Version};
use serde_json::json;

use super::watch;
use crate::api_client::ServerArgs;
use crate::command::verdict;
use crate::output;
use crate::whole::Whole;

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Args {
    /// Which release
    version: Version,
    /// Of which product
    #[arg(short, long, value_name = "P")]
    product: ProductName,
    /// Percents of the devices, each with how long it is watched before the next, such as 1:10m,10:1h,100
    #[arg(long, value_name = "STEPS")]
    steps: Option<String>,
    /// Only devices with this tag, or another one that is named so
    #[arg(long)]
    tag: Vec<String>,
    /// Only devices in this group, or another one that is named so
    #[arg(long)]
    group: Vec<String>,
    /// Only this device, and others that are named so
    #[arg(long, value_name = "ID")]
    id: Vec<DeviceId>,
    /// Only devices that run a version in this range, such as ">=1.0.0, <1.2.0"
    #[arg(long, value_name = "RANGE")]
    versions: Option<String>,
    /// How many devices are at work on it at once, at most (500 if not said)
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// How many in a hundred may fail (3 if not said)
    #[arg(long, value_name = "PERCENT", conflicts_with = "halt_at")]
    tolerated: Option<f64>,
    /// How many in a hundred may not (10 if not said)
    #[arg(long, value_name = "PERCENT", conflicts_with = "halt_at")]
    unacceptable: Option<f64>,
    /// Stop at exactly so many failures in a hundred instead
    #[arg(long, value_name = "PERCENT")]
    halt_at: Option<f64>,
    /// Not before so many have failed (3 if not said)
    #[arg(long, value_name = "N", requires = "halt_at")]
    min_count: Option<u64>,
    /// Leave the version unblocked if the rollout stops by itself
    #[arg(long)]
    no_block: bool,
    /// Leave production as it is once the rollout is done
    #[arg(long)]
    no_promote: bool,
    /// A device that is silent for so many seconds has failed
    #[arg(long, value_name = "SECONDS")]
    update_timeout: Option<u32>,
    /// Who was not offered it by then is not offered it any more, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<DateTime<Utc>>,
    /// Offer it only in these hours, such as 01:00-05:00
    #[arg(long, value_name = "HOURS")]
    window: Option<String>,
    /// Of which time zone those hours are, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "window")]
    tz: String,
    /// Only say what it would do
    #[arg(long)]
    dry_run: bool,
    /// Follow it until it has ended, as `updraft rollout watch` does
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let asked = asked(&args)?;
    let server = args.server.client()?;
    let path = ["products", args.product.as_str(), "rollouts"];
    if args.dry_run {
        let preview: Whole<RolloutPreview> = server.post(&path, &asked).await?;
        if args.json {
            output::json(&preview);
        } else {
            show(&preview);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rollout: Whole<Rollout> = server.post(&path, &asked).await?;
    if args.watch {
        return watch::run(&server, rollout.id, args.json).await;
    }
    if args.json {
        output::json(&rollout);
    } else {
        answer!("{}.", verdict::line(&rollout));
        left_out(&rollout.left_out);
        answer!("Follow it: updraft rollout watch {}", rollout.id);
    }
    Ok(ExitCode::SUCCESS)
}

fn asked(args: &Args) -> anyhow::Result<NewRollout> {
    let usage = |error: serde_json::Error| output::Usage(error.to_string());
    let halt_at: Option<HaltAt> = match (args.halt_at, args.tolerated, args.unacceptable) {
        (None, None, None) => None,
        (Some(failed), ..) => {
            let fixed = json!({"failed_percent": failed, "min_count": args.min_count.unwrap_or(3)});
            Some(serde_json::from_value(fixed).map_err(usage)?)
        }
        (None, tolerated, unacceptable) => {
            let rates = json!({"tolerated_percent": tolerated, "unacceptable_percent": unacceptable});
            Some(serde_json::from_value(rates).map_err(usage)?)
        }
    };
    let window: Option<Window> = match &args.window {
        None => None,
        Some(hours) => {
            let (from, to) = hours.split_once('-').unwrap_or((hours, ""));
            let window = json!({"from": from.trim(), "to": to.trim(), "tz": args.tz});
            Some(serde_json::from_value(window).map_err(usage)?)
        }
    };
    Ok(NewRollout {
        version: args.version.clone(),
        steps: args.steps.as_deref().map(Step::parse_all).transpose().map_err(output::Usage)?,
        selector: Selector {
            groups: args.group.clone(),
            tags: args.tag.clone(),
            ids: args.id.clone(),
            versions: args.versions.clone(),
        },
        max_in_flight: args.max_in_flight,
        halt_at,
        block_on_halt: args.no_block.then_some(false),
        promote: args.no_promote.then_some(false),
        update_timeout_s: args.update_timeout,
        expires_at: args.expires,
        window,
        dry_run: args.dry_run,
    })
}

fn show(preview: &RolloutPreview) {
    answer!("{} devices would take part, of which {} are online now.", preview.devices, preview.online);
    let row = |(n, devices): (usize, &u64)| [(n + 1).to_string(), devices.to_string()];
    output::table(["STEP", "DEVICES"], preview.steps.iter().enumerate().map(row));
    left_out(&preview.left_out);
}

pub(super) fn left_out(all: &[LeftOut]) {
    for left_out in all {
        let names: Vec<_> = left_out.examples.iter().map(DeviceId::as_str).collect();
        let (devices, word) = (left_out.devices, output::line(&left_out.decision));
        answer!("Left out: {devices} ({word}: {}): {}", names.join(", "), output::line(&left_out.reason));
    }
}
