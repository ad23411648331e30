//! `updraft device`: one device.

use std::process::ExitCode;
use std::time::Duration;

use contract::{DeviceId, Lack, ProductName};
use serde_json::{Value, json};

use crate::api_client::{ApiClient, ServerArgs};
use crate::output;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Register a device and print its MQTT password, this once
    Add {
        #[command(flatten)]
        one: One,
        /// Its product; may be left out where there is only one
        #[arg(short, long, value_name = "P")]
        product: Option<ProductName>,
    },
    /// Show what is known of it
    Show(One),
    /// Check for an update, and send it if there is one
    Check {
        #[command(flatten)]
        one: One,
        /// Send the trigger although the device seems to be offline
        #[arg(long)]
        force: bool,
        /// Wait until the update has ended; exit code 1 unless the device then runs what it should
        #[arg(long)]
        wait: bool,
    },
    /// List its updates, newest first
    History(One),
    /// Remove it and its history
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The device's id
    #[arg(value_name = "ID")]
    id: DeviceId,
    #[command(flatten)]
    server: ServerArgs,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add { one, product } => add(&one, product.as_ref()).await,
        Action::Show(one) => show(&one).await,
        Action::Check { one, force, wait } => check(&one, force, wait).await,
        Action::History(one) => history(&one).await,
        Action::Remove(one) => {
            one.server.client()?.delete(&["devices", &one.id]).await?;
            if !one.json {
                println!("{} and its history are removed.", one.id);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn add(one: &One, product: Option<&ProductName>) -> anyhow::Result<ExitCode> {
    let mut body = json!({"id": one.id});
    if let Some(product) = product {
        body["product"] = json!(product);
    }
    let added = one
        .server
        .client()?
        .post(&["devices"], &body, |added| {
            added["id"] == one.id.as_str() && added["mqtt_password"].is_string()
        })
        .await?;
    if one.json {
        output::json(&added);
    } else {
        println!(
            "{} is registered for {}. Its MQTT credentials, shown this once:",
            one.id,
            output::cell(&added["product"])
        );
        println!("  user name  {}", output::cell(&added["mqtt_username"]));
        println!("  password   {}", output::cell(&added["mqtt_password"]));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(one: &One) -> anyhow::Result<ExitCode> {
    let device = one
        .server
        .client()?
        .get(&["devices", &one.id], &[], |device| device["id"] == one.id.as_str())
        .await?;
    if one.json {
        output::json(&device);
        return Ok(ExitCode::SUCCESS);
    }
    let report = &device["report"];
    for (name, value) in [
        ("device", output::cell(&device["id"])),
        ("product", output::cell(&device["product"])),
        ("version", output::cell(&device["version"])),
        ("online", output::cell(&device["online"])),
        ("last seen", output::ago(&device["last_seen"])),
        ("chip", output::cell(&report["chip"])),
        ("slot", output::cell(&report["slot"])),
        ("state", output::cell(&report["state"])),
        ("smallest slot", output::bytes(&report["slot_bytes"])),
        ("rollback", output::cell(&report["rollback"])),
        ("sha256", output::cell(&device["sha256"])),
    ] {
        if value != "-" {
            println!("{name:<14} {value}");
        }
    }
    for word in device["lacks"].as_array().into_iter().flatten() {
        println!("{:<14} {}", "lacks", lack(&output::cell(word)));
    }
    if !device["update"].is_null() {
        println!("{:<14} {}", "last update", sentence(&device["update"]));
    }
    Ok(ExitCode::SUCCESS)
}

/// A protection that the device does without, and what that means.
fn lack(word: &str) -> String {
    let meaning = match Lack::ALL.into_iter().find(|lack| lack.as_str() == word) {
        Some(Lack::Signatures) => "it takes unsigned images",
        Some(Lack::Record) => "it forgets at each restart which images failed",
        Some(Lack::CrashLoops) => "it does not see crash loops after the confirmation",
        Some(Lack::Updates) => "it refuses every update, since it cannot write its encrypted flash",
        None => return word.to_owned(),
    };
    format!("{word}: {meaning}")
}

/// An update in one line.
fn sentence(update: &Value) -> String {
    let reason = match &update["reason"] {
        Value::Null => String::new(),
        reason => format!(": {}", output::cell(reason)),
    };
    let code = update["code"].as_str().map(|code| format!(" [{code}]")).unwrap_or_default();
    format!(
        "{} → {} {}{reason}{code}",
        output::cell(&update["from"]),
        output::cell(&update["to"]),
        output::cell(&update["state"])
    )
}

async fn check(one: &One, force: bool, wait: bool) -> anyhow::Result<ExitCode> {
    let client = one.server.client()?;
    let path = ["devices", &one.id, "check-update"];
    let is_decision = |answer: &Value| answer["decision"].is_string() && answer["reason"].is_string();
    let mut answer = client.post(&path, &json!({"force": force}), is_decision).await?;
    let offered = matches!(answer["decision"].as_str(), Some("offered" | "in_progress"));
    if !one.json {
        println!("{}: {}", output::cell(&answer["decision"]), output::cell(&answer["reason"]));
    }
    let mut code = ExitCode::SUCCESS;
    if wait && !offered && answer["decision"] != "up_to_date" {
        code = ExitCode::FAILURE;
    }
    if wait && offered {
        let ended = follow(&client, one, &answer["update"]["id"]).await?;
        if !one.json {
            println!("{}", sentence(&ended));
        }
        if ended["state"] != "succeeded" {
            code = ExitCode::FAILURE;
        }
        answer["update"] = ended;
    }
    if one.json {
        output::json(&answer);
    }
    Ok(code)
}

/// Asks until the update has ended; the server ends every update, by its own time-out at the latest.
async fn follow(client: &ApiClient, one: &One, id: &Value) -> anyhow::Result<Value> {
    let bar = output::progress("offered", 0);
    loop {
        let page = client.get(&["devices", &one.id, "updates"], &[], |page| page["items"].is_array()).await?;
        let update =
            page["items"].as_array().into_iter().flatten().find(|update| update["id"] == *id).cloned();
        let Some(update) = update else {
            anyhow::bail!("The update is not in the device's history any more.")
        };
        if !update["finished_at"].is_null() {
            bar.finish_and_clear();
            return Ok(update);
        }
        bar.set_length(update["bytes"].as_u64().unwrap_or(0));
        bar.set_position(update["done"].as_u64().unwrap_or(0));
        bar.set_message(output::cell(&update["state"]));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn history(one: &One) -> anyhow::Result<ExitCode> {
    let updates = one
        .server
        .client()?
        .list(&["devices", &one.id, "updates"], &[], |update| update["state"].is_string())
        .await?;
    if one.json {
        output::json_list(&updates);
        return Ok(ExitCode::SUCCESS);
    }
    if updates.is_empty() {
        println!("{} has had no updates yet.", one.id);
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["WHEN", "FROM", "TO", "STATE", "CODE", "REASON"].map(str::to_owned).to_vec()];
    rows.extend(updates.iter().map(|update| {
        vec![
            output::ago(&update["created_at"]),
            output::cell(&update["from"]),
            output::cell(&update["to"]),
            output::cell(&update["state"]),
            output::cell(&update["code"]),
            output::cell(&update["reason"]),
        ]
    }));
    output::table(&rows);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_in_one_line_ends_with_its_code_if_there_is_one() {
        let mut update =
            json!({"from": "1.0.0", "to": "1.1.0", "state": "failed", "reason": "too big", "code": null});
        assert_eq!(sentence(&update), "1.0.0 → 1.1.0 failed: too big");
        update["code"] = json!("too_large");
        assert_eq!(sentence(&update), "1.0.0 → 1.1.0 failed: too big [too_large]");
    }

    #[test]
    fn every_lack_is_explained_and_an_unknown_one_is_shown_as_it_came() {
        for known in Lack::ALL {
            assert!(lack(known.as_str()).starts_with(&format!("{}: it ", known.as_str())));
        }
        assert_eq!(lack("gravity"), "gravity");
    }
}
