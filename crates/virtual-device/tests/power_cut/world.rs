//! A device whose power can be cut, and all that surrounds it: a server, a broker, an application that may crash.

use std::sync::Arc;

use agent::otadata::{Entries, Running, State};
use agent::partition::Table;
use agent::{
    Action, Agent, Connection, ContentRange, Event, FetchId, Keeper, Message, Phase, Range, Record,
    ResetReason, ResponseHead, Settings,
};
use contract::{Outcome, Report};
use embedded_storage::nor_flash::ReadNorFlash;
use image::Behaviour;
use updraft_virtual_device::bootloader::{NoBoot, boot};
use updraft_virtual_device::flash::{Cut, Moment};
use updraft_virtual_device::layout::OTADATA;

use crate::device::{CHIP, Device};
use crate::watched::Watched;

/// Boots without a quiet end: more is a boot loop. A crash loop begun anew by a cut takes the most.
pub(crate) const BOOTS_MAX: u32 = 30;
/// Connection settings that reach no broker.
pub(crate) const DEAD_END: &[u8] = b"a broker that is not there";

/// How the last boot ended.
enum End {
    Rest,
    Restart,
    PowerLost,
    PlugPulled,
    Crash,
}

pub(crate) struct World {
    pub(crate) device: Arc<Device>,
    pub(crate) flash: Watched,
    /// The last report, and every status.
    pub(crate) report: Option<Report>,
    pub(crate) statuses: Vec<(Outcome, String)>,
    pub(crate) boots: u32,
    pub(crate) cuts_seen: u32,
    /// More cuts, each so many operations after the power came back; the next one last.
    pub(crate) then: Vec<(u64, Moment)>,
    /// What the server offered last, and signs again when asked.
    pub(crate) offered: Option<usize>,
    /// The server breaks off after so many bytes, and somebody pulls the plug.
    pub(crate) lose_at: Option<u32>,
    /// How often the images themselves were asked for.
    pub(crate) downloads: u32,
    /// The furthest that a download went on from.
    pub(crate) resumed_at: u32,
    /// Images that crash once they run, and how often they still will.
    pub(crate) sick: Vec<(usize, u32)>,
    /// What to connect with from now on.
    pub(crate) move_to: Option<&'static [u8]>,
    /// What the device connects with.
    pub(crate) connection: Option<Vec<u8>>,
    /// What was remembered, and what lay where nothing is the agent's to write, when this was set up.
    pub(crate) record_before: Record,
    pub(crate) untouchable: Arc<[u8]>,
}

/// How a device came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) running: Running,
    pub(crate) image: usize,
    pub(crate) state: State,
}

impl World {
    pub(crate) fn new(device: Arc<Device>, mut flash: Watched) -> Self {
        let untouchable = flash.untouchable().into();
        Self {
            untouchable,
            record_before: Record::default(),
            device,
            flash,
            report: None,
            statuses: Vec::new(),
            boots: 0,
            cuts_seen: 0,
            then: Vec::new(),
            offered: None,
            lose_at: None,
            downloads: 0,
            resumed_at: 0,
            sick: Vec::new(),
            move_to: None,
            connection: None,
        }
    }

    /// The same device at the same moment, with a cut to come.
    pub(crate) fn fork(&self, cut: Option<Cut>) -> Self {
        let mut flash = self.flash.copy();
        flash.flash.cut_at(cut);
        Self {
            device: Arc::clone(&self.device),
            flash,
            report: None,
            statuses: Vec::new(),
            boots: 0,
            cuts_seen: 0,
            then: Vec::new(),
            offered: None,
            downloads: 0,
            resumed_at: 0,
            sick: self.sick.clone(),
            connection: None,
            record_before: self.record_before.clone(),
            untouchable: Arc::clone(&self.untouchable),
            ..*self
        }
    }

    /// What is remembered now is what must not be loosened.
    pub(crate) fn finish(&mut self) {
        self.record_before = self.record();
    }

    /// Runs until nothing happens any more; `offer` is triggered in the first boot that gets that far.
    pub(crate) fn run(&mut self, mut offer: Option<usize>, what: &str) -> Rest {
        let mut reset = ResetReason::PowerOn;
        let crashes = self.sick.iter().map(|(_, times)| *times).max().unwrap_or(0);
        for _ in 0..BOOTS_MAX + 2 * crashes {
            self.boots += 1;
            if !self.flash.flash.is_powered() {
                self.power_on();
                reset = ResetReason::PowerOn;
            }
            let running = match boot(&mut self.flash.flash, CHIP, self.device.rollback) {
                Ok(running) => running,
                Err(NoBoot::Flash(_)) if !self.flash.flash.is_powered() => continue,
                Err(error) => panic!("{what}: bricked: {error}"),
            };
            let image = self.image_in(running, what);
            if self.device.images[image].behaviour == Behaviour::CrashesAtBoot {
                reset = ResetReason::Panic;
                continue;
            }
            self.flash.running = running;
            let mut agent = Agent::new(Settings { reset, ..self.device.settings(image) });
            match agent.boot(&mut self.flash, running, 0) {
                Ok(()) => {}
                Err(_) if !self.flash.flash.is_powered() => continue,
                Err(error) => panic!("{what}: {error}"),
            }
            match self.session(&mut agent, image, &mut offer) {
                End::Restart => reset = ResetReason::Software,
                End::Crash => reset = ResetReason::Panic,
                End::PowerLost => {}
                End::PlugPulled => {
                    self.flash.flash.power_on();
                    reset = ResetReason::PowerOn;
                }
                End::Rest => {
                    self.look_at_rest(&agent, image, what);
                    return Rest { running, image, state: self.state_of(running) };
                }
            }
        }
        panic!("{what}: still not at rest after {} boots; {:?}", self.boots, self.statuses);
    }

    fn power_on(&mut self) {
        self.cuts_seen += 1;
        self.flash.flash.power_on();
        if let Some((operations, moment)) = self.then.pop() {
            let operation = self.flash.flash.operations() + operations;
            self.flash.flash.cut_at(Some(Cut { operation, moment }));
        }
    }

    fn look_at_rest(&mut self, agent: &Agent, image: usize, what: &str) {
        self.connection = agent.connection(&mut self.flash).map(|connection| connection.bytes().to_vec());
        let healthy = self.device.images[image].behaviour == Behaviour::Healthy;
        assert!(!healthy || self.reaches_broker(agent), "{what}: on settings that reach no broker");
        assert!(!healthy || agent.may_sleep(), "{what}: at rest, and may not sleep: {:?}", agent.phase());
    }

    fn reaches_broker(&mut self, agent: &Agent) -> bool {
        agent.connection(&mut self.flash).is_none_or(|connection| connection.bytes() != DEAD_END)
    }

    fn state_of(&mut self, running: Running) -> State {
        let entries = Entries::read(&mut self.flash.flash, OTADATA).expect("power");
        let slots = u8::try_from(self.flash.layout.slots().len()).expect("few");
        let state = match running {
            Running::Slot(slot) => entries.state_of(slot, slots),
            Running::Factory => None,
        };
        state.unwrap_or(State::Undefined)
    }

    /// One boot's life.
    fn session(&mut self, agent: &mut Agent, image: usize, offer: &mut Option<usize>) -> End {
        let healthy = self.device.images[image].behaviour == Behaviour::Healthy;
        if let Some((_, times)) = self.sick.iter_mut().find(|(sick, times)| *sick == image && *times > 0)
            && agent.phase() != Phase::Restarting
        {
            *times -= 1;
            return End::Crash;
        }
        let (mut now_ms, mut asked) = (0, false);
        if healthy && self.reaches_broker(agent) {
            agent.handle(&mut self.flash, Event::Connected, now_ms);
        }
        loop {
            if !self.flash.flash.is_powered() {
                return End::PowerLost;
            }
            match agent.poll() {
                Some(Action::Restart) => return End::Restart,
                Some(Action::Publish(id, message)) => {
                    asked |= matches!(message, Message::Request(_));
                    self.hear(agent, message);
                    agent.handle(&mut self.flash, Event::Acknowledged(id), now_ms);
                }
                Some(Action::Cancel) => {}
                Some(Action::Reconnect) => {
                    agent.handle(&mut self.flash, Event::Disconnected, now_ms);
                    if healthy && self.reaches_broker(agent) {
                        agent.handle(&mut self.flash, Event::Connected, now_ms);
                    }
                }
                Some(Action::Fetch { id, range, url, .. }) => {
                    let wanted: usize = url.rsplit_once('/').expect("a path").1.parse().expect("a number");
                    if self.serve(agent, id, range, wanted, now_ms) {
                        return End::PlugPulled;
                    }
                }
                None => {
                    if !self.tell(agent, offer, &mut asked, now_ms) {
                        let Some(deadline_ms) = agent.deadline_ms() else { return End::Rest };
                        now_ms = now_ms.max(deadline_ms);
                        agent.handle(&mut self.flash, Event::Tick, now_ms);
                    }
                }
            }
        }
    }

    fn hear(&mut self, agent: &Agent, message: Message) {
        match message {
            Message::Status(status) => {
                self.statuses.push((status.outcome, status.reason.as_str().to_owned()));
            }
            Message::Report => self.report = agent.report(),
            Message::Request(_) | Message::Progress(_) => {}
        }
    }

    /// What an operator does, and a server that is asked for a fresh URL; `false`: nothing.
    fn tell(&mut self, agent: &mut Agent, offer: &mut Option<usize>, asked: &mut bool, now_ms: u64) -> bool {
        let idle = agent.phase() == Phase::Idle && !agent.is_moving();
        if let Some(new) = self.move_to.take_if(|_| idle) {
            let new = Connection::new(new).expect("short enough");
            // A cut is what it can fail by.
            return agent.move_to(&mut self.flash, new).is_ok() || !self.flash.flash.is_powered();
        }
        let wanted = match agent.phase() {
            Phase::Idle => offer.take(),
            Phase::AwaitingUrl { .. } if std::mem::take(asked) => self.offered,
            _ => None,
        };
        let Some(offered) = wanted else { return false };
        self.offered = Some(offered);
        agent.handle(&mut self.flash, Event::Trigger(format!("http://server/{offered}").as_bytes()), now_ms);
        true
    }

    /// Answers a fetch as a server does that knows ranges and tags; `true`: the plug was pulled in the midst of it.
    fn serve(&mut self, agent: &mut Agent, id: FetchId, range: Range, wanted: usize, now_ms: u64) -> bool {
        let device = Arc::clone(&self.device);
        let bytes = &device.images[wanted].bytes;
        let (start, lose_at) = match range {
            Range::From(start) => (start as usize, self.lose_at),
            Range::Last(length) => (bytes.len().saturating_sub(length as usize), None),
        };
        if let Range::From(start) = range {
            self.downloads += 1;
            self.resumed_at = self.resumed_at.max(start);
        }
        let tag = format!("\"{wanted}\"");
        let head = ResponseHead {
            status: 206,
            content_length: Some((bytes.len() - start) as u64),
            content_range: Some(ContentRange { start: start as u64, total: Some(bytes.len() as u64) }),
            etag: Some(&tag),
            version: None,
            location: None,
            encoded: false,
        };
        agent.handle(&mut self.flash, Event::Head(id, head), now_ms);
        let end = lose_at.map_or(bytes.len(), |lose_at| bytes.len().min(lose_at as usize));
        for piece in bytes[start.min(end)..end].chunks(1500) {
            agent.handle(&mut self.flash, Event::Body(id, piece), now_ms);
            if !self.flash.flash.is_powered() {
                return false;
            }
        }
        if end < bytes.len() {
            self.lose_at = None;
            return true;
        }
        agent.handle(&mut self.flash, Event::BodyEnd(id), now_ms);
        false
    }

    /// What the last report says of the last attempt.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.report.as_ref()?.last.as_ref().map(|last| last.result)
    }

    /// What is remembered.
    pub(crate) fn record(&mut self) -> Record {
        let table = Table::read(&mut self.flash).expect("a table");
        Keeper::open(&mut self.flash.flash, &table).expect("power").1
    }

    /// Which image a slot holds, whole: anything else must never run, nor one that nobody signed where that counts.
    pub(crate) fn image_in(&mut self, running: Running, what: &str) -> usize {
        let partition = self.flash.partition(running);
        let device = Arc::clone(&self.device);
        let longest = device.images.iter().map(|image| image.bytes.len()).max().unwrap_or(0);
        let mut bytes = vec![0; longest];
        self.flash.flash.read(partition.offset, &mut bytes).expect("power");
        let found = device.images.iter().position(|image| bytes.starts_with(&image.bytes));
        let found = found.unwrap_or_else(|| panic!("{what}: an image runs that was never published"));
        assert!(device.images[found].may_run, "{what}: image {found} runs");
        found
    }
}
