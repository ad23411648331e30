//! `updraft token`: access tokens, on the server's own database, whether it runs or not.

use std::process::ExitCode;
use std::time::Duration;

use chrono::SecondsFormat;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use server::access::{Access, Role};
use server::actor::Actor;

use crate::command::database::{DatabaseArgs, is_there, shown};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a token and print its secret, this once
    New {
        /// What it is for
        name: String,
        /// What it may do: viewer reads, ci publishes and promotes, operator does all but tokens, admin all
        #[arg(long, default_value = "viewer", value_parser = role())]
        role: Role,
        /// Days until it ends; never, if not said
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: Option<u64>,
        #[command(flatten)]
        of: Of,
    },
    /// List the tokens, without their secrets; those of trusted publishers too, until they end
    List(Of),
    /// End a token, and the sessions that were got with it; of a trusted publisher all that have this name
    Revoke {
        /// Its name, as the list has it
        name: String,
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, clap::Args)]
struct Of {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(["viewer", "ci", "operator", "admin"])
        .map(|word| Role::from_word(&word).expect("these are the roles"))
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::New { name, role, days, of } => {
            let lifetime = days.map(|days| Duration::from_secs(days * 86_400));
            let config = of.database.config()?;
            let is_new = !is_there(&config);
            let token = Access::open(&config)
                .await?
                .create_token(&Actor::COMMAND_LINE, &name, role, lifetime)
                .await?;
            if of.json {
                output::json(&json!({"token": token, "name": name, "role": role.as_str()}));
            } else {
                answer!("{token}");
                eprintln!(
                    "This token ({name}, {}) is shown this once: keep it, for example in UPDRAFT_TOKEN.",
                    role.as_str()
                );
                if is_new {
                    eprintln!(
                        "There was no {} yet: it was made for this. Start the server with the same configuration \
                         and from this folder, or it will not know the token.",
                        shown(&config)
                    );
                }
            }
        }
        Action::List(of) => {
            let tokens = of.database.open().await?.tokens().await?;
            let heads = ["NAME", "KIND", "ROLE", "PRODUCT", "MADE", "LAST USED", "ENDS"];
            output::list(tokens, of.json, "", heads, |token| {
                [
                    output::line(&token.name),
                    output::line(&token.kind),
                    token.role.as_str().to_owned(),
                    output::cell(token.product.as_ref()),
                    output::ago(Some(token.created_at)),
                    output::ago(token.used_at),
                    output::cell(token.expires_at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
                ]
            });
        }
        Action::Revoke { name, of } => {
            let ended = of.database.open().await?.revoke_token(&Actor::COMMAND_LINE, &name).await?;
            if !of.json && ended == 1 {
                answer!("The token {name} is ended.");
            } else if !of.json {
                answer!("{ended} tokens named {name} are ended.");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
