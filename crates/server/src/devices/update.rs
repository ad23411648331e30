//! An update as it is shown: beside its device, in its history, in an answer.

use contract::{Code, Phase, REASON_MAX_BYTES, Reason};

use crate::clock::time;
use crate::db::update::UpdateRow;
use crate::model::Update;

/// An update as it is shown.
pub(crate) fn update(row: UpdateRow) -> Update {
    let (reason, code) = explained(row.reason);
    Update {
        id: row.id,
        device: row.device,
        from: row.from,
        to: row.to,
        state: row.state,
        reason,
        code: code.map(Code::as_str),
        bytes: row.bytes.unsigned_abs(),
        phase: row.phase.map(|phase| Phase::as_str(phase).to_owned()),
        done: row.done.unsigned_abs(),
        created_at: time(row.created_at),
        finished_at: row.finished_at.map(time),
    }
}

/// The words and the code of a reason as it is stored, which is as it came.
fn explained(stored: String) -> (Option<String>, Option<Code>) {
    let reason = code_of(&stored);
    let words = reason.as_ref().map_or(stored, |reason| reason.words().to_owned());
    (Some(words).filter(|words| !words.is_empty()), reason.and_then(|reason| reason.code()))
}

/// A reason that ends with a known code. A longer one than a device can give is the server's own, which has none.
pub(crate) fn code_of(stored: &str) -> Option<Reason> {
    let reason = Some(stored).filter(|stored| stored.len() <= REASON_MAX_BYTES).map(Reason::new)?;
    reason.code().is_some().then_some(reason)
}
