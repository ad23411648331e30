//! The service's state, and how a decision is answered.

use std::sync::Arc;

use api::CheckAnswer;
use cause::{Cause, decision as causes, update as ends};
use chrono::SecondsFormat;
use contract::{Sha256, Version};
use fleet::{
    Change, Decision, Delivery, Event, Flight, Heard, Trigger, UpdateState, UpdateView, is_image_at_fault,
    lasting_refusal,
};

use super::closed::Closed;
use super::fetched::Fetched;
use super::queue::Queue;
use super::urls::Urls;
use crate::clock::{now_ms, time};
use crate::config::Config;
use crate::db::device::DeviceRow;
use crate::db::update::UpdateRow;
use crate::db::{Db, Locked};
use crate::devices::{Devices, update as shown};
use crate::events::Events;
use crate::mqtt::{Connection, Link, LinkState, Publisher};
use crate::releases::Releases;

/// Maximum number of updates that are made, sent or ended in one transaction.
pub(super) const BATCH: usize = 500;
/// Maximum number of times that an update's URL is signed again.
pub(super) const URL_REQUESTS_MAX: i64 = 5;

/// Updates: decided, offered, triggered, ended. Clones are the same service.
#[derive(Clone)]
pub struct Updates(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) events: Events,
    pub(super) publisher: Publisher,
    pub(super) link: Link,
    pub(super) devices: Devices,
    pub(super) releases: Releases,
    pub(super) urls: Urls,
    pub(super) update_timeout_s: u32,
    pub(super) history_days: u32,
    pub(super) updates_days: u32,
    pub(super) queue: Queue,
    pub(super) fetched: Fetched,
    pub(super) closed: Closed,
}

impl Updates {
    pub(crate) fn new(
        config: &Config,
        db: Db,
        events: Events,
        connection: &Connection,
        devices: Devices,
        releases: Releases,
        urls: Urls,
    ) -> Self {
        let is_served_here = config.store.short_urls || config.store.url.starts_with("file:");
        Self(Arc::new(Inner {
            db,
            events,
            publisher: connection.publisher(),
            link: connection.link(),
            devices,
            releases,
            urls,
            update_timeout_s: config.fleet.update_timeout_s,
            history_days: config.fleet.history_days,
            updates_days: config.fleet.updates_days,
            queue: Queue::default(),
            fetched: Fetched::new(is_served_here, now_ms()),
            closed: Closed::default(),
        }))
    }

    pub(super) fn link(&self) -> Link {
        self.0.link.clone()
    }

    pub(super) fn is_linked(&self) -> bool {
        !matches!(*self.0.link.borrow(), LinkState::Down { .. })
    }

    /// Why devices may not reach the URLs that they are sent.
    pub(crate) fn warning(&self) -> Option<Cause> {
        self.0.urls.warning()
    }

    pub(super) fn answer(
        &self,
        decision: &Decision,
        newest: Option<UpdateRow>,
        device: Option<&DeviceRow>,
    ) -> CheckAnswer {
        let is_named = matches!(decision, Decision::Offered(_) | Decision::InProgress { .. });
        let mut cause = decision.cause();
        // More to say, with the parameters of the entry that it stands for.
        let waits = newest.as_ref().filter(|update| update.triggered_at.is_none());
        let kept_until = waits.and_then(|update| update.expires_at).map(said_at);
        let deferred = newest.as_ref().filter(|update| *update.state == UpdateState::Deferred);
        let refused = newest.as_ref().and_then(refusal_of).filter(|_| is_named);
        cause.parameters.extend(refused.iter().flat_map(|refused| refused.parameters.clone()));
        match (decision, kept_until, deferred, device) {
            (Decision::Offered(_), ..) if refused.is_some() => {
                cause.code = causes::OFFERED_AND_REFUSED.code.into();
            }
            (Decision::InProgress { .. }, ..) if refused.is_some() => {
                cause.code = causes::IN_PROGRESS_AND_REFUSED.code.into();
            }
            (Decision::Offline { .. }, ..) if !self.is_linked() => {
                cause.code = causes::OFFLINE_WITHOUT_BROKER.code.into();
            }
            (Decision::Offered(_), Some(until), ..) => {
                cause.code = causes::OFFERED_WHEN_ONLINE.code.into();
                cause = cause.with("until", until);
            }
            (Decision::Offered(_), ..) if waits.is_some() => {
                cause.code = causes::OFFERED_AND_WAITING.code.into();
            }
            (Decision::InProgress { .. }, Some(until), ..) => {
                cause.code = causes::KEPT_FOR_DEVICE.code.into();
                cause = cause.with("until", until);
            }
            (Decision::InProgress { .. }, _, Some(update), _) => {
                cause.code = causes::DEFERRED.code.into();
                cause = cause.with("until", update.deferred_until.map(said_at)).with("why", &*update.reason);
            }
            (Decision::UnknownVersion, .., Some(device)) if device.unreadable_count > 0 => {
                cause.code = causes::UNREADABLE_VERSION.code.into();
                cause = cause.with("count", device.unreadable_count.unsigned_abs());
                let at = device.unreadable_at.map(said_at);
                cause = cause.with("at", at).with("last", device.unreadable_last.as_deref());
            }
            (Decision::UnknownVersion | Decision::Offline { .. }, .., Some(device)) => {
                cause = cause.with("heard", device.last_seen.map(said_at));
            }
            _ => {}
        }
        CheckAnswer {
            decision: decision.as_str().to_owned(),
            version: decision.version().cloned(),
            reason: cause.sentence(),
            cause: Some(cause),
            update: newest.filter(|_| is_named).map(shown),
        }
    }
}

/// That the broker refuses the trigger of an update, if so.
pub(super) fn refusal_of(update: &UpdateRow) -> Option<&Cause> {
    let refused = update.cause.as_deref().filter(|cause| cause.is(ends::TRIGGER_REFUSED));
    refused.filter(|_| update.waiting() > 0)
}

/// An update in flight as the planner sees it.
pub(super) fn flight_of(update: &UpdateRow) -> Flight {
    let waits = Trigger::Waits { again: update.url_requests > 0 };
    let trigger = if update.waiting() > 0 { waits } else { Trigger::Sent };
    let view = view_of(update, &images_of(update), Delivery::Fetched, None);
    let (heard_at, expires_at) = (update.heard_at, update.expires_at);
    Flight { update: update.id, view, heard_at, trigger, heard: None, expires_at }
}

/// What was last heard of a device.
pub(super) fn heard_of(device: &DeviceRow) -> Option<Heard> {
    Some(Heard { at: said_at(device.last_seen?), running: device.said().map(str::to_owned) })
}

fn said_at(ms: i64) -> String {
    time(ms).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The digest of an update's image, if it is known.
pub(super) fn images_of(update: &UpdateRow) -> Vec<Sha256> {
    update.sha256.iter().map(|sha256| sha256.0).collect()
}

fn view_of(
    update: &UpdateRow,
    images: &[Sha256],
    delivery: Delivery,
    running: Option<&Version>,
) -> UpdateView {
    UpdateView {
        state: update.state.0,
        from: update.from_version.as_deref().and_then(Version::said),
        to: update.to_version.0.clone(),
        images: images.to_vec(),
        delivery,
        running: running.cloned(),
        is_believed: update.believed,
    }
}

/// Whether a trigger of it was sent and noted.
pub(super) fn was_sent(update: &UpdateRow) -> bool {
    update.triggered_at.is_some() || update.url_requests > 0 || update.deferred_since.is_some()
}

/// Applies an event to an update that has come so far. `images`: by which digests its image is known. `running`: what the device
/// reported last, where that matters. `reset` is why the device last restarted, if the event is a report that
/// says so. Answers whether the state changed.
pub(super) fn advance(
    update: &mut Locked<UpdateRow>,
    images: &[Sha256],
    delivery: Delivery,
    running: Option<&Version>,
    event: &Event,
    reset: Option<&str>,
    now: i64,
) -> bool {
    let Some(change) = fleet::apply(&view_of(update, images, delivery, running), event) else { return false };
    update.image_at_fault = is_image_at_fault(&change, update.phase.map(|phase| phase.0), reset);
    update.lasting_refusal = lasting_refusal(&change).map(Into::into);
    write(update, word(event), change, now);
    true
}

/// The word in the update's history.
fn word(event: &Event) -> &'static str {
    match event {
        Event::Progress(_) => "progress",
        Event::PlainStatus(_) | Event::Status(_) => "status",
        Event::Report(_) => "report",
        Event::Silence(_) => "silence",
        Event::Deferred(_) => "deferred",
        Event::AskAgain => "asked_again",
        Event::Cancel => "cancel",
    }
}

pub(super) fn write(update: &mut Locked<UpdateRow>, kind: &str, change: Change, now: i64) {
    update.state = change.state.into();
    update.set_why(change.why);
    update.heard_at = now;
    update.finished_at = (!change.state.is_in_flight()).then_some(now);
    update.note(kind, now);
}
