//! A device without a network: the test is the server, and the clock.

use agent::otadata::Running;
use agent::{
    Action, Agent, ContentRange, Event, FetchId, Message, Phase, Range, ResetReason, ResponseHead, Settings,
};
use contract::{Code, Outcome};
use image::build::Build;
use image::{AppDescriptor, Chip, Prefix};
use updraft_virtual_device::bootloader::{Rollback, boot};
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::provision;

pub(crate) const CHIP: Chip = Chip::Esp32C6;
pub(crate) const URL: &[u8] = b"https://server/p/releases/v2.0.0/firmware.bin?signature=1";

pub(crate) fn image(version: &str) -> Vec<u8> {
    let mut build = Build::new(CHIP, version);
    build.size_bytes = 20 * 1024;
    build.bytes()
}

/// Another build of the same version.
pub(crate) fn rebuilt(version: &str) -> Vec<u8> {
    Build { seed: 2, size_bytes: 20 * 1024, ..Build::new(CHIP, version) }.bytes()
}

pub(crate) fn settings() -> Settings {
    Settings::new(CHIP)
}

pub(crate) struct Bench {
    pub(crate) flash: Flash,
    pub(crate) settings: Settings,
    pub(crate) agent: Agent,
    pub(crate) now_ms: u64,
    pub(crate) messages: Vec<Message>,
    pub(crate) fetch: Option<(FetchId, u32, Option<String>)>,
    pub(crate) restart: bool,
    pub(crate) reconnects: u32,
    /// How often anything was asked for.
    pub(crate) fetches: u32,
    /// So many bytes of the file's end are asked for, not the rest from an offset.
    pub(crate) last: Option<u32>,
    /// What the server says of the version in its answers.
    pub(crate) announced: Option<&'static str>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut flash = Flash::in_memory();
        let first = image("1.0.0");
        let summary = image::verify(&first).expect("good");
        provision(&mut flash, &first, &summary, Some(&"1.0.0".parse().expect("a version"))).expect("fits");
        Self::boot(flash, settings())
    }

    pub(crate) fn boot(mut flash: Flash, settings: Settings) -> Self {
        let running = boot(&mut flash, settings.hardware.chip, Rollback::On).expect("boots");
        let agent = booted(&mut flash, settings.clone(), running);
        Self {
            flash,
            settings,
            agent,
            now_ms: 0,
            messages: Vec::new(),
            fetch: None,
            restart: false,
            reconnects: 0,
            fetches: 0,
            last: None,
            announced: None,
        }
    }

    pub(crate) fn tell(&mut self, event: Event<'_>) {
        self.agent.handle(&mut self.flash, event, self.now_ms);
        while let Some(action) = self.agent.poll() {
            match action {
                Action::Fetch { id, range, if_range, .. } => {
                    let (offset, last) = match range {
                        Range::From(offset) => (offset, None),
                        // All of it is as good an answer as its end.
                        Range::Last(count) => (0, Some(count)),
                    };
                    self.last = last;
                    self.fetches += 1;
                    self.fetch = Some((id, offset, if_range.map(str::to_owned)));
                }
                Action::Cancel => self.fetch = None,
                Action::Reconnect => self.reconnects += 1,
                Action::Publish(_, message) => self.messages.push(message),
                Action::Restart => {
                    self.restart = true;
                    break;
                }
            }
        }
    }

    /// Lets time pass to the next deadline.
    pub(crate) fn wait(&mut self) {
        self.now_ms = self.now_ms.max(self.agent.deadline_ms().expect("a deadline"));
        self.tell(Event::Tick);
    }

    pub(crate) fn fetching(&self) -> (FetchId, u32) {
        let (id, offset, _) = self.fetch.as_ref().expect("a fetch");
        (*id, *offset)
    }

    pub(crate) fn answer(&mut self, status: u16, etag: &str, range: Option<(u64, u64)>, bytes: &[u8]) {
        let (id, _) = self.fetching();
        let head = ResponseHead {
            status,
            content_length: Some(bytes.len() as u64),
            content_range: range.map(|(start, total)| ContentRange { start, total: Some(total) }),
            etag: Some(etag),
            version: self.announced,
            location: None,
            encoded: false,
        };
        self.tell(Event::Head(id, head));
    }

    pub(crate) fn body(&mut self, bytes: &[u8]) {
        let (id, _) = self.fetching();
        self.tell(Event::Body(id, bytes));
    }

    /// Starts a download, and loses the connection after so many bytes.
    pub(crate) fn lose_at(&mut self, bytes: &[u8], at: usize) {
        self.tell(Event::Connected);
        self.tell(Event::Trigger(URL));
        self.answer(200, "\"a\"", None, bytes);
        self.body(&bytes[..at]);
        let (id, _) = self.fetching();
        self.tell(Event::Lost(id, "reset by peer"));
        self.wait();
    }

    pub(crate) fn finish(&mut self) {
        let (id, _) = self.fetching();
        self.tell(Event::BodyEnd(id));
        while !self.restart && self.agent.deadline_ms().is_some() {
            self.wait();
        }
    }

    /// Answers whatever is asked for as a server does that knows ranges, until nothing is.
    pub(crate) fn serve(&mut self, bytes: &[u8]) {
        while let Some((id, offset, _)) = self.fetch.clone() {
            let start = self.last.map_or(offset as usize, |count| bytes.len().saturating_sub(count as usize));
            self.answer(206, "\"a\"", Some((start as u64, bytes.len() as u64)), &bytes[start..]);
            let asked = |bench: &Self| bench.fetch.as_ref().is_some_and(|(now, ..)| *now == id);
            if asked(self) {
                self.body(&bytes[start..]);
            }
            if asked(self) {
                self.tell(Event::BodyEnd(id));
            }
            if asked(self) {
                self.fetch = None;
            }
            while self.agent.phase() == Phase::Resuming {
                self.wait();
            }
        }
    }

    /// Offers a file as the version that it says it is, and serves it, until the restart or until nothing more happens.
    pub(crate) fn update_to(&mut self, bytes: &[u8]) {
        let descriptor = Prefix::parse(bytes).ok().and_then(|prefix| prefix.descriptor);
        let version = descriptor.as_ref().and_then(AppDescriptor::own_version).unwrap_or("2.0.0");
        self.update_as(version, bytes);
    }

    /// The same under a version's name, whatever the file is.
    pub(crate) fn update_as(&mut self, version: &str, bytes: &[u8]) {
        self.tell(Event::Connected);
        let url = format!("https://server/p/releases/v{version}/firmware.bin?signature=1");
        self.tell(Event::Trigger(url.as_bytes()));
        self.serve(bytes);
        while !self.restart && self.agent.phase() != Phase::Idle {
            self.wait();
        }
    }

    /// The next boot of the same device.
    pub(crate) fn reboot(mut self, reset: ResetReason) -> Self {
        if reset == ResetReason::PowerOn {
            self.flash.power_on();
        }
        let mut bench = Self::boot(self.flash, Settings { reset, ..self.settings });
        bench.restart = bench.agent.poll() == Some(Action::Restart);
        bench
    }

    /// How the last attempt that was published ended.
    pub(crate) fn outcome(&self) -> Option<(Outcome, Option<Code>)> {
        self.messages.iter().rev().find_map(|message| match message {
            Message::Status(status) => Some((status.outcome, status.reason.code())),
            _ => None,
        })
    }

    pub(crate) fn failure(&self) -> &str {
        let status = self.messages.iter().find_map(|message| match message {
            Message::Status(status) => Some(status),
            _ => None,
        });
        let status = status.expect("a status");
        assert_eq!(status.outcome, Outcome::Failed);
        status.reason.words()
    }
}

/// A device that has just booted an update for the first time.
pub(crate) fn on_trial(settings: Settings) -> Bench {
    trial_on(Bench::new(), settings)
}

/// The same on another bench.
pub(crate) fn trial_on(mut bench: Bench, settings: Settings) -> Bench {
    let new = image("2.0.0");
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    bench.answer(200, "\"a\"", None, &new);
    bench.body(&new);
    bench.finish();
    let bench = Bench::boot(bench.flash, settings);
    assert!(matches!(bench.agent.phase(), Phase::SelfTest { .. }));
    bench
}

/// An agent that has just booted.
pub(crate) fn booted(flash: &mut Flash, settings: Settings, running: Running) -> Agent {
    let mut agent = Agent::new(settings);
    agent.boot(flash, running, 0).expect("a good flash");
    agent
}
