//! The phases of an update, and the one match that owns them.
//!
//! idle → downloading → verifying → selected (NEW) → restart → self-test (PENDING_VERIFY) → confirmed (VALID) or
//! rolled back. The phase in memory is a view: at boot it is derived again from flash (`phase/boot.rs`).

/// What the image that is offered must agree with, of an agent whose other parts stay free to be used.
macro_rules! wanted {
    ($agent:expr) => {
        crate::checks::Wanted {
            hardware: &$agent.settings.hardware,
            running: $agent.image.as_ref().map(|image| &image.traits),
            secure_version: $agent.record.secure_version,
            version: $agent.attempt.to.as_ref(),
        }
    };
}

mod boot;
mod fetch;
mod judge;
mod moving;
mod response;
mod say;
mod trial;

use contract::Version;

pub use boot::BootError;

use crate::attempt::AttemptState;
use crate::attempt::TriggerUrl;
use crate::download::Download;
use crate::event::{Action, Event, FetchId, MessageId};
use crate::http;
use crate::otadata::{Running, State};
use crate::outbox::Outbox;
use crate::partition::{Partition, Table};
use crate::port::{Check, Settings};
use crate::port::{Encryption, Port};
use crate::record::{Keeper, Record};
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::timers::{Timer, Timers};
use crate::verify::{ReadBack, SlotImage};

/// What the agent is doing; how long it may take is [`Agent::phase_ends_ms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing to do.
    Idle,
    /// A trigger came during the self-test; the update begins with the next tick.
    Triggered,
    /// The running image is not confirmed yet. Without an end there is no other image to go back to.
    SelfTest {
        /// Whether the application said that it is well.
        well: bool,
        /// Whether a trigger came meanwhile.
        triggered: bool,
    },
    /// A fetch is under way.
    Downloading {
        /// Which.
        fetch: FetchId,
    },
    /// The connection was lost; the download goes on later.
    Pausing,
    /// A fresh URL was asked for. Without an end it is asked for once the broker is reached.
    AwaitingUrl {
        /// What became of the one before.
        loss: UrlLoss,
    },
    /// What an interrupted download left in the slot is hashed again.
    Resuming,
    /// The slot is read back.
    Verifying,
    /// The new image lies in the slot and is good; the application puts its installation off.
    Kept,
    /// The new image is selected; the last message is on its way.
    Selected {
        /// The message; once it is acknowledged the restart comes at once.
        message: MessageId,
    },
    /// The restart was asked for; nothing else happens any more.
    Restarting,
}

/// Why a fresh URL is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlLoss {
    /// The server refused it.
    Expired,
    /// The device restarted during the download, and URLs are kept in memory only.
    Restarted,
}

/// The agent on one device, from boot to restart. Large (see docs/device.md): it belongs into a `static`.
// In this order, because a RISC-V reaches the first 2 KiB with one instruction and the rest with three.
#[repr(C)]
#[derive(Debug)]
pub struct Agent {
    phase: Phase,
    timers: Timers,
    /// The last fetch that was begun, and the last one that was handed to the port.
    fetches: (FetchId, FetchId),
    /// Connection settings were given up after so many seconds on trial; 0: after several boots.
    returned: Option<u32>,
    running_state: State,
    running: Running,
    encryption: Encryption,
    target: u8,
    /// Whether there is memory that survives resets.
    counts_crashes: bool,
    cancel_due: bool,
    reconnect_due: bool,
    connected: bool,
    #[cfg(feature = "put-off")]
    is_put_off: bool,
    attempt: AttemptState,
    http: http::Response,
    keeper: Keeper,
    /// The failure of an image that is counted once the broker was reached: while it cannot be, a site's outage may
    /// be to blame.
    blamed: Option<[u8; 32]>,
    table: Table,
    /// The image that runs, as far as it could be read.
    image: Option<SlotImage>,
    settings: Settings,
    outbox: Outbox,
    record: Record,
    read_back: Option<ReadBack>,
    download: Download,
    url: TriggerUrl,
}

impl Agent {
    /// An agent that has not booted yet. All of it is known at compile time, so that it need never lie on a stack.
    pub const fn new(settings: Settings) -> Self {
        Self {
            phase: Phase::Idle,
            timers: Timers::NEW,
            fetches: (FetchId(0), FetchId(0)),
            returned: None,
            running_state: State::Undefined,
            running: Running::Factory,
            encryption: Encryption::Off,
            target: 0,
            counts_crashes: false,
            cancel_due: false,
            reconnect_due: false,
            connected: false,
            #[cfg(feature = "put-off")]
            is_put_off: false,
            attempt: AttemptState::NEW,
            http: http::Response::new(),
            keeper: Keeper::new(),
            blamed: None,
            table: Table::NONE,
            image: None,
            settings,
            outbox: Outbox::new(),
            record: Record::new(),
            read_back: None,
            download: Download::new(),
            url: TriggerUrl::none(),
        }
    }

    /// Takes what happened. Faults of the flash end the attempt with a reason; they are never a panic.
    #[inline(never)]
    pub fn handle<P: Port>(&mut self, port: &mut P, event: Event<'_>, now_ms: u64) {
        self.timers.now_ms = now_ms;
        match event {
            Event::Connected => self.on_connected(port),
            Event::Disconnected => self.connected = false,
            Event::Acknowledged(id) => self.outbox.acknowledge(id),
            Event::ClearQuarantine => self.clear_quarantine(port),
            Event::Tick => {
                self.note_stable(port);
                self.note_move(port);
            }
            _ => {}
        }
        self.phase = self.step(port, event);
        if matches!(self.phase, Phase::Idle | Phase::Restarting) {
            self.timers.stop(Timer::Phase);
        }
    }

    fn step<P: Port>(&mut self, port: &mut P, event: Event<'_>) -> Phase {
        let is_due = self.timers.has_ended(Timer::Phase);
        match (self.phase, event) {
            (Phase::SelfTest { .. }, Event::SelfTest(Err(why))) => {
                self.reject(port, &Refusal::plain(Says::CheckFailed), why)
            }
            (
                Phase::SelfTest { well, triggered },
                Event::Connected | Event::SelfTest(Ok(())) | Event::Tick,
            ) => {
                let well = well || matches!(event, Event::SelfTest(_));
                self.phase = Phase::SelfTest { well, triggered };
                if self.connected && (well || self.settings.check == Check::Broker) {
                    self.confirm(port, triggered)
                } else if is_due {
                    self.reject_in_time(port)
                } else {
                    self.phase
                }
            }
            // One that has nothing to go back to is helped by nothing but a new image.
            (Phase::SelfTest { well, triggered }, Event::Trigger(url))
                if self.timers.is_set(Timer::Phase) =>
            {
                Phase::SelfTest { well, triggered: triggered | self.url.take(url).is_ok() }
            }
            (Phase::Idle | Phase::Triggered | Phase::SelfTest { .. }, Event::Trigger(url)) => {
                self.begin(port, url)
            }
            (Phase::Triggered, Event::Tick) => self.begin_attempt(port),
            (
                Phase::Downloading { .. } | Phase::Pausing | Phase::AwaitingUrl { .. } | Phase::Resuming,
                Event::Trigger(url),
            ) => self.renew(url),
            (Phase::AwaitingUrl { loss }, Event::Connected) if !self.timers.is_set(Timer::Phase) => {
                self.ask_for_url(port, loss)
            }
            (Phase::Downloading { fetch }, Event::Received(id, bytes)) if fetch == id => {
                let next = self.on_received(port, bytes);
                self.judge_pace(port, bytes.len(), next)
            }
            (Phase::Downloading { fetch }, Event::Closed(id)) if fetch == id => self.on_closed(port),
            (Phase::Downloading { fetch }, Event::Head(id, head)) if fetch == id => self.on_head(port, &head),
            (Phase::Downloading { fetch }, Event::Body(id, bytes)) if fetch == id => {
                let next = self.on_body(port, bytes);
                self.judge_pace(port, bytes.len(), next)
            }
            (Phase::Downloading { fetch }, Event::BodyEnd(id)) if fetch == id => self.on_body_end(port),
            (Phase::Downloading { fetch }, Event::Lost(id, why)) if fetch == id => {
                self.retry(port, &Refusal::plain(Says::Lost), why)
            }
            (Phase::Downloading { .. }, Event::Tick) if is_due => {
                let seconds = self.settings.stall_ms / 1000;
                self.retry(port, &Refusal::new(Says::Silent, &[seconds]), "")
            }
            (Phase::Pausing, Event::Tick) if is_due => self.fetch(),
            (Phase::AwaitingUrl { loss }, Event::Tick) if is_due => self.ask_for_url(port, loss),
            (Phase::Resuming, Event::Tick) => self.resume(port),
            (Phase::Verifying, Event::Tick) => self.verify(port),
            // What is offered by now counts; what lies in the slot need not be fetched again.
            #[cfg(feature = "put-off")]
            (Phase::Kept, Event::Trigger(url)) => self.begin(port, url),
            // The server may have thought better of it: its answer is another trigger.
            #[cfg(feature = "put-off")]
            (Phase::Kept, Event::Tick) if !self.is_put_off && is_due => {
                self.attempt = AttemptState::NEW;
                self.resume_later(port);
                self.ask_for_url(port, UrlLoss::Restarted)
            }
            (Phase::Selected { message }, Event::Acknowledged(id)) if message == id => Phase::Restarting,
            (Phase::Selected { .. }, Event::Tick) if is_due => Phase::Restarting,
            (phase, _) => phase,
        }
    }

    /// What to do next; `None` until something happens or [`Self::deadline_ms`] comes.
    #[inline(never)]
    pub fn poll(&mut self) -> Option<Action<'_>> {
        if core::mem::take(&mut self.cancel_due) {
            return Some(Action::Cancel);
        }
        let (begun, announced) = &mut self.fetches;
        if matches!(self.phase, Phase::Downloading { .. }) && begun != announced {
            *announced = *begun;
            let (range, if_range) = self.asked_for();
            return Some(Action::Fetch {
                id: self.fetches.0,
                url: http::as_text(&self.url.bytes),
                range,
                if_range,
            });
        }
        if core::mem::take(&mut self.reconnect_due) {
            self.connected = false;
            return Some(Action::Reconnect);
        }
        let wants_url = matches!(self.phase, Phase::AwaitingUrl { .. });
        if self.connected
            && let Some(action) = self.outbox.next(wants_url)
        {
            return Some(action);
        }
        matches!(self.phase, Phase::Restarting).then_some(Action::Restart)
    }

    /// When [`Event::Tick`] is wanted, even if nothing else happens; a time that has passed means at once.
    #[inline(never)]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// What the agent is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When the phase ends, if nothing else happens.
    pub fn phase_ends_ms(&self) -> Option<u64> {
        self.timers.end_ms(Timer::Phase)
    }

    /// Whether the device may go into deep sleep now. Never while an image is on trial: waking is a boot, and the bootloader
    /// takes it for the end of the trial. Nor while anything is under way or waits to be said.
    #[inline(never)]
    pub fn may_sleep(&self) -> bool {
        matches!(self.phase, Phase::Idle) && !self.is_moving() && self.outbox.is_empty()
    }

    /// Whether this is no time to install anything: then an update is downloaded and verified, and waits in [`Phase::Kept`]. Say so
    /// before the trigger, and again after each boot; tell the server with `DEFERRED` on the status topic. Once it is over, the
    /// agent asks for the URL again, so that nothing is installed that is not offered any more, and goes on with what it has.
    #[cfg(feature = "put-off")]
    pub fn put_off(&mut self, is_put_off: bool) {
        self.is_put_off = is_put_off;
        if self.phase == Phase::Kept {
            self.timers.stop(Timer::Phase);
            if !is_put_off {
                self.timers.start(Timer::Phase, 0);
            }
        }
    }

    /// What is remembered.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The version of the update under way, if known.
    pub fn updating_to(&self) -> Option<&Version> {
        self.attempt.to.as_ref()
    }

    /// The version that runs: as the image says, or the application; only where neither does, as the server named it. What the
    /// image says and is no version, as a commit's name, is the last resort.
    pub fn version(&self) -> Option<&Version> {
        let image = self.image.as_ref();
        let own = image.and_then(|image| image.version.as_ref());
        let said = own.filter(|own| !own.is_opaque()).or(self.settings.version.as_ref());
        said.or_else(|| image.and_then(|image| self.record.version_of(&image.sha256))).or(own)
    }

    fn slots(&self) -> u8 {
        // At most 16, by the table's own bound.
        self.table.slots.len() as u8
    }

    fn target_slot(&self) -> Partition {
        self.partition_of(Running::Slot(self.target)).unwrap_or(Partition::NOWHERE)
    }

    fn store<P: Port>(&mut self, port: &mut P) {
        // What cannot be recorded is still reported now; only the next boot will not know it.
        let _ = self.keeper.store(port, &self.record);
    }
}
