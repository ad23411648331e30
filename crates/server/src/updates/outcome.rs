//! How an event changes an update's row.

use fleet::{Change, Event, UpdateView, is_image_at_fault};

use crate::db::update::UpdateRow;

pub(super) fn change(update: &UpdateRow, event: &Event) -> Option<Change> {
    let view = UpdateView { state: update.state, from: update.from.clone(), to: update.to.clone() };
    fleet::apply(&view, event)
}

/// Applies an event. `reset` is why the device last restarted, if the event is a report that says so. Answers
/// whether the state changed.
pub(super) fn advance(update: &mut UpdateRow, event: &Event, reset: Option<&str>, now: i64) -> bool {
    let Some(change) = change(update, event) else { return false };
    update.image_at_fault = is_image_at_fault(&change, update.phase, reset);
    write(update, change, now);
    true
}

pub(super) fn write(update: &mut UpdateRow, change: Change, now: i64) {
    update.state = change.state;
    update.why = change.why;
    update.heard_at = now;
    update.finished_at = (!change.state.is_in_flight()).then_some(now);
}
