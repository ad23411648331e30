//! What the gate says, as the API has it.

use contract::ProductName;
use store::Verdict;

use crate::model::{Finding, Judgement, SizeOf};

/// As the API has it.
pub(super) fn judgement(product: &ProductName, verdict: Verdict) -> Judgement {
    let decision = if verdict.is_refused() { "refused" } else { "pass" };
    let finding = |finding: store::Finding| Finding {
        check: finding.check.name(),
        level: finding.check.level().name(),
        allowed: finding.allowed,
        overrulable: finding.check.is_overrulable(),
        sentence: finding.sentence,
    };
    let size = |store::SizeOf { version, size }| SizeOf { version, size };
    Judgement {
        decision,
        refusal: verdict.refusal(),
        product: product.clone(),
        version: verdict.version,
        size: verdict.size,
        sha256: verdict.sha256,
        chip: verdict.chip,
        findings: verdict.findings.into_iter().map(finding).collect(),
        slot_bytes: verdict.slot_bytes,
        trend: verdict.trend.into_iter().map(size).collect(),
    }
}
