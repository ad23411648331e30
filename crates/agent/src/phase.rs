//! The phases of an update, and the one match that owns them.
//!
//! idle → downloading → verifying → selected (NEW) → restart → self-test (PENDING_VERIFY) → confirmed (VALID) or
//! rolled back. The phase in memory is a view: at boot it is derived again from flash (`phase/boot.rs`).

mod boot;
mod fate;
mod fetch;
mod judge;
mod moving;
mod say;
mod trial;

use contract::{Status, Version};
use heapless::{Deque, Vec};

pub use boot::BootError;

use crate::download::Download;
use crate::event::{Action, Event, FetchId, MessageId};
use crate::http;
use crate::otadata::{Running, State};
use crate::partition::{Partition, Table};
use crate::port::{Encryption, Port};
use crate::record::{Keeper, Record};
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::settings::{Check, Settings, URL_MAX_BYTES};
use crate::verify::{ReadBack, SlotImage};
use fetch::Asking;
use say::{Kind, OUTBOX};

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
    /// The URL expired, or was lost in a restart, and a fresh one was asked for.
    AwaitingUrl {
        /// When it is asked for again.
        until_ms: u64,
    },
    /// What an interrupted download left in the slot is hashed again.
    Resuming,
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

/// The agent on one device, from boot to restart. Large (see docs/device.md): it belongs into a `static`.
// Each bool is a fact of its own; the state that they could be mistaken for is `phase`.
#[allow(clippy::struct_excessive_bools)]
// In this order, because a RISC-V reaches the first 2 KiB with one instruction and the rest with three.
#[repr(C)]
#[derive(Debug)]
pub struct Agent {
    phase: Phase,
    now_ms: u64,
    /// When the crashes of this image are forgotten, if there were any.
    stable_ms: Option<u64>,
    /// When connection settings that are on trial are given up.
    moving_until_ms: Option<u64>,
    progress_ms: Option<u64>,
    /// Since when a connection has been judged by how much it brings, and what had been received by then.
    pace: (u64, u32),
    /// The most that was received of any file in this attempt.
    furthest: u32,
    next_fetch: u32,
    next_message: u32,
    /// Connection settings were given up after so many seconds on trial; 0: after several boots.
    returned: Option<u32>,
    /// Of the path in the trigger, which a redirect does not change.
    path_tag: u32,
    running_state: State,
    running: Running,
    encryption: Encryption,
    target: u8,
    asking: Asking,
    redirects: u8,
    retries: u8,
    url_requests: u8,
    /// Whether there is memory that survives resets.
    counts_crashes: bool,
    reconnect_due: bool,
    connected: bool,
    application_well: bool,
    /// Whether `url` is a trigger that waits for the self-test to end.
    trigger_waits: bool,
    /// Whether the download began before this boot, and its URL is to be asked for.
    resuming: bool,
    /// Whether the record and otadata are such that the slot may be erased.
    ready: bool,
    fetch_due: bool,
    cancel_due: bool,
    http: http::Response,
    keeper: Keeper,
    /// The failure of an image that is counted once the broker was reached: while it cannot be, a site's outage may
    /// be to blame.
    blamed: Option<[u8; 32]>,
    received_sha256: [u8; 32],
    /// The version that the trigger's path names.
    named: Option<Version>,
    to: Option<Version>,
    table: Table,
    /// The image that runs, as far as it could be read.
    image: Option<SlotImage>,
    settings: Settings,
    outbox: Deque<(MessageId, Kind), OUTBOX>,
    /// The outcome that no broker has acknowledged yet.
    outcome: Option<(MessageId, Status)>,
    record: Record,
    read_back: Option<ReadBack>,
    download: Download,
    /// Looked at by [`http::Url`]'s rules, so ASCII.
    url: Vec<u8, URL_MAX_BYTES>,
}

impl Agent {
    /// An agent that has not booted yet. All of it is known at compile time, so that it need never lie on a stack.
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            table: Table::NONE,
            encryption: Encryption::Off,
            running: Running::Factory,
            running_state: State::Undefined,
            image: None,
            keeper: Keeper::new(),
            record: Record::new(),
            blamed: None,
            phase: Phase::Idle,
            now_ms: 0,
            counts_crashes: false,
            stable_ms: None,
            moving_until_ms: None,
            reconnect_due: false,
            returned: None,
            connected: false,
            application_well: false,
            url: Vec::new(),
            path_tag: 0,
            trigger_waits: false,
            resuming: false,
            named: None,
            to: None,
            target: 0,
            asking: Asking::Tail,
            redirects: 0,
            ready: false,
            http: http::Response::new(),
            download: Download::new(),
            read_back: None,
            received_sha256: [0; 32],
            retries: 0,
            furthest: 0,
            pace: (0, 0),
            url_requests: 0,
            progress_ms: None,
            next_fetch: 0,
            fetch_due: false,
            cancel_due: false,
            outbox: Deque::new(),
            next_message: 0,
            outcome: None,
        }
    }

    /// Takes what happened. Faults of the flash end the attempt with a reason; they are never a panic.
    #[inline(never)]
    pub fn handle<P: Port>(&mut self, port: &mut P, event: Event<'_>, now_ms: u64) {
        self.now_ms = now_ms;
        match event {
            Event::Connected => self.on_connected(port),
            Event::Disconnected => self.connected = false,
            Event::Acknowledged(id) if self.outcome.as_ref().is_some_and(|(of, _)| *of == id) => {
                self.outcome = None;
            }
            Event::ClearQuarantine => self.clear_quarantine(port),
            Event::SelfTest(Ok(())) => self.application_well = true,
            Event::Tick => {
                self.note_stable(port);
                self.note_move(port);
            }
            _ => {}
        }
        self.phase = self.step(port, event);
    }

    fn step<P: Port>(&mut self, port: &mut P, event: Event<'_>) -> Phase {
        let now_ms = self.now_ms;
        match (self.phase, event) {
            (Phase::SelfTest { .. }, Event::SelfTest(Err(why))) => {
                self.reject(port, &Refusal::plain(Says::CheckFailed), why)
            }
            (Phase::SelfTest { until_ms }, Event::Connected | Event::SelfTest(Ok(())) | Event::Tick) => {
                if self.connected && (self.application_well || self.settings.check == Check::Broker) {
                    self.confirm(port, until_ms)
                } else if now_ms >= until_ms {
                    self.reject_in_time(port)
                } else {
                    self.phase
                }
            }
            // One that has nothing to go back to is helped by nothing but a new image.
            (Phase::Idle | Phase::SelfTest { until_ms: u64::MAX }, Event::Trigger(url)) => {
                self.begin(port, url)
            }
            (Phase::SelfTest { .. }, Event::Trigger(url)) => {
                self.trigger_waits |= self.take_url(url).is_ok();
                self.phase
            }
            (Phase::Idle, Event::Tick) if self.trigger_waits => self.begin_waiting(port),
            (
                Phase::Downloading { .. }
                | Phase::Pausing { .. }
                | Phase::AwaitingUrl { .. }
                | Phase::Resuming,
                Event::Trigger(url),
            ) => self.renew(url),
            (Phase::AwaitingUrl { until_ms }, Event::Connected) if until_ms == u64::MAX => {
                self.ask_for_url(port)
            }
            (Phase::Downloading { fetch, .. }, Event::Received(id, bytes)) if fetch == id => {
                let next = self.on_received(port, fetch, bytes);
                self.judge_pace(port, bytes.len(), next)
            }
            (Phase::Downloading { fetch, .. }, Event::Closed(id)) if fetch == id => self.on_closed(port),
            (Phase::Downloading { fetch, .. }, Event::Head(id, head)) if fetch == id => {
                self.on_head(port, fetch, &head)
            }
            (Phase::Downloading { fetch, .. }, Event::Body(id, bytes)) if fetch == id => {
                let next = self.on_body(port, fetch, bytes);
                self.judge_pace(port, bytes.len(), next)
            }
            (Phase::Downloading { fetch, .. }, Event::BodyEnd(id)) if fetch == id => self.on_body_end(port),
            (Phase::Downloading { fetch, .. }, Event::Lost(id, why)) if fetch == id => {
                self.retry(port, &Refusal::plain(Says::Lost), why)
            }
            (Phase::Downloading { heard_ms, .. }, Event::Tick)
                if now_ms >= heard_ms + u64::from(self.settings.stall_ms) =>
            {
                let seconds = self.settings.stall_ms / 1000;
                self.retry(port, &Refusal::new(Says::Silent, &[seconds]), "")
            }
            (Phase::Pausing { until_ms }, Event::Tick) if now_ms >= until_ms => self.fetch(),
            (Phase::AwaitingUrl { until_ms }, Event::Tick) if now_ms >= until_ms => self.ask_for_url(port),
            (Phase::Resuming, Event::Tick) => self.resume(port),
            (Phase::Verifying, Event::Tick) => self.verify(port),
            (Phase::Selected { message, .. }, Event::Acknowledged(id)) if message == id => Phase::Restarting,
            (Phase::Selected { until_ms, .. }, Event::Tick) if now_ms >= until_ms => Phase::Restarting,
            (phase, _) => phase,
        }
    }

    /// What to do next; `None` until something happens or [`Self::deadline_ms`] comes.
    #[inline(never)]
    pub fn poll(&mut self) -> Option<Action<'_>> {
        if core::mem::take(&mut self.cancel_due) {
            return Some(Action::Cancel);
        }
        if let (Phase::Downloading { fetch: id, .. }, true) = (self.phase, self.fetch_due) {
            self.fetch_due = false;
            let (range, url) = (self.asking.range(&self.download), http::as_text(&self.url));
            return Some(Action::Fetch { id, url, range, if_range: self.asking.if_range(&self.download) });
        }
        if core::mem::take(&mut self.reconnect_due) {
            self.connected = false;
            return Some(Action::Reconnect);
        }
        if self.connected
            && let Some(action) = self.next_message()
        {
            return Some(action);
        }
        matches!(self.phase, Phase::Restarting).then_some(Action::Restart)
    }

    /// When [`Event::Tick`] is wanted, even if nothing else happens; a time that has passed means at once.
    #[inline(never)]
    pub fn deadline_ms(&self) -> Option<u64> {
        let phase_ms = match self.phase {
            Phase::Idle if self.trigger_waits => self.now_ms,
            Phase::Idle | Phase::Restarting => u64::MAX,
            Phase::Resuming | Phase::Verifying => self.now_ms,
            Phase::Downloading { heard_ms, .. } => heard_ms + u64::from(self.settings.stall_ms),
            Phase::SelfTest { until_ms }
            | Phase::Pausing { until_ms }
            | Phase::AwaitingUrl { until_ms }
            | Phase::Selected { until_ms, .. } => until_ms,
        };
        let mut first_ms = phase_ms;
        for at_ms in [self.stable_ms, self.moving_until_ms].into_iter().flatten() {
            first_ms = first_ms.min(at_ms);
        }
        // The end of time is no time.
        (first_ms != u64::MAX).then_some(first_ms)
    }

    /// What the agent is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the device may go into deep sleep now. Never while an image is on trial: waking is a boot, and the bootloader
    /// takes it for the end of the trial. Nor while anything is under way or waits to be said.
    #[inline(never)]
    pub fn may_sleep(&self) -> bool {
        matches!(self.phase, Phase::Idle)
            && !self.trigger_waits
            && !self.is_moving()
            && self.outbox.is_empty()
            && self.outcome.is_none()
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

    fn slots(&self) -> u8 {
        // At most 16, by the table's own bound.
        self.table.slots.len() as u8
    }

    fn target_slot(&self) -> Partition {
        let nowhere = Partition { offset: 0, size_bytes: 0 };
        self.table.slots.get(usize::from(self.target)).copied().unwrap_or(nowhere)
    }

    fn store<P: Port>(&mut self, port: &mut P) {
        // What cannot be recorded is still reported now; only the next boot will not know it.
        let _ = self.keeper.store(port, &self.record);
    }
}

#[cfg(test)]
mod tests;
