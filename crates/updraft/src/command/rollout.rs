//! `updraft rollout`: a version is given to the fleet step by step.

mod start;
mod watch;

use std::process::ExitCode;

use api::{Ending, Rollout};
use clap::Subcommand;
use contract::ProductName;
use serde::Serialize;
use serde_json::json;

use crate::api_client::ServerArgs;
use crate::command::verdict;
use crate::output;
use crate::whole::Whole;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a rollout of a release
    Start(Box<start::Args>),
    /// List rollouts, the newest first
    List(ListArgs),
    /// Show one rollout
    Show(OneArgs),
    /// Follow one until it has ended: exit code 0 if it is done, 1 if it was halted or aborted
    Watch(OneArgs),
    /// Offer it to nobody more for a while
    Pause(OneArgs),
    /// Go on with one that is paused
    Resume(OneArgs),
    /// End it for good: nothing more is sent
    Abort(AbortArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only of this product
    #[arg(short, long, value_name = "P")]
    product: Option<ProductName>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// Its number
    #[arg(value_name = "N")]
    number: u64,
    #[command(flatten)]
    server: ServerArgs,
    /// Print data for programs; of a rollout that is followed, a line for each change
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct AbortArgs {
    #[command(flatten)]
    of: OneArgs,
    /// Why, for whoever meets it
    #[arg(long)]
    reason: Option<String>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Start(args) => return start::run(*args).await,
        Command::Watch(args) => return watch::run(&args.server.client()?, args.number, args.json).await,
        Command::List(args) => list(args).await?,
        Command::Show(args) => {
            let path = ["rollouts", &args.number.to_string()];
            let rollout: Whole<Rollout> = args.server.client()?.get(&path, &()).await?;
            if args.json {
                output::json(&rollout);
            } else {
                show(&rollout);
            }
        }
        Command::Pause(args) => act(&args, "pause", &json!({})).await?,
        Command::Resume(args) => act(&args, "resume", &json!({})).await?,
        Command::Abort(args) => act(&args.of, "abort", &Ending { reason: args.reason }).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let path = match &args.product {
        Some(product) => vec!["products", product.as_str(), "rollouts"],
        None => vec!["rollouts"],
    };
    let rollouts: Vec<Whole<Rollout>> = args.server.client()?.list(&path, &()).await?;
    let empty = "No rollouts. Begin one: updraft rollout start VERSION -p PRODUCT";
    let heads = ["ROLLOUT", "PRODUCT", "VERSION", "STATE", "STEP", "SUCCEEDED", "FAILED", "OF", "WHY"];
    output::list(rollouts, args.json, empty, heads, |rollout| {
        let counts = &rollout.counts;
        let steps = rollout.steps.len();
        [
            rollout.id.to_string(),
            rollout.product.to_string(),
            output::line(rollout.version.as_str()),
            output::line(rollout.state.as_str()),
            output::cell(rollout.step.map(|step| format!("{step} of {steps}"))),
            counts.succeeded.to_string(),
            (counts.failed + counts.rolled_back + counts.timed_out).to_string(),
            counts.total.to_string(),
            output::cell(rollout.halt_reason.as_ref()),
        ]
    });
    Ok(())
}

async fn act(args: &OneArgs, what: &str, body: &impl Serialize) -> anyhow::Result<()> {
    let number = args.number.to_string();
    let rollout: Whole<Rollout> = args.server.client()?.post(&["rollouts", &number, what], body).await?;
    if args.json {
        output::json(&rollout);
    } else {
        answer!("{}.", verdict::line(&rollout));
    }
    Ok(())
}

fn show(rollout: &Rollout) {
    answer!("{} {}: {}.", rollout.product, output::line(rollout.version.as_str()), verdict::line(rollout));
    if let Some(why) = &rollout.halt_reason {
        answer!("{}", output::line(why));
    }
    if rollout.blocked {
        answer!("{} is blocked since.", output::line(rollout.version.as_str()));
    }
    let heads = ["STEP", "PERCENT", "WATCHED", "DEVICES", "WAITING", "IN FLIGHT", "SUCCEEDED", "FAILED"];
    let row = |(n, of): (usize, &api::RolloutStep)| {
        let counts = &of.counts;
        [
            (n + 1).to_string(),
            of.step.percent.to_string(),
            of.step.soak(),
            counts.total.to_string(),
            counts.waiting.to_string(),
            counts.in_flight.to_string(),
            counts.succeeded.to_string(),
            (counts.failed + counts.rolled_back + counts.timed_out).to_string(),
        ]
    };
    output::table(heads, rollout.steps.iter().enumerate().map(row));
    start::left_out(&rollout.left_out);
}
