//! What the gate says, as the API has it.

use contract::ProductName;
use store::Verdict;

use api::{Finding, GateDecision, Judgement, Level, SizeOf};

/// What the gate says, as the API has it.
pub fn judgement(product: &ProductName, verdict: Verdict) -> Judgement {
    let decision = if verdict.is_refused() { GateDecision::Refused } else { GateDecision::Pass };
    let finding = |finding: store::Finding| Finding {
        check: finding.check.name().to_owned(),
        level: match finding.check.level() {
            store::Level::Refuse => Level::Refuse.into(),
            store::Level::Warn | store::Level::Note => Level::Warn.into(),
        },
        allowed: finding.allowed,
        overrulable: finding.check.is_overrulable(),
        sentence: finding.cause.sentence(),
        cause: Some(finding.cause),
    };
    let size = |store::SizeOf { version, size }| SizeOf { version, size };
    Judgement {
        decision,
        refusal: verdict.refusal().map(|cause| cause.sentence()),
        product: product.clone(),
        version: verdict.version,
        size: verdict.size,
        sha256: verdict.sha256,
        chip: verdict.chip.map(str::to_owned),
        findings: verdict.findings.into_iter().map(finding).collect(),
        slot_bytes: verdict.slot_bytes,
        trend: verdict.trend.into_iter().map(size).collect(),
    }
}
