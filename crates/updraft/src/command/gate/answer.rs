//! What came of an image, whoever looked at it: a server, or this process.

use api::{GateDecision, Judgement, PublishDecision, Published};
use contract::ChannelName;
use serde_json::{Value, json};

/// What was found, and whether the image is a release now.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) judgement: Judgement,
    /// `None`: it is refused, or was only to be checked.
    pub(crate) published: Option<Receipt>,
}

#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) decision: PublishDecision,
    pub(crate) url: String,
    pub(crate) promoted: Option<ChannelName>,
}

impl Answer {
    pub(crate) fn is_unchanged(&self) -> bool {
        self.published.as_ref().is_some_and(|published| published.decision == PublishDecision::Unchanged)
    }

    /// What is printed for programs: of a refusal only what is known.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!(self.judgement);
        let members = json.as_object_mut().expect("a struct is an object");
        match &self.published {
            None if self.judgement.decision == GateDecision::Refused => {
                members.retain(|_, value| !value.is_null());
            }
            None => drop(members.remove("refusal")),
            Some(Receipt { decision, url, promoted }) => {
                members.remove("refusal");
                let receipt =
                    [("decision", json!(decision)), ("url", json!(url)), ("promoted", json!(promoted))];
                members.extend(receipt.map(|(name, value)| (name.to_owned(), value)));
            }
        }
        json
    }
}

impl From<Judgement> for Answer {
    fn from(judgement: Judgement) -> Self {
        Self { judgement, published: None }
    }
}

impl From<Published> for Answer {
    fn from(published: Published) -> Self {
        let Published { release, decision, product, url, promoted, findings, slot_bytes, trend } = published;
        let judgement = Judgement {
            decision: GateDecision::Pass,
            refusal: None,
            product,
            version: Some(release.version),
            size: release.size,
            sha256: release.sha256,
            chip: release.chip,
            findings,
            slot_bytes,
            trend,
        };
        Self { judgement, published: Some(Receipt { decision, url, promoted }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_of_a_refusal_only_what_is_known() {
        let judgement = json!({"decision": "refused", "refusal": "why", "product": "lamp", "size": 1, "sha256": null,
            "findings": [], "trend": []});
        let mut judgement: Judgement = serde_json::from_value(judgement).expect("a judgement");
        let refused = Answer::from(judgement.clone()).json();
        let known = json!({"decision": "refused", "refusal": "why", "product": "lamp", "size": 1, "findings": [], "trend": []});
        assert_eq!(refused, known);
        (judgement.decision, judgement.refusal) = (GateDecision::Pass, None);
        let rest = json!({"product": "lamp", "version": null, "size": 1, "sha256": null, "chip": null, "findings": [],
            "slot_bytes": null, "trend": []});
        let with = |more: Value| {
            let (mut all, Value::Object(more)) = (rest.clone(), more) else { unreachable!() };
            all.as_object_mut().expect("an object").extend(more);
            all
        };
        assert_eq!(Answer::from(judgement.clone()).json(), with(json!({"decision": "pass"})));
        let receipt =
            Receipt { decision: PublishDecision::Published, url: "http://x/".to_owned(), promoted: None };
        let answer = Answer { judgement, published: Some(receipt) };
        let expected = with(json!({"decision": "published", "url": "http://x/", "promoted": null}));
        assert_eq!(answer.json(), expected);
    }
}
