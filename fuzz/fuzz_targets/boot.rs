//! No content of otadata, record, bookmark, retained memory and slots, and no order of events, makes the agent panic.
//!
//! The input is read as a script: what the flash holds, then events until it ends.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use updraft_agent::Message;
use updraft_agent::otadata::{Entry, Running, State};
use updraft_agent::{
    Action, Agent, Connection, ContentRange, Encryption, Event, FetchId, MessageId, Range, ResetReason,
    ResponseHead, Settings,
};
use updraft_fuzz::{Device, OTADATA_AT, SLOT_BYTES, SLOTS_AT, UPDRAFT_AT, put, tagged};
use updraft_image::Chip;
use updraft_image::build::Build;

const EVENTS_MAX: usize = 200;

fn image(version: &str) -> Vec<u8> {
    let mut build = Build::new(Chip::Esp32C3, version);
    build.size_bytes = 8 * 1024;
    build.bytes()
}

static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [image("1.0.0"), image("2.0.0")]);

/// Gives out the input piece by piece; zeros once it is used up.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        self.0.split_off(..length).unwrap_or_default()
    }

    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.piece()).unwrap_or("\"tag\"")
    }
}

fn device(script: &mut Script<'_>) -> Device {
    let kind = script.byte();
    let mut device = Device::new(kind & 1 == 0);
    if kind & 2 != 0 {
        device.store = Some(tagged(script.piece()));
    }
    if kind & 4 != 0 {
        let mut memory = [0; updraft_agent::RETAINED_BYTES];
        put(&mut memory, 0, script.piece());
        device.retained = Some(memory);
    }
    device.encryption = match kind >> 3 & 3 {
        0 | 1 => Encryption::Off,
        2 => Encryption::Transparent,
        _ => Encryption::Unsupported,
    };
    for at in [OTADATA_AT, OTADATA_AT + 0x1000] {
        match script.byte() % 4 {
            0 => {}
            1 => put(&mut device.flash, at, script.piece()),
            state => {
                let state = [State::New, State::PendingVerify, State::Valid, State::Aborted]
                    [usize::from(state.wrapping_add(script.byte())) % 4];
                put(&mut device.flash, at, &Entry::new(script.word() % 64, state).to_bytes());
            }
        }
    }
    match script.byte() % 3 {
        0 => {}
        1 => put(&mut device.flash, UPDRAFT_AT, script.piece()),
        _ => put(&mut device.flash, UPDRAFT_AT, &tagged(script.piece())),
    }
    for (at, content) in SLOTS_AT.into_iter().zip([script.byte(), script.byte(), script.byte()]) {
        match content % 4 {
            0 => {}
            1 => put(&mut device.flash, at, script.piece()),
            which => {
                put(&mut device.flash, at, &IMAGES[usize::from(which & 1)]);
                put(&mut device.flash, at + usize::from(script.byte()), script.piece());
            }
        }
        // Where bookmarks lie.
        put(&mut device.flash, at + SLOT_BYTES - 4096, script.piece());
    }
    device
}

fn boot(script: &mut Script<'_>, device: &mut Device) -> Option<Box<Agent>> {
    let mut settings = Settings::new(Chip::Esp32C3);
    settings.reset = match script.byte() % 5 {
        0 => ResetReason::PowerOn,
        1 => ResetReason::Software,
        2 => ResetReason::Panic,
        3 => ResetReason::BrownOut,
        _ => ResetReason::DeepSleep,
    };
    let running = match script.byte() % 5 {
        slot @ 0..4 => Running::Slot(slot),
        _ => Running::Factory,
    };
    if script.byte() % 4 == 3 {
        device.operations_left = u32::from(script.byte());
    }
    let mut agent = Box::new(Agent::new(settings));
    agent.boot(device, running, 0).ok()?;
    Some(agent)
}

/// What the device has under way.
#[derive(Default)]
struct Under {
    fetch: Option<(FetchId, Range)>,
    message: Option<MessageId>,
    restart: bool,
}

fn poll(agent: &mut Agent, under: &mut Under) {
    for _ in 0..64 {
        match agent.poll() {
            None => return,
            Some(Action::Fetch { id, url, range, .. }) => {
                assert!(updraft_agent::http::Url::parse(url).is_ok());
                under.fetch = Some((id, range));
            }
            Some(Action::Cancel) => under.fetch = None,
            Some(Action::Publish(id, message)) => {
                if let Message::Status(status) = &message {
                    assert!(status.reason.as_str().len() <= 200);
                }
                under.message = Some(id);
            }
            Some(Action::Reconnect) => {}
            Some(Action::Restart) => {
                under.restart = true;
                return;
            }
        }
    }
    panic!("the agent has always something to do");
}

/// The head of a part that begins at `start`.
fn part_of(length: usize, start: usize) -> ResponseHead<'static> {
    ResponseHead {
        status: 206,
        content_length: Some((length - start) as u64),
        content_range: Some(ContentRange { start: start as u64, total: Some(length as u64) }),
        etag: Some("\"a\""),
        version: None,
        location: None,
        encoded: false,
    }
}

fn any_head<'a>(script: &mut Script<'a>) -> ResponseHead<'a> {
    let flags = script.byte();
    ResponseHead {
        status: [200, 206, 302, 403, 404, 412, 416, 500][usize::from(flags & 7)],
        content_length: (flags & 8 != 0).then(|| u64::from(script.word())),
        content_range: (flags & 16 != 0)
            .then(|| ContentRange { start: u64::from(script.word()), total: Some(u64::from(script.word())) }),
        etag: (flags & 32 != 0).then(|| script.text()),
        version: (flags & 64 != 0).then(|| script.text()),
        location: (flags & 128 != 0).then(|| script.text()),
        encoded: false,
    }
}

/// One event, if there is one to be had.
fn tell(script: &mut Script<'_>, agent: &mut Agent, device: &mut Device, under: &Under, now_ms: &mut u64) {
    let kind = script.byte();
    let image = &IMAGES[usize::from(kind >> 7)];
    let event = match (kind & 0x7F) % 16 {
        0 => Event::Connected,
        1 => Event::Disconnected,
        2 => Event::Trigger(b"http://h/p/releases/v2.0.0/firmware.bin"),
        3 => Event::Trigger(script.piece()),
        4 => Event::SelfTest(Ok(())),
        5 => Event::SelfTest(Err(script.text())),
        6 => Event::ClearQuarantine,
        7 => {
            let Ok(connection) = Connection::new(script.piece()) else { return };
            let _ = agent.move_to(device, connection);
            Event::Tick
        }
        8 => match under.message {
            Some(id) => Event::Acknowledged(id),
            None => return,
        },
        9 | 10 => {
            *now_ms = agent.deadline_ms().map_or(*now_ms + 1000, |deadline| deadline.max(*now_ms));
            Event::Tick
        }
        kind => {
            let Some((id, range)) = under.fetch else { return };
            let start = match range {
                Range::From(offset) => (offset as usize).min(image.len()),
                Range::Last(count) => image.len().saturating_sub(count as usize),
            };
            match kind {
                11 => Event::Received(id, script.piece()),
                12 => Event::Closed(id),
                13 => Event::Lost(id, script.text()),
                14 => {
                    // A server that does as it should, for the length of an answer.
                    let head = part_of(image.len(), start);
                    agent.handle(device, Event::Head(id, head), *now_ms);
                    let end = image.len() - usize::from(script.byte()).min(image.len() - start);
                    agent.handle(device, Event::Body(id, &image[start..end]), *now_ms);
                    Event::BodyEnd(id)
                }
                _ => Event::Head(id, any_head(script)),
            }
        }
    };
    agent.handle(device, event, *now_ms);
}

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script(bytes);
    let mut device = device(&mut script);
    let Some(mut agent) = boot(&mut script, &mut device) else { return };
    let (mut under, mut now_ms) = (Under::default(), 0);
    for _ in 0..EVENTS_MAX {
        if script.0.is_empty() {
            break;
        }
        tell(&mut script, &mut agent, &mut device, &under, &mut now_ms);
        poll(&mut agent, &mut under);
        let _ = (agent.report(), agent.deadline_ms(), agent.may_sleep());
        if under.restart {
            let Some(next) = boot(&mut script, &mut device) else { return };
            (agent, under, now_ms) = (next, Under::default(), 0);
        }
    }
});
