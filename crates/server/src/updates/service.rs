//! The service's state, and how a decision is answered.

use std::sync::Arc;

use api::CheckAnswer;
use cause::decision as causes;
use contract::{Sha256, Version};
use fleet::{
    Change, Decision, Delivery, Event, Flight, Trigger, UpdateView, is_image_at_fault, lasting_refusal,
};

use super::closed::Closed;
use super::fetched::Fetched;
use super::questions::CorruptImages;
use super::queue::Queue;
use super::urls::Urls;
use crate::clock::now_ms;
use crate::config::Config;
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
    pub(super) corrupt: CorruptImages,
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
            corrupt: CorruptImages::default(),
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

    pub(super) fn answer(&self, decision: &Decision, newest: Option<UpdateRow>) -> CheckAnswer {
        let is_named = matches!(decision, Decision::Offered(_) | Decision::InProgress { .. });
        let mut cause = decision.cause();
        // More to say, with the parameters of the entry that it stands for.
        let is_waiting = newest.as_ref().is_some_and(|update| update.triggered_at.is_none());
        match decision {
            Decision::Offline { .. } if !self.is_linked() => {
                cause.code = causes::OFFLINE_WITHOUT_BROKER.code.into();
            }
            Decision::Offered(_) if is_waiting => cause.code = causes::OFFERED_AND_WAITING.code.into(),
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

/// An update in flight as the planner sees it.
pub(super) fn flight_of(update: &UpdateRow) -> Flight {
    let waits = Trigger::Waits { again: update.url_requests > 0 };
    let trigger = if update.waiting() > 0 { waits } else { Trigger::Sent };
    let view = view_of(update, &images_of(update), Delivery::Fetched);
    Flight { update: update.id, view, heard_at: update.heard_at, trigger }
}

/// The digest of an update's image, if it is known.
pub(super) fn images_of(update: &UpdateRow) -> Vec<Sha256> {
    update.sha256.iter().map(|sha256| sha256.0).collect()
}

fn view_of(update: &UpdateRow, images: &[Sha256], delivery: Delivery) -> UpdateView {
    UpdateView {
        state: update.state.0,
        from: update.from_version.as_deref().and_then(Version::said),
        to: update.to_version.0.clone(),
        images: images.to_vec(),
        delivery,
    }
}

/// Whether a trigger of it was sent and noted.
pub(super) fn was_sent(update: &UpdateRow) -> bool {
    update.triggered_at.is_some() || update.url_requests > 0
}

/// Applies an event to an update that has come so far. `images`: by which digests its image is known. `reset` is why the device last restarted, if the event is a report that
/// says so. Answers whether the state changed.
pub(super) fn advance(
    update: &mut Locked<UpdateRow>,
    images: &[Sha256],
    delivery: Delivery,
    event: &Event,
    reset: Option<&str>,
    now: i64,
) -> bool {
    let Some(change) = fleet::apply(&view_of(update, images, delivery), event) else { return false };
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
        Event::Silence => "silence",
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
