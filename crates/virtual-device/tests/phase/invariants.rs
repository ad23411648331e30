//! Anything in any order: what holds whatever the network, the application and the power do.

use std::collections::BTreeSet;

use agent::otadata::{Entries, Running};
use agent::{
    Action, Agent, Check, ContentRange, Event, FetchId, Message, MessageId, Phase, Range, ResetReason,
    ResponseHead, Settings,
};
use embedded_storage::nor_flash::ReadNorFlash;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use updraft_virtual_device::bootloader::{Rollback, boot};
use updraft_virtual_device::layout::{Layout, OTADATA};

use crate::bench::{Bench, CHIP, booted, image, settings};
use crate::deeds::{Deed, check, deed};
use crate::watched::{Area, Watched};

/// As many messages as ever wait.
const OUTBOX: usize = 8;
/// No wait is longer: a self-test or a fresh URL, a pause with its jitter, a stall, a move.
const WAIT_MAX_MS: u64 = 121_000;

/// An agent, and what is known of it from outside.
struct Model {
    settings: Settings,
    flash: Watched,
    agent: Agent,
    now_ms: u64,
    images: Vec<Vec<u8>>,
    /// The fetches that were asked for, and the range of the last one.
    fetches: Vec<FetchId>,
    range: Range,
    /// Everything that was published and may be acknowledged, with whether it is an outcome.
    sent: Vec<(MessageId, bool)>,
    /// Outcomes that the broker has.
    outcomes: u32,
    /// What may have an outcome: offers, and crashes.
    causes: u32,
    connected: bool,
    otadata_seen: usize,
    /// Which phases there were, by name.
    phases: BTreeSet<String>,
}

impl Model {
    fn new(check: Check) -> Self {
        let settings = Settings { check, ..settings() };
        let images = ["1.0.0", "2.0.0", "3.0.0"].map(image);
        let mut broken = image("2.0.0");
        broken[9000] ^= 4;
        let mut flash = Watched::new(Bench::new().flash, Layout::TwoSlots);
        let agent = booted(&mut flash.flash, settings.clone(), Running::Slot(0));
        Self {
            settings,
            flash,
            agent,
            now_ms: 0,
            images: images.into_iter().chain([broken]).collect(),
            fetches: Vec::new(),
            range: Range::From(0),
            sent: Vec::new(),
            outcomes: 0,
            causes: 0,
            connected: false,
            otadata_seen: 0,
            phases: BTreeSet::new(),
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        self.agent.handle(&mut self.flash, event, self.now_ms);
        self.drain();
        self.look();
    }

    /// Does what the agent asks for.
    fn drain(&mut self) {
        let mut published = 0;
        loop {
            match self.agent.poll() {
                None => break,
                Some(Action::Fetch { id, range, .. }) => {
                    assert!(!self.fetches.contains(&id), "each fetch has its own id");
                    self.fetches.push(id);
                    self.range = range;
                }
                Some(Action::Publish(id, message)) => {
                    assert!(self.connected, "nothing is sent while there is no broker");
                    published += 1;
                    self.sent.push((id, matches!(message, Message::Status(_))));
                }
                Some(Action::Cancel | Action::Reconnect) => {}
                Some(Action::Restart) => return self.boot(ResetReason::Software),
            }
        }
        assert!(published <= OUTBOX, "{published} messages at once");
    }

    fn boot(&mut self, reset: ResetReason) {
        if reset == ResetReason::PowerOn {
            self.flash.flash.power_on();
        }
        self.causes += u32::from(!matches!(reset, ResetReason::Software));
        let running = boot(&mut self.flash.flash, CHIP, Rollback::On).expect("something boots");
        self.flash.running = running;
        assert!(self.is_sound(running), "an image runs that was not verified whole");
        self.agent = Agent::new(Settings { reset, ..self.settings.clone() });
        (self.now_ms, self.connected) = (0, false);
        self.sent.clear();
        self.fetches.clear();
        self.agent.boot(&mut self.flash, running, 0).expect("a good flash");
        // A boot that asks for the next one does so a bounded number of times, which the power cuts count.
        if self.agent.phase() == Phase::Restarting {
            self.boot(ResetReason::Software);
        }
    }

    fn is_sound(&mut self, running: Running) -> bool {
        let partition = self.flash.partition(running);
        let mut bytes = vec![0; 24 * 1024];
        self.flash.read(partition.offset, &mut bytes).expect("power");
        self.images[..3].iter().any(|image| bytes.starts_with(image))
    }

    /// What holds after every event.
    fn look(&mut self) {
        if self.flash.log.len() != self.otadata_seen {
            let changed =
                self.flash.log[self.otadata_seen..].iter().any(|logged| logged.area == Area::Otadata);
            self.otadata_seen = self.flash.log.len();
            let entries = Entries::read(&mut self.flash, OTADATA).expect("power");
            if let (true, Some(selected)) = (changed, entries.selected(2)) {
                assert!(self.is_sound(Running::Slot(selected.slot)), "{selected:?} was not verified whole");
            }
        }
        let (phase, ends_ms) = (self.agent.phase(), self.agent.phase_ends_ms());
        let name = format!("{phase:?}");
        self.phases.insert(name.split(' ').next().unwrap_or_default().to_owned());
        match phase {
            Phase::Idle | Phase::Restarting => {}
            Phase::SelfTest { .. } if ends_ms.is_none() => {}
            Phase::AwaitingUrl { .. } if ends_ms.is_none() => {
                assert!(!self.connected, "nobody is asked for a URL");
            }
            _ => {
                let ends_ms = ends_ms.unwrap_or_else(|| panic!("{phase:?} has no end"));
                assert!(self.agent.deadline_ms().is_some_and(|at_ms| at_ms <= ends_ms), "{phase:?}");
                assert!(ends_ms <= self.now_ms + WAIT_MAX_MS, "{phase:?} at {}: {ends_ms}", self.now_ms);
            }
        }
        if let Phase::Downloading { fetch, .. } = phase {
            assert_eq!(self.fetches.last(), Some(&fetch), "the last fetch is the one that counts");
        }
        if self.agent.may_sleep() {
            let entries = Entries::read(&mut self.flash, OTADATA).expect("power");
            let state = entries.selected(2).map(|selected| selected.state);
            assert!(
                phase == Phase::Idle && !state.is_some_and(agent::otadata::State::is_unconfirmed),
                "{phase:?}"
            );
        }
        assert!(self.outcomes <= self.causes, "{} outcomes of {} causes", self.outcomes, self.causes);
    }

    /// The fetch that goes on, an image's bytes, and where in them what is asked for begins.
    fn asked(&self, image: usize) -> Option<(FetchId, Vec<u8>, usize)> {
        let Phase::Downloading { fetch, .. } = self.agent.phase() else { return None };
        let bytes = self.images[image].clone();
        let start = match self.range {
            Range::From(offset) => (offset as usize).min(bytes.len()),
            Range::Last(count) => bytes.len().saturating_sub(count as usize),
        };
        Some((fetch, bytes, start))
    }

    /// Serves what is asked for, up to so many bytes of it.
    fn serve(&mut self, image: usize, up_to: usize) {
        let Some((fetch, bytes, start)) = self.asked(image) else { return };
        let (total, tag) = (bytes.len() as u64, format!("\"{image}\""));
        let head = ResponseHead {
            status: 206,
            content_length: Some(total - start as u64),
            content_range: Some(ContentRange { start: start as u64, total: Some(total) }),
            etag: Some(&tag),
            version: None,
            location: None,
            encoded: false,
        };
        self.tell(Event::Head(fetch, head));
        let end = start.saturating_add(up_to).min(bytes.len());
        for piece in bytes[start..end].chunks(1460) {
            self.tell(Event::Body(fetch, piece));
        }
        if end == bytes.len() {
            self.tell(Event::BodyEnd(fetch));
        }
    }

    fn raw_response(&mut self, image: usize, piece: usize) {
        let Some((fetch, bytes, start)) = self.asked(image) else { return };
        let (length, total) = (bytes.len() - start, bytes.len());
        let mut response = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\nETag: \"{image}\"\r\n\
             Content-Range: bytes {start}-{}/{total}\r\n\r\n",
            total.saturating_sub(1)
        )
        .into_bytes();
        response.extend_from_slice(&bytes[start..]);
        for piece in response.chunks(piece) {
            self.tell(Event::Received(fetch, piece));
        }
    }

    fn acknowledge(&mut self, nth: usize) {
        let Some(at) = self.sent.len().checked_sub(1 + nth) else { return };
        // One that was sent again counts once.
        let newest = self.sent.iter().rposition(|(_, is_outcome)| *is_outcome);
        let (id, _) = self.sent.remove(at);
        self.outcomes += u32::from(newest == Some(at));
        if newest == Some(at) {
            self.sent.retain(|(_, is_outcome)| !is_outcome);
        }
        self.tell(Event::Acknowledged(id));
    }

    /// Something of a fetch that was replaced changes nothing.
    fn stale(&mut self) {
        let Some(old) = self.fetches.len().checked_sub(2).map(|at| self.fetches[at]) else { return };
        let see =
            |model: &Self| (model.agent.phase(), model.agent.deadline_ms(), model.flash.flash.operations());
        let before = see(self);
        for event in [
            Event::Body(old, &[1; 100]),
            Event::BodyEnd(old),
            Event::Lost(old, "reset by peer"),
            Event::Received(old, b"HTTP/1.1 403 No\r\n\r\n"),
            Event::Closed(old),
        ] {
            self.tell(event);
            assert_eq!(see(self), before, "{event:?} of an old fetch");
        }
    }

    fn wait(&mut self, beyond_ms: u32) {
        if let Some(deadline_ms) = self.agent.deadline_ms() {
            self.now_ms = self.now_ms.max(deadline_ms) + u64::from(beyond_ms);
            self.tell(Event::Tick);
        }
    }

    fn update(&mut self, image: usize) {
        self.take(Deed::Trigger(b"https://server/p/releases/v2.0.0/firmware.bin".to_vec()));
        for _ in 0..2 {
            self.serve(image, usize::MAX);
        }
        for _ in 0..2 {
            if matches!(self.agent.phase(), Phase::Verifying | Phase::Selected { .. }) {
                self.wait(0);
            }
        }
    }

    fn take(&mut self, deed: Deed) {
        let fetch = self.fetches.last().copied();
        match (deed, fetch) {
            (Deed::Trigger(payload), _) => {
                self.causes += 1;
                self.tell(Event::Trigger(&payload));
            }
            (Deed::Connected, _) => {
                self.connected = true;
                self.tell(Event::Connected);
            }
            (Deed::Disconnected, _) => {
                self.connected = false;
                self.tell(Event::Disconnected);
            }
            (Deed::Acknowledged(nth), _) => self.acknowledge(nth),
            (Deed::SelfTest(true), _) => self.tell(Event::SelfTest(Ok(()))),
            (Deed::SelfTest(false), _) => self.tell(Event::SelfTest(Err("no sensor"))),
            (Deed::ClearQuarantine, _) => self.tell(Event::ClearQuarantine),
            (Deed::Update(image), _) => self.update(image),
            (Deed::Serve(image), _) => self.serve(image, usize::MAX),
            (Deed::ServePart(image, bytes), _) => self.serve(image, bytes.into()),
            (Deed::RawResponse(image, piece), _) => self.raw_response(image, piece.into()),
            (Deed::Stale, _) => self.stale(),
            (Deed::Wait(beyond_ms), _) => self.wait(beyond_ms),
            (Deed::Tick(ms), _) => {
                self.now_ms += u64::from(ms);
                self.tell(Event::Tick);
            }
            (Deed::Boot(reset), _) => self.boot(reset),
            (Deed::Head(head), Some(id)) => {
                let response = ResponseHead {
                    status: head.status,
                    content_length: head.length,
                    content_range: head.range.map(|(start, total)| ContentRange { start, total }),
                    etag: head.etag.as_deref(),
                    version: None,
                    location: head.location.as_deref(),
                    encoded: head.encoded,
                };
                self.tell(Event::Head(id, response));
            }
            (Deed::Body(bytes), Some(id)) => self.tell(Event::Body(id, &bytes)),
            (Deed::BodyEnd, Some(id)) => self.tell(Event::BodyEnd(id)),
            (Deed::Raw(bytes), Some(id)) => self.tell(Event::Received(id, &bytes)),
            (Deed::Closed, Some(id)) => self.tell(Event::Closed(id)),
            (Deed::Lost, Some(id)) => self.tell(Event::Lost(id, "reset by peer")),
            (_, None) => {}
        }
    }
}

proptest! {
    #[test]
    fn invariant_nothing_that_happens_breaks_a_promise(deeds in proptest::collection::vec(deed(), 1..60), check in check()) {
        let mut model = Model::new(check);
        for deed in deeds {
            model.take(deed);
        }
    }

    #[test]
    fn invariant_every_phase_ends_by_itself(
        deeds in proptest::collection::vec(deed(), 1..40),
        check in check(),
        online: bool,
    ) {
        let mut model = Model::new(check);
        for deed in deeds {
            model.take(deed);
        }
        // From here on there is silence, and time.
        model.take(if online { Deed::Connected } else { Deed::Disconnected });
        for _ in 0..100 {
            model.wait(0);
        }
        let phase = model.agent.phase();
        prop_assert!(model.agent.deadline_ms().is_none(), "{phase:?} goes on");
        let rests = match phase {
            // There is nothing else that boots, or nobody to ask.
            Phase::Idle | Phase::SelfTest { .. } => true,
            Phase::AwaitingUrl { .. } => !online,
            _ => false,
        };
        prop_assert!(rests, "{phase:?}");
    }
}

#[test]
fn what_happens_at_random_leads_through_every_phase() {
    let mut runner = TestRunner::deterministic();
    let (mut phases, mut confirmed) = (BTreeSet::new(), 0);
    for _ in 0..150 {
        let mut model = Model::new(Check::Broker);
        let deeds = proptest::collection::vec(deed(), 60).new_tree(&mut runner).expect("deeds");
        for deed in deeds.current() {
            model.take(deed);
        }
        phases.append(&mut model.phases);
        confirmed += u32::from(model.agent.record().confirmed.len() > 1);
    }
    let all = ["AwaitingUrl", "Downloading", "Idle", "Pausing", "Selected", "SelfTest", "Verifying"];
    let missing: Vec<_> = all.iter().filter(|phase| !phases.contains(**phase)).collect();
    println!("{confirmed} of 150 came to run another image, through {phases:?}");
    assert!(missing.is_empty(), "never {missing:?}");
    assert!(confirmed >= 20, "only {confirmed} came to run another image");
}
