//! `updraft device`: one device.

use std::process::ExitCode;
use std::time::Duration;

use api::{
    CheckAnswer, CheckRequest, Device, DeviceChange, DeviceReport, HOLD, NewDevice, Page, RegisteredDevice,
    Update, UpdateEvent, UpdateState,
};
use contract::{DeviceId, Lack, ProductName};
use image::Revision;

use crate::advice;
use crate::api_client::{ApiClient, ServerArgs};
use crate::command::devices::version;
use crate::output;
use crate::whole::Whole;

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
        /// Send the trigger although the device seems to be offline, and tell it not to put the update off
        #[arg(long, conflicts_with = "when_online")]
        force: bool,
        /// Keep the update for a device that is offline, and send it when it comes
        #[arg(long)]
        when_online: bool,
        /// For how long it is kept, in seconds
        #[arg(long, value_name = "SECONDS", requires = "when_online")]
        expires: Option<u32>,
        /// Wait until the update has ended; exit code 1 unless the device then runs what it should
        #[arg(long)]
        wait: bool,
    },
    /// Change its product, tags, group or pin; what is left out stays
    Set {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        change: Change,
    },
    /// List its updates, newest first, or what happened to one of them
    History {
        #[command(flatten)]
        one: One,
        /// What happened to this update, oldest first
        #[arg(long, value_name = "N")]
        update: Option<i64>,
    },
    /// Remove it and its history
    Remove(One),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Change {
    /// Another product
    #[arg(short, long, value_name = "P")]
    product: Option<ProductName>,
    /// All its tags from now on, each by itself; an empty one: none
    #[arg(long = "tag", value_name = "TAG")]
    tags: Option<Vec<String>>,
    /// Its group
    #[arg(long, conflicts_with = "no_group")]
    group: Option<String>,
    /// Take it out of its group
    #[arg(long)]
    no_group: bool,
    /// Offer it nothing but this version
    #[arg(long, value_name = "VERSION")]
    pin: Option<String>,
    /// Offer it nothing at all
    #[arg(long, conflicts_with = "pin")]
    hold: bool,
    /// Offer it whatever there is
    #[arg(long, conflicts_with_all = ["pin", "hold"])]
    unpin: bool,
    /// Why it is pinned or on hold
    #[arg(long)]
    reason: Option<String>,
}

impl Change {
    fn request(self) -> DeviceChange {
        let hold = self.hold.then(|| HOLD.to_owned());
        let none = |is_none: bool| is_none.then_some(None);
        DeviceChange {
            product: self.product,
            tags: self.tags.map(|tags| tags.into_iter().filter(|tag| !tag.is_empty()).collect()),
            group: self.group.map(Some).or(none(self.no_group)),
            pin: self.pin.or(hold).map(Some).or(none(self.unpin)),
            pin_reason: self.reason,
        }
    }
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

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add { one, product } => add(&one, product).await,
        Action::Show(one) => show(&one).await,
        Action::Check { one, force, when_online, expires, wait } => {
            check(&one, CheckRequest { force, when_online, expires_s: expires }, wait).await
        }
        Action::Set { one, change } => {
            let client = one.server.client()?;
            let device: Whole<Device> = client.patch(&["devices", &one.id], &change.request()).await?;
            client.require(device.id == one.id)?;
            print(&one, &device);
            Ok(ExitCode::SUCCESS)
        }
        Action::History { one, update: None } => history(&one).await,
        Action::History { one, update: Some(number) } => events(&one, number).await,
        Action::Remove(one) => {
            one.server.client()?.delete(&["devices", &one.id]).await?;
            if !one.json {
                answer!("{} and its history are removed.", one.id);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn add(one: &One, product: Option<ProductName>) -> anyhow::Result<ExitCode> {
    let client = one.server.client()?;
    let device = NewDevice { id: one.id.clone(), product };
    let added: Whole<RegisteredDevice> = client.post(&["devices"], &device).await?;
    client.require(added.id == one.id)?;
    if one.json {
        output::json(&added);
    } else {
        answer!(
            "{} is registered for {}. Its MQTT credentials, shown this once:",
            one.id,
            output::cell(added.product.as_ref())
        );
        answer!("  user name  {}", output::line(&added.mqtt_username));
        answer!("  password   {}", output::line(&added.mqtt_password));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(one: &One) -> anyhow::Result<ExitCode> {
    let client = one.server.client()?;
    let device: Whole<Device> = client.get(&["devices", &one.id], &()).await?;
    client.require(device.id == one.id)?;
    print(one, &device);
    Ok(ExitCode::SUCCESS)
}

fn print(one: &One, device: &Whole<Device>) {
    if one.json {
        output::json(device);
        return;
    }
    let none = DeviceReport::default();
    let report = device.report.as_ref().unwrap_or(&none);
    for (name, value) in [
        ("device", device.id.to_string()),
        ("product", output::cell(device.product.as_ref())),
        ("group", output::cell(device.group.as_ref())),
        ("pinned", pinned(device)),
        ("version", version(device)),
        ("online", output::yes(device.online).to_owned()),
        ("last seen", output::ago(device.last_seen)),
        ("chip", output::cell(report.chip.as_ref())),
        ("chip revision", output::cell(report.chip_revision.map(Revision))),
        ("slot", output::cell(report.slot.as_ref())),
        ("state", output::cell(report.state.as_ref())),
        ("smallest slot", output::cell(report.slot_bytes.map(|bytes| store::grouped(bytes.into())))),
        ("rollback", output::cell(report.rollback.map(output::yes))),
        ("last restart", output::cell(report.reset.as_ref())),
        ("returned", output::cell(report.returned.as_ref())),
        ("sha256", output::cell(device.sha256)),
    ] {
        if value != "-" {
            answer!("{name:<14} {value}");
        }
    }
    for word in &device.lacks {
        answer!("{:<14} {}", "lacks", lack(&output::line(word)));
    }
    if let Some(update) = &device.update {
        answer!("{:<14} {}", "last update", sentence(update));
    }
    if device.twins {
        answer!("{:<14} two devices use this id: give one of them another", "warning");
    }
}

/// To what a device is pinned, by whom and why.
fn pinned(device: &Device) -> String {
    let Some(pin) = &device.pin else { return "-".to_owned() };
    let by = output::cell(device.pin_by.as_ref());
    let why = device.pin_reason.as_ref().map(|why| format!(": {}", output::line(why))).unwrap_or_default();
    format!("{} (by {by}{why})", output::line(pin))
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
fn sentence(update: &Update) -> String {
    let reason =
        update.reason.as_ref().map(|reason| format!(": {}", output::line(reason))).unwrap_or_default();
    let code = update.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let [to, state] = [update.to.to_string(), update.state.to_string()].map(|word| output::line(&word));
    let more = match (update.deferred_until, update.expires_at, update.unconfirmed) {
        (Some(until), ..) => format!(" (asked again at {})", until.format("%Y-%m-%d %H:%M")),
        (_, Some(until), _) => format!(" (kept for the device until {})", until.format("%Y-%m-%d %H:%M")),
        (.., true) => " (by the device's word)".to_owned(),
        _ => String::new(),
    };
    format!("{} → {to} {state}{more}{reason}{code}", output::cell(update.from.as_ref()))
}

async fn check(one: &One, request: CheckRequest, wait: bool) -> anyhow::Result<ExitCode> {
    let client = one.server.client()?;
    let path = ["devices", &one.id, "check-update"];
    let mut answer: Whole<CheckAnswer> = client.post(&path, &request).await?;
    if !one.json {
        let advice = answer
            .cause
            .as_ref()
            .and_then(advice::advice)
            .map(|advice| format!(" ({advice})"))
            .unwrap_or_default();
        answer!("{}: {}{advice}", output::line(&answer.decision), output::line(&answer.reason));
    }
    let offered = answer.update.as_ref().filter(|_| matches!(&*answer.decision, "offered" | "in_progress"));
    let is_good = match offered {
        Some(update) if wait => {
            let ended = follow(&client, one, update.id).await?;
            if !one.json {
                answer!("{}", sentence(&ended));
            }
            let is_good = ended.state == UpdateState::Succeeded;
            answer.json["update"] = ended.json;
            is_good
        }
        _ => !wait || answer.decision == "up_to_date",
    };
    if one.json {
        output::json(&answer);
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks until the update has ended; the server ends every update, by its own time-out at the latest.
async fn follow(client: &ApiClient, one: &One, id: i64) -> anyhow::Result<Whole<Update>> {
    let bar = output::progress("offered", 0);
    loop {
        let page: Page<Whole<Update>> = client.get(&["devices", &one.id, "updates"], &()).await?;
        let Some(update) = page.items.into_iter().find(|update| update.id == id) else {
            anyhow::bail!("The update is not in the device's history any more.")
        };
        if update.finished_at.is_some() {
            bar.finish_and_clear();
            return Ok(update);
        }
        bar.set_length(update.bytes);
        bar.set_position(update.done);
        bar.set_message(output::line(&update.state.to_string()));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn history(one: &One) -> anyhow::Result<ExitCode> {
    let updates: Vec<Whole<Update>> =
        one.server.client()?.list(&["devices", &one.id, "updates"], &()).await?;
    let empty = format!("{} has had no updates yet.", one.id);
    output::list(
        updates,
        one.json,
        &empty,
        ["N", "WHEN", "FROM", "TO", "STATE", "CODE", "REASON"],
        |update| {
            [
                update.id.to_string(),
                output::ago(Some(update.created_at)),
                output::cell(update.from.as_ref()),
                output::cell(Some(&update.to)),
                output::cell(Some(&update.state)),
                output::cell(update.code.as_ref()),
                output::cell(update.reason.as_ref()),
            ]
        },
    );
    Ok(ExitCode::SUCCESS)
}

async fn events(one: &One, number: i64) -> anyhow::Result<ExitCode> {
    let path = ["devices", &one.id, "updates", &number.to_string(), "events"];
    let events: Vec<Whole<UpdateEvent>> = one.server.client()?.list(&path, &()).await?;
    let empty = "What happened to it is not kept any more.";
    output::list(
        events,
        one.json,
        empty,
        ["WHEN", "WHO", "WHAT", "STATE", "PHASE", "DONE", "REASON"],
        |event| {
            [
                event.at.format("%Y-%m-%d %H:%M:%S").to_string(),
                output::line(format!("{} {}", event.actor_kind, event.actor).trim_end()),
                output::line(&event.kind),
                output::cell(Some(&event.to)),
                output::cell(event.phase.as_ref()),
                store::grouped(event.done),
                output::cell(event.reason.as_ref()),
            ]
        },
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_in_one_line_ends_with_its_code_if_there_is_one() {
        let update = serde_json::json!({"id": 1, "device": "lamp-1", "from": "1.0.0", "to": "1.1.0", "state": "failed",
            "reason": "too big", "bytes": 1, "done": 0, "created_at": "2026-01-01T00:00:00Z"});
        let mut update: Update = serde_json::from_value(update).expect("an update");
        assert_eq!(sentence(&update), "1.0.0 → 1.1.0 failed: too big");
        update.code = Some("too_large".to_owned());
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
