//! A device whose power can be cut, on a network that never fails.

use agent::otadata::{Entries, Running, State};
use agent::{
    Action, Agent, ContentRange, Event, FetchId, Message, Phase, Range, ResetReason, ResponseHead, Settings,
};
use contract::{Outcome, Report};
use embedded_storage::nor_flash::ReadNorFlash;
use image::build::Build;
use image::{Behaviour, Chip};
use updraft_virtual_device::bootloader::{NoBoot, Rollback, boot};
use updraft_virtual_device::flash::{Cut, Flash, Moment};
use updraft_virtual_device::layout::{FACTORY, Layout, OTADATA, SLOTS, program, provision, write_layout};

pub(crate) const CHIP: Chip = Chip::Esp32S3;
/// Boots without a quiet end: more is a boot loop.
pub(crate) const BOOTS_MAX: u32 = 12;

pub(crate) fn image(version: &str, behaviour: Behaviour) -> Vec<u8> {
    let mut build = Build::new(CHIP, version);
    build.size_bytes = 10 * 1024;
    build.behaviour = Some(behaviour);
    build.bytes()
}

pub(crate) struct World {
    pub(crate) flash: Flash,
    pub(crate) rollback: Rollback,
    /// What may ever run, in the order of age.
    pub(crate) images: Vec<Vec<u8>>,
    /// The last report, and every status.
    pub(crate) report: Option<Report>,
    pub(crate) statuses: Vec<(Outcome, String)>,
    pub(crate) boots: u32,
    pub(crate) cuts_seen: u32,
    /// A second cut, so many operations after the power came back.
    pub(crate) then: Option<(u64, Moment)>,
    /// What the server offered last, and signs again when asked.
    pub(crate) offered: Option<usize>,
}

/// How a device came to rest.
pub(crate) struct Rest {
    pub(crate) running: Running,
    pub(crate) image: usize,
    pub(crate) state: State,
}

impl World {
    pub(crate) fn new(rollback: Rollback, images: Vec<Vec<u8>>) -> Self {
        let mut flash = Flash::in_memory();
        let summary = image::verify(&images[0]).expect("a good image");
        provision(&mut flash, &images[0], &summary, None).expect("fits");
        Self {
            flash,
            rollback,
            images,
            report: None,
            statuses: Vec::new(),
            boots: 0,
            cuts_seen: 0,
            then: None,
            offered: None,
        }
    }

    /// A device fresh from a factory that put the image into the factory slot.
    pub(crate) fn with_factory_app(rollback: Rollback, images: Vec<Vec<u8>>) -> Self {
        let mut flash = Flash::in_memory();
        write_layout(&mut flash, Layout::TwoSlotsAndFactory).expect("a layout");
        program(&mut flash, FACTORY.offset, &images[0]).expect("fits");
        Self { flash, ..Self::new(rollback, images) }
    }

    pub(crate) fn fork(&self, cut: Cut) -> Self {
        let mut flash = self.flash.copy().expect("in memory");
        flash.cut_at(Some(cut));
        let statuses = Vec::new();
        Self {
            flash,
            images: self.images.clone(),
            report: None,
            statuses,
            boots: 0,
            cuts_seen: 0,
            then: None,
            offered: None,
            ..*self
        }
    }

    /// Runs until nothing happens any more; `offer` is triggered in the first boot that gets that far.
    pub(crate) fn run(&mut self, mut offer: Option<usize>, what: &str) -> Rest {
        let mut reset = ResetReason::PowerOn;
        for _ in 0..BOOTS_MAX {
            self.boots += 1;
            if !self.flash.is_powered() {
                self.cuts_seen += 1;
                self.flash.power_on();
                if let Some((operations, moment)) = self.then.take() {
                    let operation = self.flash.operations() + operations;
                    self.flash.cut_at(Some(Cut { operation, moment }));
                }
                reset = ResetReason::PowerOn;
            }
            let running = match boot(&mut self.flash, CHIP, self.rollback) {
                Ok(running) => running,
                Err(NoBoot::Flash(_)) if !self.flash.is_powered() => continue,
                Err(error) => panic!("{what}: bricked: {error}"),
            };
            let image = self.image_in(running, what);
            let behaviour = self.behaviour(image);
            if behaviour == Behaviour::CrashesAtBoot {
                reset = ResetReason::Panic;
                continue;
            }
            let settings = Settings { reset, ..Settings::new(CHIP) };
            let mut agent = Agent::new(settings);
            match agent.boot(&mut self.flash, running, 0) {
                Ok(()) => {}
                Err(_) if !self.flash.is_powered() => continue,
                Err(error) => panic!("{what}: {error}"),
            }
            if self.session(&mut agent, behaviour == Behaviour::Healthy, &mut offer) {
                reset = ResetReason::Software;
                continue;
            }
            if self.flash.is_powered() {
                let entries = Entries::read(&mut self.flash, OTADATA).expect("power");
                let state = match running {
                    Running::Slot(slot) => entries.state_of(slot, 2),
                    Running::Factory => None,
                };
                return Rest { running, image, state: state.unwrap_or(State::Undefined) };
            }
        }
        panic!("{what}: still not at rest after {BOOTS_MAX} boots");
    }

    /// One boot's life; `true` if it ends with a restart.
    pub(crate) fn session(&mut self, agent: &mut Agent, online: bool, offer: &mut Option<usize>) -> bool {
        let (mut now_ms, mut asked) = (0, false);
        if online {
            agent.handle(&mut self.flash, Event::Connected, now_ms);
        }
        loop {
            if !self.flash.is_powered() {
                return false;
            }
            match agent.poll() {
                Some(Action::Restart) => return true,
                Some(Action::Publish(id, message)) => {
                    match message {
                        Message::Status(status) => {
                            self.statuses.push((status.outcome, status.reason.as_str().to_owned()));
                        }
                        Message::Report => self.report = agent.report(),
                        Message::Request(_) => asked = true,
                        Message::Progress(_) => {}
                    }
                    agent.handle(&mut self.flash, Event::Acknowledged(id), now_ms);
                }
                Some(Action::Cancel | Action::Reconnect) => {}
                Some(Action::Fetch { id, range, url, .. }) => {
                    let wanted: usize = url.rsplit_once('/').expect("a path").1.parse().expect("a number");
                    self.serve(agent, id, range, wanted, now_ms);
                }
                None => {
                    let wanted = match agent.phase() {
                        Phase::Idle => offer.take(),
                        Phase::AwaitingUrl { .. } if std::mem::take(&mut asked) => self.offered,
                        _ => None,
                    };
                    if let Some(offered) = wanted {
                        self.offered = Some(offered);
                        let url = format!("http://server/{offered}");
                        agent.handle(&mut self.flash, Event::Trigger(url.as_bytes()), now_ms);
                    } else if let Some(deadline_ms) = agent.deadline_ms() {
                        now_ms = now_ms.max(deadline_ms);
                        agent.handle(&mut self.flash, Event::Tick, now_ms);
                    } else {
                        return false;
                    }
                }
            }
        }
    }

    /// Answers a fetch as a server does that knows ranges and tags.
    fn serve(&mut self, agent: &mut Agent, id: FetchId, range: Range, wanted: usize, now_ms: u64) {
        let bytes = self.images[wanted].clone();
        let start = match range {
            Range::From(start) => start as usize,
            Range::Last(length) => bytes.len().saturating_sub(length as usize),
        };
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
        for piece in bytes[start..].chunks(1500) {
            agent.handle(&mut self.flash, Event::Body(id, piece), now_ms);
        }
        agent.handle(&mut self.flash, Event::BodyEnd(id), now_ms);
    }

    /// What an image does once it runs.
    pub(crate) fn behaviour(&self, image: usize) -> Behaviour {
        let demo = image::verify(&self.images[image]).expect("good").demo;
        demo.expect("made for the purpose").behaviour()
    }

    /// What the last report says of the last attempt.
    pub(crate) fn told(&self) -> Option<Outcome> {
        self.report.as_ref()?.last.as_ref().map(|last| last.result)
    }

    /// Whether the device has told anything of an attempt since the fork.
    pub(crate) fn tried(&self) -> bool {
        !self.statuses.is_empty()
    }

    /// Which image a slot holds, whole: anything else must never run.
    pub(crate) fn image_in(&mut self, running: Running, what: &str) -> usize {
        let partition = match running {
            Running::Slot(slot) => SLOTS[usize::from(slot)],
            Running::Factory => FACTORY,
        };
        let mut holds = |image: &Vec<u8>| {
            let mut bytes = vec![0; image.len()];
            self.flash.read(partition.offset, &mut bytes).expect("power");
            bytes == *image
        };
        let found = self.images.iter().position(&mut holds);
        found.unwrap_or_else(|| panic!("{what}: an image runs that was never published"))
    }
}
