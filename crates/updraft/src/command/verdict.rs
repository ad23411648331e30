//! What a rollout means for somebody who waits for it. Nothing here asks or waits.

use std::fmt::Write as _;

use api::{Rollout, RolloutCounts, RolloutState};
use serde_json::{Value, json};

/// The longest text of a server's that is said.
const TEXT_MAX_CHARS: usize = 300;

/// What somebody who waits for a rollout does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Open,
    /// The release proved itself.
    Good,
    /// It did not, or nobody let it; the sentence says why.
    Bad(String),
}

pub(crate) fn verdict(rollout: &Rollout) -> Verdict {
    let (id, devices) = (rollout.id, devices(&rollout.counts));
    let why = rollout.halt_reason.as_deref().map(short).unwrap_or_default();
    let why = why.trim_end_matches('.');
    match &rollout.state {
        RolloutState::Running | RolloutState::Paused | RolloutState::Other(_) => Verdict::Open,
        RolloutState::Done => Verdict::Good,
        RolloutState::Halted => {
            let why = if why.is_empty() { "the server gives no reason" } else { why };
            Verdict::Bad(format!("rollout {id} was halted: {why} ({devices})"))
        }
        RolloutState::Aborted if why.is_empty() => {
            Verdict::Bad(format!("rollout {id} was aborted ({devices})"))
        }
        RolloutState::Aborted => Verdict::Bad(format!("rollout {id} was aborted: {why} ({devices})")),
    }
}

pub(crate) fn json(rollout: &Rollout) -> Value {
    json!({"id": rollout.id, "state": short(rollout.state.as_str()),
        "halt_reason": rollout.halt_reason.as_deref().map(short), "counts": rollout.counts})
}

/// `rollout 7 is running, step 1: 3 of 100 devices succeeded, 2 in flight, 95 waiting`
pub(crate) fn line(rollout: &Rollout) -> String {
    let step = rollout.step.map(|step| format!(", step {step}")).unwrap_or_default();
    let state = short(rollout.state.as_str());
    format!("rollout {} is {state}{step}: {}", rollout.id, devices(&rollout.counts))
}

fn devices(counts: &RolloutCounts) -> String {
    let mut text = format!("{} of {} devices succeeded", counts.succeeded, counts.total);
    for (name, count) in [
        ("in flight", counts.in_flight),
        ("waiting", counts.waiting),
        ("failed", counts.failed),
        ("rolled back", counts.rolled_back),
        ("timed out", counts.timed_out),
        ("cancelled", counts.cancelled),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {name}");
        }
    }
    text
}

/// Of no more than one line and a few words, whoever wrote it.
fn short(text: &str) -> String {
    let line: String = crate::output::line(text).chars().take(TEXT_MAX_CHARS).collect();
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
        serde_json::from_value(rollout(more)).expect("a rollout")
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
            let verdict = verdict(&read(&json!({"state": state, "halt_reason": reason})));
            let expected = expected.unwrap_or_else(|why| Verdict::Bad(format!("{why} ({devices})")));
            assert_eq!(verdict, expected, "{state} {reason}");
        }
    }

    #[test]
    fn a_rollout_is_told_in_one_line_and_an_unknown_state_by_its_name() {
        let line_of = |more: &Value| line(&read(more));
        let counts = json!({"total": 100, "succeeded": 3, "in_flight": 2, "waiting": 95});
        assert_eq!(
            line_of(&json!({"counts": counts})),
            "rollout 7 is running, step 2: 3 of 100 devices succeeded, 2 in flight, 95 waiting"
        );
        assert_eq!(
            line_of(&json!({"state": "on\nhold", "step": null, "counts": {}, "id": 8})),
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
            json!({"version": ""}),
            json!({"version": null}),
            json!({"state": ""}),
            json!({"state": 3}),
            json!({"state": []}),
            json!({"counts": "x"}),
            json!({"step": "two"}),
            json!({"halt_reason": {"a": 1}}),
        ] {
            assert!(serde_json::from_value::<Rollout>(rollout(&more)).is_err(), "{more}");
        }
        for value in [json!(null), json!([]), json!("x"), json!({}), json!([[]])] {
            assert!(serde_json::from_value::<Rollout>(value.clone()).is_err(), "{value}");
        }
        let mut bare = rollout(&json!({"step": null, "halt_reason": null}));
        bare.as_object_mut().expect("an object").remove("counts");
        let bare: Rollout = serde_json::from_value(bare).expect("a rollout");
        assert_eq!(line(&bare), "rollout 7 is running: 0 of 0 devices succeeded");
        let long = verdict(&read(&json!({"state": "halted", "halt_reason": "x".repeat(100_000)})));
        assert!(matches!(long, Verdict::Bad(why) if why.len() < 500));
    }

    #[test]
    fn programs_get_the_known_members_and_nothing_else() {
        let more = json!({"state": "done", "extra": 1, "counts": {"total": 1, "succeeded": 1, "odd": 9}});
        let json = json(&read(&more));
        assert_eq!(
            json,
            json!({"id": 7, "state": "done", "halt_reason": null, "counts": {"total": 1, "waiting": 0, "in_flight": 0,
                "succeeded": 1, "failed": 0, "rolled_back": 0, "timed_out": 0, "cancelled": 0}})
        );
    }
}
