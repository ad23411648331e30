//! What a halt names: which devices failed, from which versions, when, and what is said of it.

use std::collections::BTreeMap;

use crate::clock::time;
use crate::db::update::UpdateRow;
use crate::devices::update as shown;

/// How many of each are named.
const NAMED: usize = 3;
/// The longest reason that is repeated, in characters.
const REASON_MAX_CHARS: usize = 120;

/// One sentence; none if nothing failed.
pub(super) fn of(failures: Vec<UpdateRow>) -> Option<String> {
    let (mut reasons, mut from) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let (mut devices, mut ends) = (Vec::new(), Vec::new());
    for row in failures {
        ends.extend(row.finished_at);
        let update = shown(row);
        let reason = update.reason.unwrap_or_else(|| update.state.to_string());
        let reason: String = reason.chars().take(REASON_MAX_CHARS).collect();
        *reasons.entry(reason).or_default() += 1;
        *from.entry(update.from.unwrap_or_else(|| "an unknown version".to_owned())).or_default() += 1;
        devices.push(update.device.to_string());
    }
    let (first, last) = (ends.iter().min()?, ends.iter().max()?);
    let reasons = most(reasons).into_iter().map(|(reason, count)| format!("{count} × {reason:?}"));
    let reasons = named(reasons.collect(), "other reason");
    let from = named(most(from).into_iter().map(|(version, _)| version).collect(), "other version");
    let clock = |at: i64| time(at).format("%Y-%m-%d %H:%M").to_string();
    let when = match (clock(*first), clock(*last)) {
        (first, last) if first == last => format!("at {first}"),
        (first, last) => format!("from {first} to {last}"),
    };
    let devices = named(devices, "more");
    Some(format!("Reasons: {reasons}; before: {from}; devices: {devices}; {when} UTC."))
}

/// The most frequent first.
fn most(counts: BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    counts
}

fn named(mut all: Vec<String>, others: &str) -> String {
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let mut text = all.join(", ");
    if more > 0 {
        let plural = if more > 1 && others != "more" { "s" } else { "" };
        text = format!("{text} and {more} {others}{plural}");
    }
    text
}
