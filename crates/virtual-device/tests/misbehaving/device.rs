//! A device with the real agent and the real sockets; the broker and the restarts are the test's.

use std::time::Duration;

use agent::{Action, Agent, Event, Message, Phase, Settings};
use contract::{Code, Outcome, Status};
use image::build::Build;
use image::{Behaviour, Chip};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use updraft_virtual_device::bootloader::{Rollback, boot};
use updraft_virtual_device::flash::{Flash, SECTOR_BYTES};
use updraft_virtual_device::layout::{provision, slot_bytes};
use updraft_virtual_device::net::http::{FetchEvent, fetch};

use crate::server::{File, Manner, Request, Server, Step};
use crate::tls::terminate;

const CHIP: Chip = Chip::Esp32S3;
const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const RETRIES: u8 = 3;

pub(crate) fn firmware(version: &str) -> Vec<u8> {
    let mut build = Build::new(CHIP, version);
    build.size_bytes = 96 * 1024;
    build.behaviour = Some(Behaviour::Healthy);
    build.bytes()
}

pub(crate) fn file() -> File {
    File { bytes: firmware("2.0.0").into(), etag: "\"one\"" }
}

/// One update, from the trigger to the outcome.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What is triggered, from the server's own good URL.
    pub(crate) url: fn(&str) -> String,
    /// What is triggered when the device asks for a fresh URL.
    pub(crate) fresh: Option<fn(&str) -> String>,
    pub(crate) settings: fn(&mut Settings),
    /// Puts TLS before the server.
    pub(crate) tls: bool,
    manner: Manner,
}

impl Case {
    pub(crate) fn new(
        name: &'static str,
        manner: impl Fn(&File, &Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let manner = Box::new(manner);
        Self { name, url: str::to_owned, fresh: None, settings: |_| {}, tls: false, manner }
    }

    /// The device ends on `expected`, byte for byte; returns what the server was asked.
    pub(crate) async fn ends_on(self, expected: &[u8]) -> Vec<Request> {
        let name = self.name;
        let (mut device, requests) = self.run().await;
        assert_eq!(device.status().to_string(), "SUCCESS", "{name}");
        let kept = slot_bytes(&mut device.flash, 1, expected.len()).expect("in bounds");
        assert!(kept == expected, "{name}: the slot holds something else");
        device.reboots_into(1, "2.0.0", name);
        requests
    }

    pub(crate) async fn ends_well(self) -> Vec<Request> {
        self.ends_on(&firmware("2.0.0")).await
    }

    /// The device gives up with these words and this code, and is as it was.
    pub(crate) async fn fails(self, words: &str, code: Code) -> Vec<Request> {
        let name = self.name;
        let (mut device, requests) = self.run().await;
        let status = device.status();
        let text = status.reason.to_string();
        assert_eq!(status.outcome, Outcome::Failed, "{name}: {text}");
        assert!(text.starts_with(words), "{name}: {text:?} instead of {words:?}");
        assert!(text.ends_with(&format!("[{code}]")), "{name}: {text:?} without {code}");
        assert!(!text.contains("secret") && !text.contains("://"), "{name}: {text:?}");
        device.holds_only(&firmware("2.0.0"), name);
        let old = firmware("1.0.0");
        assert!(slot_bytes(&mut device.flash, 0, old.len()).expect("in bounds") == old, "{name}");
        device.reboots_into(0, "1.0.0", name);
        requests
    }

    async fn run(self) -> (Device, Vec<Request>) {
        let server = Server::start(file(), self.manner).await;
        let mut url = (self.url)(&server.url());
        if self.tls {
            let outside = terminate(server.address.clone()).await;
            url = url.replace("http://", "https://").replace(&server.address, &outside);
        }
        let mut settings = Settings::new(CHIP);
        (settings.back_off_ms, settings.retries) = (4, RETRIES);
        (settings.url_wait_ms, settings.url_requests) = (50, 2);
        settings.stall_ms = 5_000;
        (self.settings)(&mut settings);
        let mut device = Device::new(settings);
        device.fresh = self.fresh.map(|fresh| fresh(&server.url()));
        timeout(TIMEOUT, device.update(&url)).await.unwrap_or_else(|_| panic!("{}: no outcome", self.name));
        let requests = server.requests.lock().expect("no panic before").clone();
        (device, requests)
    }
}

struct Device {
    flash: Flash,
    agent: Box<Agent>,
    settings: Settings,
    started: Instant,
    status: Option<Status>,
    fresh: Option<String>,
}

impl Device {
    fn new(settings: Settings) -> Self {
        let mut flash = Flash::in_memory();
        let first = firmware("1.0.0");
        let summary = image::verify(&first).expect("good");
        provision(&mut flash, &first, &summary, None).expect("fits");
        let agent = start(&mut flash, &settings, 0);
        let started = Instant::now();
        Self { flash, agent, settings, started, status: None, fresh: None }
    }

    fn status(&self) -> Status {
        self.status.clone().expect("an outcome")
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("a short test")
    }

    fn handle(&mut self, event: Event<'_>) {
        let now_ms = self.now_ms();
        self.agent.handle(&mut self.flash, event, now_ms);
    }

    async fn update(&mut self, url: &str) {
        let mut current: Option<(agent::FetchId, mpsc::Receiver<FetchEvent>, AbortOnDropHandle<()>)> = None;
        self.handle(Event::Connected);
        self.handle(Event::Trigger(url.as_bytes()));
        loop {
            let mut published = Vec::new();
            let mut restart = false;
            while let Some(action) = self.agent.poll() {
                match action {
                    Action::Fetch { id, url, range, if_range } => {
                        let (task, heard) = fetch(url, range, if_range, None);
                        current = Some((id, heard, task));
                    }
                    Action::Cancel => current = None,
                    Action::Publish(id, message) => published.push((id, message)),
                    Action::Restart => {
                        restart = true;
                        break;
                    }
                    Action::Reconnect => panic!("nobody moved the broker"),
                }
            }
            let said = !published.is_empty();
            for (id, message) in published {
                self.on_published(message);
                self.handle(Event::Acknowledged(id));
            }
            if self.status.is_some() {
                return;
            }
            if restart {
                let now_ms = self.now_ms();
                self.agent = start(&mut self.flash, &self.settings, now_ms);
                self.handle(Event::Connected);
            }
            if said || restart {
                // What the broker had to say may lead to more.
                continue;
            }
            let deadline = self.agent.deadline_ms().map(|at_ms| self.started + Duration::from_millis(at_ms));
            tokio::select! {
                biased;
                (id, heard) = next(&mut current) => match heard {
                    FetchEvent::Received(bytes) => self.handle(Event::Received(id, &bytes)),
                    FetchEvent::Closed => {
                        current = None;
                        self.handle(Event::Closed(id));
                    }
                    FetchEvent::Lost(why) => {
                        current = None;
                        self.handle(Event::Lost(id, &why));
                    }
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.handle(Event::Tick);
                }
            }
        }
    }

    fn on_published(&mut self, message: Message) {
        match message {
            Message::Status(status) => self.status = Some(status),
            Message::Request(_) => {
                if let Some(fresh) = self.fresh.clone() {
                    self.handle(Event::Trigger(fresh.as_bytes()));
                }
            }
            Message::Report | Message::Progress(_) => {}
        }
    }

    /// Nothing but the image, as far as it came, lies in the inactive slot.
    fn holds_only(&mut self, image: &[u8], name: &str) {
        let kept = slot_bytes(&mut self.flash, 1, image.len()).expect("in bounds");
        for (nth, (kept, sent)) in kept.chunks(SECTOR_BYTES).zip(image.chunks(SECTOR_BYTES)).enumerate() {
            let is_blank = kept.iter().all(|byte| *byte == 0xFF);
            assert!(is_blank || kept == sent, "{name}: sector {nth} holds something else");
        }
    }

    fn reboots_into(&mut self, slot: u8, version: &str, name: &str) {
        let running = boot(&mut self.flash, CHIP, Rollback::On).expect("boots");
        assert_eq!(running, agent::otadata::Running::Slot(slot), "{name}");
        let agent = start(&mut self.flash, &self.settings, 0);
        assert_eq!(agent.version().map(contract::Version::as_str), Some(version), "{name}");
        assert_eq!(agent.phase(), Phase::Idle, "{name}");
    }
}

fn start(flash: &mut Flash, settings: &Settings, now_ms: u64) -> Box<Agent> {
    let running = boot(flash, CHIP, Rollback::On).expect("boots");
    let mut agent = Box::new(Agent::new(settings.clone()));
    agent.boot(flash, running, now_ms).expect("a good flash");
    agent
}

async fn next(
    current: &mut Option<(agent::FetchId, mpsc::Receiver<FetchEvent>, AbortOnDropHandle<()>)>,
) -> (agent::FetchId, FetchEvent) {
    match current {
        Some((id, heard, _)) => (*id, heard.recv().await.expect("a last word")),
        None => std::future::pending().await,
    }
}
