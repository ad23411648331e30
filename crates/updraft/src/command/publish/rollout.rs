//! A rollout as a server's JSON tells it, and what it means for somebody who waits for it. Nothing here asks or waits.

use std::fmt::{self, Write as _};

use contract::Version;
use serde_json::{Map, Value, json};

/// The longest text of a server's that is said.
const TEXT_MAX_CHARS: usize = 300;
/// What is counted, in the order in which it is told.
const COUNTS: [&str; 8] =
    ["total", "succeeded", "in_flight", "waiting", "failed", "rolled_back", "timed_out", "cancelled"];

/// One rollout, as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rollout {
    /// Higher is newer.
    pub(super) id: u64,
    pub(super) version: Version,
    pub(super) state: State,
    step: Option<u64>,
    halt_reason: Option<String>,
    /// In the order of [`COUNTS`]; 0 where nothing is said.
    counts: [u64; COUNTS.len()],
}

/// Where a rollout is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Paused,
    Halted,
    Aborted,
    Done,
    /// A word that was not known when this was written.
    Other(String),
}

/// What somebody who waits for a rollout does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Waits on.
    Open,
    /// The release proved itself.
    Good,
    /// It did not, or nobody let it; the sentence says why.
    Bad(String),
}

impl Rollout {
    /// What an item of `GET /api/v1/products/{p}/rollouts` says; `None` if it is no rollout.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let id = &value["id"];
        let text = |value: &Value| value.as_str().map(short).filter(|text| !text.is_empty());
        Some(Self {
            id: id.as_u64().or_else(|| id.as_str()?.parse().ok())?,
            version: value["version"].as_str()?.parse().ok()?,
            state: State::read(&text(&value["state"])?),
            step: value["step"].as_u64(),
            halt_reason: text(&value["halt_reason"]),
            counts: COUNTS.map(|name| value["counts"][name].as_u64().unwrap_or(0)),
        })
    }

    /// What it means.
    pub(super) fn verdict(&self) -> Verdict {
        match &self.state {
            State::Running | State::Paused | State::Other(_) => Verdict::Open,
            State::Done => Verdict::Good,
            State::Halted => {
                let why = self.halt_reason.as_deref().unwrap_or("the server gives no reason");
                let why = why.trim_end_matches('.');
                Verdict::Bad(format!("rollout {} was halted: {why} ({})", self.id, self.devices()))
            }
            State::Aborted => {
                let why = self.halt_reason.as_deref().map(|why| format!(": {}", why.trim_end_matches('.')));
                let why = why.unwrap_or_default();
                Verdict::Bad(format!("rollout {} was aborted{why} ({})", self.id, self.devices()))
            }
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let counts: Map<String, Value> =
            COUNTS.iter().zip(self.counts).map(|(name, count)| ((*name).to_owned(), count.into())).collect();
        json!({"id": self.id, "state": self.state.word(), "halt_reason": self.halt_reason, "counts": counts})
    }

    /// How many devices are where.
    fn devices(&self) -> String {
        let [total, succeeded, rest @ ..] = self.counts;
        let mut text = format!("{succeeded} of {total} devices succeeded");
        for (name, count) in COUNTS[2..].iter().zip(rest).filter(|(_, count)| *count > 0) {
            let _ = write!(text, ", {count} {}", name.replace('_', " "));
        }
        text
    }
}

/// `rollout 7 is running, step 1: 3 of 100 devices succeeded, 2 in flight, 95 waiting`
impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rollout {} is {}", self.id, self.state.word())?;
        if let Some(step) = self.step {
            write!(f, ", step {step}")?;
        }
        write!(f, ": {}", self.devices())
    }
}

impl State {
    fn read(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "paused" => Self::Paused,
            "halted" => Self::Halted,
            "aborted" => Self::Aborted,
            "done" => Self::Done,
            other => Self::Other(other.to_owned()),
        }
    }

    fn word(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Aborted => "aborted",
            Self::Done => "done",
            Self::Other(word) => word,
        }
    }
}

/// Of no more than one line and a few words, whoever wrote it.
fn short(text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX_CHARS).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(more: &Value) -> Value {
        let mut rollout = json!({
            "id": 7, "product": "lamp", "version": "1.2.0", "state": "running", "step": 2, "halt_reason": null,
            "counts": {"total": 100, "waiting": 90, "in_flight": 2, "succeeded": 3, "failed": 4, "rolled_back": 1,
                "timed_out": 0, "cancelled": 0},
        });
        for (key, value) in more.as_object().expect("an object") {
            rollout[key] = value.clone();
        }
        rollout
    }

    fn read(more: &Value) -> Rollout {
        Rollout::read(&rollout(more)).expect("a rollout")
    }

    #[test]
    fn every_state_has_its_verdict() {
        let devices = "3 of 100 devices succeeded, 2 in flight, 90 waiting, 4 failed, 1 rolled back";
        for (state, reason, expected) in [
            ("running", json!(null), Ok(Verdict::Open)),
            ("running", json!("left over"), Ok(Verdict::Open)),
            ("paused", json!(null), Ok(Verdict::Open)),
            ("done", json!(null), Ok(Verdict::Good)),
            ("halted", json!("5 % failed."), Err("rollout 7 was halted: 5 % failed")),
            ("halted", json!(null), Err("rollout 7 was halted: the server gives no reason")),
            ("halted", json!("\u{1b}[2J\n"), Err("rollout 7 was halted: [2J")),
            ("aborted", json!(null), Err("rollout 7 was aborted")),
            ("aborted", json!("by anna"), Err("rollout 7 was aborted: by anna")),
            ("scheduled", json!(null), Ok(Verdict::Open)),
            ("DONE", json!(null), Ok(Verdict::Open)),
        ] {
            let verdict = read(&json!({"state": state, "halt_reason": reason})).verdict();
            let expected = expected.unwrap_or_else(|why| Verdict::Bad(format!("{why} ({devices})")));
            assert_eq!(verdict, expected, "{state} {reason}");
        }
    }

    #[test]
    fn a_rollout_is_told_in_one_line_and_an_unknown_state_by_its_name() {
        let told = |more: &Value| read(more).to_string();
        let counts = json!({"total": 100, "succeeded": 3, "in_flight": 2, "waiting": 95});
        assert_eq!(
            told(&json!({"counts": counts})),
            "rollout 7 is running, step 2: 3 of 100 devices succeeded, 2 in flight, 95 waiting"
        );
        assert_eq!(
            told(&json!({"state": "on\nhold", "step": null, "counts": {}, "id": "8"})),
            "rollout 8 is on hold: 0 of 0 devices succeeded"
        );
    }

    #[test]
    fn what_is_no_rollout_is_none_and_never_a_panic() {
        for more in [
            json!({"id": null}),
            json!({"id": -1}),
            json!({"id": "x"}),
            json!({"id": 1.5}),
            json!({"version": "latest"}),
            json!({"version": null}),
            json!({"state": ""}),
            json!({"state": 3}),
            json!({"state": []}),
        ] {
            assert_eq!(Rollout::read(&rollout(&more)), None, "{more}");
        }
        for value in [json!(null), json!([]), json!("x"), json!({}), json!([[]])] {
            assert_eq!(Rollout::read(&value), None, "{value}");
        }
        let odd = read(&json!({"counts": [1, 2], "step": "two", "halt_reason": {"a": 1}}));
        assert_eq!(odd.to_string(), "rollout 7 is running: 0 of 0 devices succeeded");
        let long = read(&json!({"state": "halted", "halt_reason": "x".repeat(100_000)})).verdict();
        assert!(matches!(long, Verdict::Bad(why) if why.len() < 500));
    }

    #[test]
    fn programs_get_the_known_members_and_nothing_else() {
        let json =
            read(&json!({"state": "done", "extra": 1, "counts": {"total": 1, "succeeded": 1, "odd": 9}}))
                .json();
        assert_eq!(
            json,
            json!({"id": 7, "state": "done", "halt_reason": null, "counts": {"total": 1, "waiting": 0, "in_flight": 0,
                "succeeded": 1, "failed": 0, "rolled_back": 0, "timed_out": 0, "cancelled": 0}})
        );
    }
}
