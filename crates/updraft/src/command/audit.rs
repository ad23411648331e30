//! `updraft audit`: who did what.

mod verify;

use std::process::ExitCode;
use std::time::Duration;

use api::{AuditEntry, AuditQuery, Page};

use crate::api_client::ServerArgs;
use crate::output;
use crate::whole::Whole;

/// How often it is asked whether there is more.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only by this user, token or job
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only of this kind, such as device.register
    #[arg(long, value_name = "WORD")]
    action: Option<String>,
    /// Only about this device, product, token or user
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// How many of the last entries
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Only entries above this id, the oldest first
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    /// Go on, and print each entry as it comes
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Print data for programs; with --follow, each entry on a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Hold the entries in the server's own database against their seals, whether it runs or not
    Verify(verify::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Command::Verify(args)) = &args.command {
        return verify::run(args).await;
    }
    let client = args.server.client()?;
    let Args { actor, action, subject, after, .. } = args;
    let mut query = AuditQuery { actor, action, subject, after, before: None, limit: Some(args.limit) };
    loop {
        let page: Page<Whole<AuditEntry>> = match client.get(&["audit"], &query).await {
            Ok(page) => page,
            // Who follows outlasts a restart of the server.
            Err(error) if args.follow && query.after.is_some() => {
                warn!("updraft: {error:#}. It goes on.");
                tokio::time::sleep(FOLLOW_EVERY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        query.after = page.items.last().map(|entry| entry.id).or(query.after);
        if !args.follow {
            print(page, args.json);
            return Ok(ExitCode::SUCCESS);
        }
        for entry in &page.items {
            if args.json {
                answer!("{}", entry.json);
            } else {
                answer!("{}", row(entry).join("  "));
            }
        }
        // From the first of all, if there is none yet.
        query.after.get_or_insert(0);
        if page.next.is_none() || page.items.is_empty() {
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
}

fn print(page: Page<Whole<AuditEntry>>, json: bool) {
    if json {
        output::json(&page);
    } else {
        let heads = ["ID", "WHEN", "WHO", "FROM", "WHAT", "ON", "BEFORE", "AFTER"];
        output::list(page.items, false, "There are no such entries.", heads, |entry| row(entry));
    }
}

fn row(entry: &AuditEntry) -> [String; 8] {
    [
        entry.id.to_string(),
        entry.at.format("%Y-%m-%d %H:%M:%S").to_string(),
        output::line(&format!("{} {}", entry.actor_kind, entry.actor)),
        output::cell(entry.address.as_ref()),
        output::line(&entry.action),
        output::line(&format!("{} {}", entry.subject_kind, entry.subject)),
        output::cell(entry.before.as_ref()),
        output::cell(entry.after.as_ref()),
    ]
}
