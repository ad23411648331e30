//! What the gate found, as `updraft publish` and `updraft image check` tell it: the same whoever looked, a server or
//! this process.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use bytes::Bytes;
use contract::ProductName;
use serde_json::{Map, Value, json};
use server::web::{FILE_NAME_MAX_BYTES, IMAGE_MAX_BYTES};
use store::{Check, Facts, Finding, Level, Publication, SizeOf, Verdict, judge};

use crate::advice;
use crate::api_client::{ApiClient, Upload};
pub(crate) use crate::command::gate::asked::{Asked, PASSED, PUBLISHED};
use crate::output;

mod asked;

/// What the two commands print for programs.
const KEYS: [&str; 12] = [
    "decision",
    "refusal",
    "product",
    "version",
    "size",
    "sha256",
    "chip",
    "url",
    "promoted",
    "findings",
    "slot_bytes",
    "trend",
];

/// `--allow`.
#[derive(Debug, clap::Args)]
pub(crate) struct AllowArgs {
    /// Publish in spite of this check, or do not warn of it (docs/gate.md lists them); can be given more than once
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) allow: Vec<Check>,
}

/// The names of checks, with commas between.
pub(crate) fn names(checks: &[Check]) -> String {
    checks.iter().map(|check| check.name()).collect::<Vec<_>>().join(",")
}

/// What was found, in the shape that the server answers.
pub(crate) fn judgement(product: &ProductName, verdict: &Verdict) -> Value {
    let finding = |Finding { check, allowed, cause }: &Finding| {
        json!({
            "check": check.name(), "level": check.level().name(), "allowed": allowed,
            "overrulable": check.is_overrulable(), "sentence": cause.sentence(),
        })
    };
    let size = |SizeOf { version, size }: &SizeOf| json!({"version": version, "size": size});
    json!({
        "decision": if verdict.is_refused() { "refused" } else { "pass" },
        "refusal": verdict.refusal().map(|cause| cause.sentence()),
        "product": product, "version": verdict.version, "size": verdict.size, "sha256": verdict.sha256,
        "chip": verdict.chip, "findings": verdict.findings.iter().map(finding).collect::<Vec<_>>(),
        "slot_bytes": verdict.slot_bytes, "trend": verdict.trend.iter().map(size).collect::<Vec<_>>(),
    })
}

/// The refusal of what cannot even be sent: a server takes no empty file, and none that no flash holds. All else is the
/// server's to judge, which makes every check.
pub(crate) fn unsendable(publication: &Publication, image: &Bytes) -> Option<Value> {
    if (1..=IMAGE_MAX_BYTES).contains(&image.len()) {
        return None;
    }
    let verdict = judge(image, &image::verify(image), publication, &Facts::default());
    verdict.is_refused().then(|| judgement(&publication.product, &verdict))
}

/// What the server's gate is to call the file, where it takes such a name.
pub(crate) fn file(publication: &Publication) -> Option<(&'static str, &str)> {
    let fits = |name: &&str| name.len() <= FILE_NAME_MAX_BYTES && !name.contains(char::is_control);
    publication.file.as_deref().filter(fits).map(|name| ("file", name))
}

/// Sends the image, with a bar on a terminal, and believes only what agrees with it.
pub(crate) async fn upload(
    server: &ApiClient,
    path: &[&str],
    query: &[(&str, &str)],
    asked: &Asked<'_>,
) -> anyhow::Result<Value> {
    let bar = output::progress("uploading", asked.image.len() as u64);
    let upload = Upload { image: asked.image, bar: &bar };
    let result = server.upload(path, query, &upload, |answer| asked.is_answered_by(answer)).await;
    bar.finish_and_clear();
    let answer = result?;
    match asked.contradiction(&answer) {
        Some(what) => anyhow::bail!(
            "The server's answer is about something else than what was sent: {what}. Look at `updraft releases -p {}` before \
             you use it, and at what stands between here and the server.",
            asked.product
        ),
        None => Ok(answer),
    }
}

/// What is printed for programs: the known keys, and of a refusal only what is known.
pub(crate) fn object(answer: &Value) -> Value {
    let refused = answer["decision"] == "refused";
    let object: Map<String, Value> = KEYS
        .into_iter()
        .filter_map(|key| Some((key, answer.get(key)?)))
        .filter(|(key, value)| !value.is_null() || (!refused && *key != "refusal"))
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    Value::Object(object)
}

/// Says on stderr what was found, but for the first refusal, which is said at the end of the command. The check's name stands
/// behind: `--allow` and docs/gate.md go by it.
pub(crate) fn tell(answer: &Value) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut refusals = 0;
    for finding in answer["findings"].as_array().into_iter().flatten() {
        let (allowed, refuses) = (finding["allowed"] == true, finding["level"] == Level::Refuse.name());
        let mut sentence = output::cell(&finding["sentence"]);
        if let Some(advice) = advice_on(answer, finding) {
            let _ = write!(sentence, "; {advice}");
        }
        let _ = write!(sentence, " [{}]", output::cell(&finding["check"]));
        match (refuses, allowed) {
            (true, false) => {
                refusals += 1;
                if refusals > 1 {
                    eprintln!("{}: {sentence}", painted("refused", "31", colour));
                }
            }
            (true, true) => eprintln!("{}: {sentence}", painted("allowed", "33", colour)),
            (false, false) => eprintln!("{}: {sentence}", painted("warning", "33", colour)),
            (false, true) => {}
        }
    }
}

fn painted(word: &str, code: &str, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
}

/// The sizes of the last releases in one line; `None` if there is nothing to compare with, or what was looked at is no image.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn trend(answer: &Value) -> Option<String> {
    let sizes = answer["trend"].as_array().filter(|sizes| sizes.len() > 1 && !answer["chip"].is_null())?;
    let mut line = "size in bytes:".to_owned();
    let mut before = None;
    for entry in sizes {
        let size = entry["size"].as_u64()?;
        let version = entry["version"].as_str().unwrap_or("this one");
        let _ = write!(
            line,
            "{} {version} {}",
            if before.is_some() { " →" } else { "" },
            output::bytes(&entry["size"])
        );
        if let Some(before) = before.filter(|before| *before > 0) {
            let change = (size as f64 - before as f64) / before as f64 * 100.0;
            // Not "-0.0 %".
            let _ = if change.abs() < 0.05 {
                write!(line, " (as large)")
            } else {
                write!(line, " ({change:+.1} %)")
            };
        }
        before = Some(size);
    }
    Some(line)
}

/// The refusal as the error that ends the command: what was found first, and the names of the other checks that refuse it,
/// each with what to do about it. `None` if nothing is refused.
pub(crate) fn refused(answer: &Value) -> Option<anyhow::Error> {
    let refusal = answer["refusal"].as_str()?;
    let findings = answer["findings"].as_array().into_iter().flatten();
    let refuses = |finding: &&Value| finding["level"] == Level::Refuse.name() && finding["allowed"] != true;
    let with_advice = |key: &str, finding: &Value| {
        let advice = advice_on(answer, finding).map(|advice| format!(" ({advice})"));
        format!("{}{}", output::cell(&finding[key]), advice.unwrap_or_default())
    };
    let mut refusals = findings.filter(refuses);
    let Some(first) = refusals.next() else { return Some(anyhow::anyhow!("{refusal}.")) };
    let mut sentence = with_advice("sentence", first);
    let others: Vec<String> = refusals.map(|other| with_advice("check", other)).collect();
    if !others.is_empty() {
        let _ = write!(sentence, "; also refused: {}", others.join(", "));
    }
    Some(anyhow::anyhow!("{sentence}."))
}

/// What to do about a finding that is not allowed.
fn advice_on(answer: &Value, finding: &Value) -> Option<String> {
    let check = Check::ALL.into_iter().find(|check| finding["check"] == check.name())?;
    let product = answer["product"].as_str().unwrap_or("PRODUCT");
    advice::of_check(check, product).filter(|_| finding["allowed"] != true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_one_line() {
        let mut sizes = json!({"chip": "esp32", "trend": [
            {"version": "1.0.0", "size": 1_000_000}, {"version": "1.1.0", "size": 1_100_000}, {"version": null, "size": 990_000},
        ]});
        let line = "size in bytes: 1.0.0 1,000,000 → 1.1.0 1,100,000 (+10.0 %) → this one 990,000 (-10.0 %)";
        assert_eq!(trend(&sizes).as_deref(), Some(line));
        sizes["chip"] = Value::Null;
        assert_eq!(trend(&sizes), None, "a text file has no place in it");
        assert_eq!(trend(&json!({"chip": "esp32", "trend": [{"version": "1.0.0", "size": 1}]})), None);
    }

    #[test]
    fn what_is_printed_for_programs_has_nothing_more_and_of_a_refusal_only_what_is_known() {
        let answer = json!({"decision": "refused", "sha256": null, "refusal": "why", "title": "Conflict", "findings": []});
        assert_eq!(object(&answer), json!({"decision": "refused", "refusal": "why", "findings": []}));
        let answer = json!({"decision": "published", "promoted": null, "refusal": null, "notes": "x"});
        assert_eq!(object(&answer), json!({"decision": "published", "promoted": null}));
    }
}
