//! What the gate found, as `updraft publish` and `updraft image check` tell it: the same whoever looked, a server or
//! this process.

use std::fmt::Write as _;

use api::{FILE_NAME_MAX_BYTES, Finding, IMAGE_MAX_BYTES, Judgement, Level, SizeOf};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use server::releases::judgement;
use store::{Check, Facts, Publication, judge};

use crate::advice;
use crate::api_client::{ApiClient, Upload};
use crate::output::{self, painted};

mod answer;
mod asked;

pub(crate) use answer::{Answer, Receipt};
pub(crate) use asked::Asked;

/// `--allow`.
#[derive(Debug, clap::Args)]
pub(crate) struct AllowArgs {
    /// Publish in spite of this check, or do not warn of it (docs/gate.md lists them); can be given more than once
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) allow: Vec<Check>,
}

/// The names of checks as a query has them, with commas between.
pub(crate) fn names(checks: &[Check]) -> Option<String> {
    let names: Vec<_> = checks.iter().map(|check| check.name()).collect();
    Some(names.join(",")).filter(|names| !names.is_empty())
}

/// The refusal of what cannot even be sent: a server takes no empty file, and none that no flash holds. All else is the
/// server's to judge, which makes every check.
pub(crate) fn unsendable(publication: &Publication, image: &Bytes) -> Option<Judgement> {
    if (1..=IMAGE_MAX_BYTES).contains(&image.len()) {
        return None;
    }
    let verdict = judge(image, publication, &Facts::default());
    verdict.is_refused().then(|| judgement(&publication.product, verdict))
}

/// What the server's gate is to call the file, where it takes such a name.
pub(crate) fn file(publication: &Publication) -> Option<String> {
    let fits = |name: &String| name.len() <= FILE_NAME_MAX_BYTES && !name.contains(char::is_control);
    publication.file.clone().filter(fits)
}

/// Sends the image, with a bar on a terminal, and believes only what agrees with it.
pub(crate) async fn upload<T: DeserializeOwned + Into<Answer>>(
    server: &ApiClient,
    path: &[&str],
    query: &impl Serialize,
    asked: &Asked<'_>,
) -> anyhow::Result<Answer> {
    let bar = output::progress("uploading", asked.image.len() as u64);
    let result = server.upload::<T>(path, query, &Upload { image: asked.image, bar: &bar }).await;
    bar.finish_and_clear();
    let answer = result?.map_or_else(|refusal| refusal.judgement.into(), Into::into);
    server.require(asked::is_consistent(&answer))?;
    match asked.contradiction(&answer) {
        Some(what) => anyhow::bail!(
            "The server's answer is about something else than what was sent: {what}. Look at `updraft releases -p {}` before \
             you use it, and at what stands between here and the server.",
            asked.product
        ),
        None => Ok(answer),
    }
}

/// Says on stderr what was found, but for the first refusal, which is said at the end of the command. The check's name stands
/// behind: `--allow` and docs/gate.md go by it.
pub(crate) fn tell(judgement: &Judgement) {
    let colour = output::has_colour(&std::io::stderr());
    let mut refusals = 0;
    for finding in &judgement.findings {
        let mut sentence = output::line(&finding.sentence);
        if let Some(advice) = advice_on(judgement, finding) {
            let _ = write!(sentence, "; {advice}");
        }
        let _ = write!(sentence, " [{}]", output::line(&finding.check));
        match (finding.level == Level::Refuse, finding.allowed) {
            (true, false) => {
                refusals += 1;
                if refusals > 1 {
                    eprintln!("{}: {sentence}", painted("31", "refused", colour));
                }
            }
            (true, true) => eprintln!("{}: {sentence}", painted("33", "allowed", colour)),
            (false, false) => eprintln!("{}: {sentence}", painted("33", "warning", colour)),
            (false, true) => {}
        }
    }
}

/// The sizes of the last releases in one line; `None` if there is nothing to compare with, or what was looked at is no image.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn trend(judgement: &Judgement) -> Option<String> {
    if judgement.trend.len() < 2 || judgement.chip.is_none() {
        return None;
    }
    let mut line = "size in bytes:".to_owned();
    let mut before = None;
    for SizeOf { version, size } in &judgement.trend {
        let (size, version) = (*size, version.as_ref().map_or("this one", |version| version.as_str()));
        let arrow = if before.is_some() { " →" } else { "" };
        let _ = write!(line, "{arrow} {version} {}", store::grouped(size));
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
pub(crate) fn refused(judgement: &Judgement) -> Option<anyhow::Error> {
    let refusal = judgement.refusal.as_deref()?;
    let with_advice = |text: &str, finding: &Finding| {
        let advice = advice_on(judgement, finding).map(|advice| format!(" ({advice})"));
        format!("{}{}", output::line(text), advice.unwrap_or_default())
    };
    let mut refusals =
        judgement.findings.iter().filter(|finding| finding.level == Level::Refuse && !finding.allowed);
    let Some(first) = refusals.next() else { return Some(anyhow::anyhow!("{refusal}.")) };
    let mut sentence = with_advice(&first.sentence, first);
    let others: Vec<String> = refusals.map(|other| with_advice(&other.check, other)).collect();
    if !others.is_empty() {
        let _ = write!(sentence, "; also refused: {}", others.join(", "));
    }
    Some(anyhow::anyhow!("{sentence}."))
}

/// What to do about a finding that is not allowed.
fn advice_on(judgement: &Judgement, finding: &Finding) -> Option<String> {
    let check = Check::ALL.into_iter().find(|check| finding.check == check.name())?;
    advice::of_check(check, &judgement.product).filter(|_| !finding.allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_one_line() {
        let mut judgement: Judgement = serde_json::from_value(serde_json::json!({
            "decision": "pass", "product": "lamp", "size": 990_000, "chip": "esp32", "findings": [],
            "trend": [{"version": "1.0.0", "size": 1_000_000}, {"version": "1.1.0", "size": 1_100_000},
                {"version": null, "size": 990_000}],
        }))
        .expect("a judgement");
        let line = "size in bytes: 1.0.0 1,000,000 → 1.1.0 1,100,000 (+10.0 %) → this one 990,000 (-10.0 %)";
        assert_eq!(trend(&judgement).as_deref(), Some(line));
        let chip = judgement.chip.take();
        assert_eq!(trend(&judgement), None, "a text file has no place in it");
        judgement.chip = chip;
        judgement.trend.truncate(1);
        assert_eq!(trend(&judgement), None);
    }
}
