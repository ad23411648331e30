//! The planner: a snapshot of devices, their updates and the store goes in, what is to be done comes out. Whoever does it may be
//! killed at any time, take a new snapshot, and plan again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cause::{Cause, decision as causes, update as ends};
use contract::{DeviceId, ProductName};

use crate::decision::{Artifact, Blocked, ChannelView, Decision, DeviceView, StoreView, decide};
use crate::update::{Change, Event, Heard, UpdateState, UpdateView, Why, apply, with_heard};

/// What is known at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What is known of each device.
    pub devices: BTreeMap<DeviceId, Subject>,
    /// What the store says of each product that was looked at.
    pub stores: BTreeMap<ProductName, StoreView>,
    /// An update ends that was not heard of for so long; `None` while the clock of silence stands still.
    pub timeout_ms: Option<i64>,
}

/// A device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subject {
    /// Whose releases count: the device's product, or that of its update.
    pub product: Option<ProductName>,
    /// Its update in flight.
    pub flight: Option<Flight>,
    /// The device as it is decided upon, if somebody asks for a check update.
    pub asks: Option<DeviceView>,
}

/// An update in flight.
#[derive(Debug, Clone, PartialEq)]
pub struct Flight {
    /// Its number.
    pub update: i64,
    /// What it is about.
    pub view: UpdateView,
    /// The time-out counts from here.
    pub heard_at: i64,
    /// What is to be sent for it.
    pub trigger: Trigger,
    /// What was last heard of the device, for who asks why it ended.
    pub heard: Option<Heard>,
    /// It is kept until that time, and then cancelled: its device may be asleep, or is wanted to come back.
    pub expires_at: Option<i64>,
}

/// What is to be sent for an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Nothing: it was sent.
    Sent,
    /// A URL. `again`: the device had one before.
    Waits {
        /// It expired.
        again: bool,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make an update of this device, and tell who asked.
    Offer {
        /// Which device.
        device: DeviceId,
        /// What it is offered.
        artifact: Artifact,
    },
    /// Tell who asked; nothing else follows.
    Answer {
        /// Which device.
        device: DeviceId,
        /// Anything but an offer.
        decision: Decision,
    },
    /// Sign the URL and send it.
    Send {
        /// Which update.
        update: i64,
    },
    /// Sign no URL any more; what the device has it may use.
    Withhold {
        /// Which update.
        update: i64,
    },
    /// End an update.
    End {
        /// Which one.
        update: i64,
        /// How.
        change: Change,
    },
}

/// What is to be done now. The same snapshot gives the same actions, at most two for each device: one for its update, one for
/// who asks.
pub fn plan(snapshot: &Snapshot, now: i64) -> Vec<Action> {
    let mut actions = Vec::new();
    for (device, subject) in &snapshot.devices {
        let store = subject.product.as_ref().and_then(|product| snapshot.stores.get(product));
        let flight = subject.flight.as_ref();
        actions.extend(flight.and_then(|flight| of_flight(flight, store, snapshot.timeout_ms, now)));
        if let Some(view) = &subject.asks {
            let device = device.clone();
            actions.push(match answer(view, subject, store) {
                Decision::Offered(artifact) => Action::Offer { device, artifact },
                decision => Action::Answer { device, decision },
            });
        }
    }
    actions
}

fn answer(view: &DeviceView, subject: &Subject, store: Option<&StoreView>) -> Decision {
    let unread = StoreView::Unavailable(causes::STORE_TIMEOUT.cause());
    match (decide(view, store.unwrap_or(&unread)), &subject.flight) {
        (Decision::StoreUnavailable(_), _) if subject.product.is_none() => {
            Decision::NoRelease(causes::NO_PRODUCT.cause())
        }
        (Decision::Offered(_), Some(flight)) => Decision::InProgress { to: flight.view.to.clone() },
        (decision, _) => decision,
    }
}

fn of_flight(
    flight: &Flight,
    store: Option<&StoreView>,
    timeout_ms: Option<i64>,
    now: i64,
) -> Option<Action> {
    let (update, heard) = (flight.update, flight.heard.as_ref());
    let is_awake = flight.view.state != UpdateState::Deferred;
    if is_awake && timeout_ms.is_some_and(|timeout| now - flight.heard_at >= timeout) {
        let is_unsent = flight.trigger == Trigger::Waits { again: false };
        let is_unsent = is_unsent && flight.view.state == UpdateState::Offered;
        let is_kept = is_unsent && flight.expires_at.is_some();
        let event = if is_kept { Event::Cancel } else { Event::Silence(flight.heard.clone()) };
        let mut change = apply(&flight.view, &event)?;
        if is_unsent {
            let why = if is_kept { ends::NOT_SEEN_IN_TIME } else { ends::TRIGGER_NOT_SENT };
            change.why = Some(Why::Cause(with_heard(why.cause(), heard)));
        }
        return Some(Action::End { update, change });
    }
    let (Trigger::Waits { again }, Some(StoreView::Channel(view))) = (flight.trigger, store) else {
        return None;
    };
    // A list that cannot be read stops what would be sent, and ends nothing.
    if matches!(view.blocked, Blocked::Unreadable(_)) {
        return None;
    }
    let Some(cause) = blocked_since(view, &flight.view) else {
        return Some(Action::Send { update });
    };
    // One that was never sent is cancelled.
    if again || flight.view.state != UpdateState::Offered {
        return Some(Action::Withhold { update });
    }
    let change = apply(&flight.view, &Event::Cancel)?;
    Some(Action::End { update, change: Change { why: Some(Why::Cause(cause)), ..change } })
}

/// Why an update's image must not be sent any more, if so.
fn blocked_since(view: &ChannelView, update: &UpdateView) -> Option<Cause> {
    let cause = ends::BLOCKED_BEFORE_TRIGGER.naming("version", &update.to);
    match &view.blocked {
        Blocked::Versions(versions) if versions.contains_key(&update.to) => {
            Some(cause.with("why", versions.get(&update.to).cloned().flatten()))
        }
        Blocked::Versions(_) => {
            let blocked = view.blocked_images.get(update.images.first()?)?;
            Some(cause.with("why", blocked.why.clone()))
        }
        Blocked::Unreadable(_) => None,
    }
}

#[cfg(test)]
mod tests;
