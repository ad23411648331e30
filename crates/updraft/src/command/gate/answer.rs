//! What came of an image, whoever looked at it: a server, or this process.

use api::{Finding, GateDecision, Judgement, Level, PublishDecision, Published, SizeOf};
use contract::{ChannelName, ProductName};
use serde_json::{Value, json};
use store::Verdict;

/// What was found, and whether the image is a release now.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) judgement: Judgement,
    /// `None`: it is refused, or was only to be checked.
    pub(crate) published: Option<Receipt>,
}

/// A release that came of an image.
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

/// What this process found, in the shape that a server answers.
pub(crate) fn judgement(product: &ProductName, verdict: &Verdict) -> Judgement {
    let finding = |finding: &store::Finding| Finding {
        check: finding.check.name().to_owned(),
        level: match finding.check.level() {
            store::Level::Refuse => Level::Refuse.into(),
            store::Level::Warn | store::Level::Note => Level::Warn.into(),
        },
        allowed: finding.allowed,
        overrulable: finding.check.is_overrulable(),
        sentence: finding.cause.sentence(),
        cause: Some(finding.cause.clone()),
    };
    let size = |one: &store::SizeOf| SizeOf { version: one.version.clone(), size: one.size };
    Judgement {
        decision: if verdict.is_refused() { GateDecision::Refused } else { GateDecision::Pass },
        refusal: verdict.refusal().map(|cause| cause.sentence()),
        product: product.clone(),
        version: verdict.version.clone(),
        size: verdict.size,
        sha256: verdict.sha256,
        chip: verdict.chip.map(str::to_owned),
        findings: verdict.findings.iter().map(finding).collect(),
        slot_bytes: verdict.slot_bytes,
        trend: verdict.trend.iter().map(size).collect(),
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
