//! The service's state, one device's row, and an update as it is shown: beside its device, in its history, in an answer.

use std::sync::Arc;

use api::{Update, UpdateEvent};
use broker::Embedded;
use cause::{Cause, service as causes};
use contract::{Code, DeviceId, Phase, REASON_MAX_BYTES, Reason};
use fleet::{UpdateState, Why};
use tokio::sync::RwLock;

use super::presence::Presence;
use crate::clock::time;
use crate::db::Db;
use crate::db::device::{self, DeviceRow};
use crate::db::update::{UpdateRow, why_of};
use crate::db::update_event::UpdateEventRow;
use crate::error::Error;
use crate::events::Events;
use crate::mqtt::Publisher;
use crate::releases::Releases;

/// The broker in this process, until it is stopped; `None` where another one is configured.
pub(crate) type Broker = Arc<RwLock<Option<Embedded>>>;

/// Devices: registered, changed, removed, shown. Clones are the same service.
#[derive(Clone)]
pub struct Devices(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) events: Events,
    pub(super) presence: Presence,
    pub(super) publisher: Publisher,
    pub(super) broker: Broker,
    pub(super) releases: Releases,
}

impl Devices {
    pub(crate) fn new(
        db: Db,
        events: Events,
        presence: Presence,
        publisher: Publisher,
        broker: Broker,
        releases: Releases,
    ) -> Self {
        Self(Arc::new(Inner { db, events, presence, publisher, broker, releases }))
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.0.presence
    }

    /// Ids that were heard of and are not admitted, the newest first.
    pub fn not_admitted(&self) -> Vec<api::NotAdmitted> {
        self.0.presence.not_admitted().list()
    }

    /// A device as the database has it; NotFound.
    pub(crate) async fn row(&self, id: &DeviceId) -> Result<DeviceRow, Error> {
        device::by_id(&self.0.db, id).await?.ok_or_else(|| unknown(id))
    }
}

pub(crate) fn unknown(id: &DeviceId) -> Error {
    Error::NotFound(causes::NO_DEVICE.naming("device", id))
}

pub(crate) fn update(row: UpdateRow) -> Update {
    let (reason, code, cause) = explained(row.why());
    let (waiting, is_deferred) = (row.waiting() > 0, row.state.0 == UpdateState::Deferred);
    Update {
        id: row.id,
        device: row.device.0,
        from: row.from_version,
        to: row.to_version.0.into(),
        state: row.state.0.into(),
        reason,
        code: code.map(|code| code.as_str().to_owned()),
        cause,
        bytes: row.bytes.unsigned_abs(),
        phase: row.phase.map(|phase| Phase::as_str(*phase).to_owned()),
        done: row.done.unsigned_abs(),
        created_at: time(row.created_at),
        finished_at: row.finished_at.map(time),
        waiting,
        expires_at: row.expires_at.filter(|_| waiting).map(time),
        deferred_until: row.deferred_until.filter(|_| is_deferred).map(time),
        unconfirmed: row.believed,
    }
}

pub(crate) fn event(row: UpdateEventRow) -> UpdateEvent {
    let (reason, code, cause) = explained(why_of(&row.reason, row.cause.as_ref()));
    UpdateEvent {
        id: row.id,
        at: time(row.at),
        kind: row.kind,
        actor_kind: row.actor_kind,
        actor: row.actor,
        from: row.from_state.map(|state| state.0.into()),
        to: row.to_state.0.into(),
        reason,
        code: code.map(|code| code.as_str().to_owned()),
        cause,
        phase: row.phase.map(|phase| Phase::as_str(*phase).to_owned()),
        done: row.done.unsigned_abs(),
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
