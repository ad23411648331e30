//! The phases of an update, and the one match that owns them.
//!
//! idle → downloading → verifying → selected (NEW) → restart → self-test (PENDING_VERIFY) → confirmed (VALID) or
//! rolled back. The phase in memory is a view: at boot it is derived again from flash (`phase/boot.rs`).

mod boot;
mod step;

use contract::{Reason, Report, Status, Version};
use embedded_storage::nor_flash::NorFlash;
use heapless::{Deque, String};

pub use boot::BootError;

use crate::download::{Download, reason};
use crate::event::{Action, Event, FetchId, Message, MessageId};
use crate::otadata::{Running, State};
use crate::partition::{Partition, Table};
use crate::record::{Journal, Record};
use crate::settings::{Check, Settings, URL_MAX_BYTES};
use crate::verify::{ReadBack, SlotImage};

/// Messages that wait to be sent; more are never needed at once, and the oldest makes room.
const OUTBOX: usize = 8;

/// What the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing to do.
    Idle,
    /// The running image is not confirmed yet.
    SelfTest {
        /// When it is rejected.
        until_ms: u64,
    },
    /// A fetch is under way.
    Downloading {
        /// Which.
        fetch: FetchId,
        /// When something was last heard of it.
        heard_ms: u64,
    },
    /// The connection was lost; the download goes on later.
    Pausing {
        /// When.
        until_ms: u64,
    },
    /// The URL expired and a fresh one was asked for.
    AwaitingUrl {
        /// When it is asked for again.
        until_ms: u64,
    },
    /// The slot is read back.
    Verifying,
    /// The new image is selected; the last message is on its way.
    Selected {
        /// When the restart comes in any case.
        until_ms: u64,
        /// The message; once it is acknowledged the restart comes at once.
        message: MessageId,
    },
    /// The restart was asked for; nothing else happens any more.
    Restarting,
}

/// The agent on one device, from boot to restart.
// Each bool is a fact of its own; the state that they could be mistaken for is `phase`.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    table: Table,
    running: Running,
    running_state: State,
    /// The image that runs, as far as it could be read.
    image: Option<SlotImage>,
    journal: Journal,
    record: Record,
    /// The failure of an image that is counted once the broker was reached: while it cannot be, a site's outage may
    /// be to blame.
    blamed: Option<[u8; 32]>,
    phase: Phase,
    now_ms: u64,
    connected: bool,
    application_well: bool,
    url: String<URL_MAX_BYTES>,
    /// Whether `url` is a trigger that waits for the self-test to end.
    trigger_waits: bool,
    to: Option<Version>,
    target: u8,
    download: Download,
    read_back: ReadBack,
    received_sha256: [u8; 32],
    retries: u8,
    /// The most that was received of any file in this attempt.
    furthest: u32,
    url_requests: u8,
    progress_ms: Option<u64>,
    next_fetch: u32,
    fetch_due: bool,
    cancel_due: bool,
    outbox: Deque<(MessageId, Message), OUTBOX>,
    next_message: u32,
    /// The outcome that no broker has acknowledged yet.
    outcome: Option<(MessageId, Status)>,
}

impl Agent {
    /// Takes what happened. Faults of the flash end the attempt with a reason; they are never a panic.
    pub fn handle<F: NorFlash>(&mut self, flash: &mut F, event: Event<'_>, now_ms: u64) {
        self.now_ms = now_ms;
        match event {
            Event::Connected => self.on_connected(flash),
            Event::Disconnected => self.connected = false,
            Event::Acknowledged(id) if self.outcome.as_ref().is_some_and(|(of, _)| *of == id) => {
                self.outcome = None;
            }
            Event::ClearQuarantine => self.clear_quarantine(flash),
            Event::SelfTest(Ok(())) => self.application_well = true,
            _ => {}
        }
        self.phase = match (self.phase, event) {
            (Phase::SelfTest { .. }, Event::SelfTest(Err(why))) => self.reject(flash, why),
            (Phase::SelfTest { until_ms }, Event::Connected | Event::SelfTest(Ok(())) | Event::Tick) => {
                if self.connected && (self.application_well || self.settings.check == Check::Broker) {
                    self.confirm(flash, until_ms)
                } else if now_ms >= until_ms {
                    self.reject_in_time(flash)
                } else {
                    self.phase
                }
            }
            (Phase::SelfTest { .. }, Event::Trigger(url)) => {
                self.trigger_waits = self.take_url(url);
                self.phase
            }
            (Phase::Idle, Event::Trigger(url)) => self.begin(url),
            (Phase::Idle, Event::Tick) if self.trigger_waits => self.begin_waiting(),
            (
                Phase::Downloading { .. } | Phase::Pausing { .. } | Phase::AwaitingUrl { .. },
                Event::Trigger(url),
            ) => self.renew(url),
            (Phase::Downloading { fetch, .. }, Event::Head(id, head)) if fetch == id => {
                self.on_head(flash, fetch, &head)
            }
            (Phase::Downloading { fetch, .. }, Event::Body(id, bytes)) if fetch == id => {
                self.on_body(flash, fetch, bytes)
            }
            (Phase::Downloading { fetch, .. }, Event::BodyEnd(id)) if fetch == id => self.on_body_end(flash),
            (Phase::Downloading { fetch, .. }, Event::Lost(id, why)) if fetch == id => {
                self.retry(flash, format_args!("the connection was lost: {why}"))
            }
            (Phase::Downloading { heard_ms, .. }, Event::Tick)
                if now_ms >= heard_ms + u64::from(self.settings.stall_ms) =>
            {
                let seconds = self.settings.stall_ms / 1000;
                self.retry(flash, format_args!("the server was silent for {seconds} s"))
            }
            (Phase::Pausing { until_ms }, Event::Tick) if now_ms >= until_ms => self.fetch(),
            (Phase::AwaitingUrl { until_ms }, Event::Tick) if now_ms >= until_ms => self.ask_for_url(flash),
            (Phase::Verifying, Event::Tick) => self.verify(flash),
            (Phase::Selected { message, .. }, Event::Acknowledged(id)) if message == id => Phase::Restarting,
            (Phase::Selected { until_ms, .. }, Event::Tick) if now_ms >= until_ms => Phase::Restarting,
            (phase, _) => phase,
        };
    }

    /// What to do next; `None` until something happens or [`Self::deadline_ms`] comes.
    pub fn poll(&mut self) -> Option<Action<'_>> {
        if core::mem::take(&mut self.cancel_due) {
            return Some(Action::Cancel);
        }
        if let (Phase::Downloading { fetch: id, .. }, true) = (self.phase, self.fetch_due) {
            self.fetch_due = false;
            let (offset, url) = (self.download.received(), self.url.as_str());
            let if_range = if offset > 0 { self.download.etag() } else { None };
            return Some(Action::Fetch { id, url, offset, if_range });
        }
        if self.connected
            && let Some((id, message)) = self.outbox.pop_front()
        {
            return Some(Action::Publish(id, message));
        }
        (self.phase == Phase::Restarting).then_some(Action::Restart)
    }

    /// When [`Event::Tick`] is wanted, even if nothing else happens; a time that has passed means at once.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle if self.trigger_waits => Some(self.now_ms),
            Phase::Idle | Phase::Restarting => None,
            Phase::Verifying => Some(self.now_ms),
            Phase::Downloading { heard_ms, .. } => Some(heard_ms + u64::from(self.settings.stall_ms)),
            Phase::SelfTest { until_ms } if until_ms == u64::MAX => None,
            Phase::SelfTest { until_ms }
            | Phase::Pausing { until_ms }
            | Phase::AwaitingUrl { until_ms }
            | Phase::Selected { until_ms, .. } => Some(until_ms),
        }
    }

    /// What the agent is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What is remembered.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The image that runs, unless it could not be read.
    pub fn running_image(&self) -> Option<&SlotImage> {
        self.image.as_ref()
    }

    /// The version of the update under way, if known.
    pub fn updating_to(&self) -> Option<&Version> {
        self.to.as_ref()
    }

    /// The version that runs: as published if this device was told so, else as the application or the image says.
    pub fn version(&self) -> Option<&Version> {
        let image = self.image.as_ref();
        let published = image.and_then(|image| self.record.version_of(&image.sha256));
        published.or(self.settings.version.as_ref()).or(image.and_then(|image| image.version.as_ref()))
    }

    /// What comes with SUCCESS: nothing, unless no report can tell what runs. Then its hash does.
    fn success_reason(&self) -> Reason {
        match (self.version(), &self.image) {
            (None, Some(image)) => reason(format_args!("sha256 {}", contract::Sha256(image.sha256))),
            _ => Reason::default(),
        }
    }

    /// What the device says of itself; `None` while its version is not known, since a report must have one.
    pub fn report(&self) -> Option<Report> {
        let mut report = Report::bare(self.version()?.clone());
        report.product.clone_from(&self.settings.product);
        report.chip = String::try_from(self.settings.chip.name()).ok();
        report.sha256 = self.image.as_ref().map(|image| contract::Sha256(image.sha256));
        report.slot = match self.running {
            Running::Factory => String::try_from("factory").ok(),
            Running::Slot(slot) => {
                let mut name = String::new();
                core::fmt::Write::write_fmt(&mut name, format_args!("ota_{slot}")).ok().map(|()| name)
            }
        };
        report.state = String::try_from(self.running_state.as_str()).ok();
        report.slot_bytes = self.table.slots.iter().map(|slot| slot.size_bytes).min();
        report.rollback = self.record.rollback;
        report.reset = String::try_from(self.settings.reset.as_str()).ok();
        report.last = self.record.last.as_ref().map(|last| contract::LastOutcome {
            to: last.to.clone(),
            result: last.result,
            reason: Some(last.reason.clone()).filter(|reason| !reason.as_str().is_empty()),
        });
        Some(report)
    }

    fn slots(&self) -> u8 {
        // At most 16, by the table's own bound.
        self.table.slots.len() as u8
    }

    fn target_slot(&self) -> Partition {
        self.table.slots[usize::from(self.target)]
    }

    fn queue(&mut self, message: Message) -> MessageId {
        self.next_message = self.next_message.wrapping_add(1);
        let id = MessageId(self.next_message);
        if self.outbox.is_full() {
            self.outbox.pop_front();
        }
        let queued = self.outbox.push_back((id, message)).is_ok();
        debug_assert!(queued, "one was taken out before");
        id
    }
}

/// The version in `…/releases/v{version}/firmware.bin`, where a URL has that form.
pub(crate) fn version_in_url(url: &str) -> Option<Version> {
    let path = url.split(['?', '#']).next()?;
    let folder = path.strip_suffix("/firmware.bin")?;
    let (parent, name) = folder.rsplit_once('/')?;
    if !parent.ends_with("/releases") {
        return None;
    }
    // Build metadata is the one part of a version that URLs may encode.
    let (mut version, mut rest) =
        (String::<{ contract::VERSION_MAX_BYTES + 1 }>::new(), name.strip_prefix('v')?);
    while let Some((before, after)) = rest.split_once("%2") {
        let after = after.strip_prefix(['B', 'b'])?;
        version.push_str(before).ok()?;
        version.push('+').ok()?;
        rest = after;
    }
    version.push_str(rest).ok()?;
    version.parse().ok()
}

#[cfg(test)]
mod tests;
