//! An update as it is shown: beside its device, in its history, in an answer.

use cause::Cause;
use contract::{Code, Phase, REASON_MAX_BYTES, Reason};
use fleet::Why;

use crate::clock::time;
use crate::db::update::UpdateRow;
use api::Update;

pub(crate) fn update(row: UpdateRow) -> Update {
    let (reason, code, cause) = explained(row.why);
    Update {
        id: row.id,
        device: row.device,
        from: row.from,
        to: row.to,
        state: row.state,
        reason,
        code: code.map(|code| code.as_str().to_owned()),
        cause,
        bytes: row.bytes.unsigned_abs(),
        phase: row.phase.map(|phase| Phase::as_str(phase).to_owned()),
        done: row.done.unsigned_abs(),
        created_at: time(row.created_at),
        finished_at: row.finished_at.map(time),
    }
}

/// The words, and the device's code or the server's cause.
fn explained(why: Option<Why>) -> (Option<String>, Option<Code>, Option<Cause>) {
    match why {
        None => (None, None, None),
        Some(Why::Cause(cause)) => (Some(cause.sentence()), None, Some(cause)),
        Some(Why::Device(said)) => {
            let reason = code_of(&said);
            let words = reason.as_ref().map_or(said, |reason| reason.words().to_owned());
            (Some(words).filter(|words| !words.is_empty()), reason.and_then(|reason| reason.code()), None)
        }
    }
}

/// A reason that ends with a known code. A longer one than a device can give is the server's own, which has none.
pub(crate) fn code_of(stored: &str) -> Option<Reason> {
    let reason = Some(stored).filter(|stored| stored.len() <= REASON_MAX_BYTES).map(Reason::new)?;
    reason.code().is_some().then_some(reason)
}
