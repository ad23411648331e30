//! A device with nothing but the agent: boots, updates, confirms, rejects, and says how much stack each step took.
//!
//! What is counted as the agent's is what lies in `.text`: the agent and the calls into it, each of which stays a
//! function of its own, as in a firmware whose event loop is larger than a linker would fold into one.
#![no_std]
#![no_main]

use core::fmt::{self, Write};
use core::hint::black_box;
use core::mem::MaybeUninit;

use updraft_agent::http::{Url, write_request};
use updraft_agent::otadata::Running;
use updraft_agent::{
    Action, Agent, Connection, ContentRange, Event, FetchId, Message, MessageId, Range, ResetReason,
    ResponseHead, Settings,
};
use updraft_contract::Outcome;
use updraft_footprint::{
    BROKEN_AT, Flash, HEADS, NEW, OLD, PART_AT, TAIL_BYTES, exit, print, print_figure, stack_of, text,
};
use updraft_image::Chip;

const URL: &[u8] = text!("https://server.example/p/releases/v2.0.0/firmware.bin?signature=1");
const URL_BACK: &[u8] = text!("https://server.example/p/releases/v1.0.0/firmware.bin?signature=2");
const PUMP: &str = text!(as "the pump does not turn");
const RESET: &str = text!(as "reset");
const ETAG: &str = text!(as "\"5f3c-1\"");
const OTADATA: u32 = 0x9000;
const CHUNK_BYTES: usize = 1436;

/// What the driver keeps of the device; not the agent's, so not counted.
struct Device {
    now_ms: u64,
    running: u8,
    fetch: Option<(FetchId, Range)>,
    message: Option<MessageId>,
    event: Event<'static>,
    reset: ResetReason,
    restart: bool,
    restarts: usize,
    succeeded: usize,
    failed: usize,
    reports: usize,
    progress: usize,
    requests: usize,
    reconnects: usize,
    request_bytes: usize,
}

static mut DEVICE: Device = Device {
    now_ms: 0,
    running: 0,
    fetch: None,
    message: None,
    event: Event::Tick,
    reset: ResetReason::PowerOn,
    restart: false,
    restarts: 0,
    succeeded: 0,
    failed: 0,
    reports: 0,
    progress: 0,
    requests: 0,
    reconnects: 0,
    request_bytes: 0,
};

/// Filled in at start, when the reason for the reset is known: a value from the start would lie in flash as well.
static mut AGENT: MaybeUninit<Agent> = MaybeUninit::uninit();

fn device() -> &'static mut Device {
    // SAFETY: one thread; whoever calls this holds the reference only until the next call.
    unsafe { &mut *(&raw mut DEVICE) }
}

fn agent() -> &'static mut Agent {
    // SAFETY: as above; `agent_new` is called before anything else.
    unsafe { (*(&raw mut AGENT)).assume_init_mut() }
}

/// Counts what would go into a socket.
struct Socket;

impl Write for Socket {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        device().request_bytes += text.len();
        Ok(())
    }
}

// --- the calls into the agent, as a firmware makes them ---

/// Every restart begins with fresh memory.
#[inline(never)]
fn agent_new() {
    let mut settings = Settings::new(Chip::Esp32C3);
    settings.reset = device().reset;
    #[cfg(feature = "signature")]
    {
        settings.trusted_keys = &updraft_footprint::KEYS;
        settings.signatures_required = 2;
    }
    // SAFETY: one thread; no reference to the agent is held across a restart.
    unsafe { (*(&raw mut AGENT)).write(Agent::new(settings)) };
}

#[inline(never)]
fn agent_boot() {
    let booted = agent().boot(&mut Flash, Running::Slot(device().running), device().now_ms);
    device().restart = black_box(booted).is_err();
}

#[inline(never)]
fn agent_handle() {
    agent().handle(&mut Flash, device().event, device().now_ms);
}

#[inline(never)]
fn agent_poll() {
    let device = device();
    while let Some(action) = agent().poll() {
        match action {
            Action::Fetch { id, url, range, if_range } => {
                device.fetch = Some((id, range));
                let url = Url::parse(url).map_err(|_| fmt::Error);
                let sent = url.and_then(|url| write_request(&url, range, if_range, true, &mut Socket));
                let _ = black_box(sent);
            }
            Action::Cancel => device.fetch = None,
            Action::Publish(id, message) => {
                device.message = Some(id);
                match message {
                    Message::Report => device.reports += 1,
                    Message::Status(status) => {
                        note_outcome(status.outcome == Outcome::Success, status.reason.as_str().as_bytes());
                    }
                    Message::Progress(progress) => {
                        device.progress += usize::from(black_box(progress).total > 0)
                    }
                    Message::Request(request) => {
                        black_box(request);
                        device.requests += 1;
                    }
                }
            }
            Action::Reconnect => device.reconnects += 1,
            Action::Restart => {
                device.restart = true;
                return;
            }
        }
    }
}

#[inline(never)]
fn agent_report() {
    black_box(agent().report());
}

#[inline(never)]
fn agent_move() {
    let _ = black_box(agent().connection(&mut Flash));
    if let Ok(connection) = Connection::new(text!("mqtt://elsewhere.example")) {
        let _ = black_box(agent().move_to(&mut Flash, connection));
    }
}

#[inline(never)]
fn agent_deadline() -> Option<u64> {
    agent().deadline_ms().filter(|_| !agent().may_sleep())
}

// --- the device around it, which is not counted ---

static mut DEEPEST: [usize; 6] = [0; 6];

#[unsafe(link_section = ".driver")]
#[inline(never)]
fn note_outcome(success: bool, reason: &[u8]) {
    if success {
        device().succeeded += 1;
    } else {
        device().failed += 1;
        print(text!("# "));
        print(reason);
        print(text!("\n"));
    }
}

#[unsafe(link_section = ".driver")]
#[inline(never)]
fn measure(what: usize, work: fn()) {
    let bytes = stack_of(work);
    // SAFETY: one thread.
    let deepest = unsafe { &mut *(&raw mut DEEPEST) };
    if let Some(deepest) = deepest.get_mut(what)
        && *deepest < bytes
    {
        *deepest = bytes;
    }
}

#[unsafe(link_section = ".driver")]
#[inline(never)]
fn check(holds: bool, what: &[u8]) {
    if !holds {
        print(text!("the measured device failed: "));
        print(what);
        print(text!("\n"));
        exit(1);
    }
}

#[unsafe(link_section = ".driver")]
#[inline(never)]
fn tell(event: Event<'static>) {
    device().event = black_box(event);
    measure(1, agent_handle);
    measure(2, agent_poll);
}

#[unsafe(link_section = ".driver")]
#[inline(never)]
fn wait() {
    if let Some(deadline) = agent_deadline() {
        device().now_ms = deadline.max(device().now_ms);
    }
    tell(Event::Tick);
}

/// What a bootloader with rollback does: a NEW entry becomes PENDING_VERIFY, a PENDING_VERIFY one ABORTED.
#[unsafe(link_section = ".driver")]
#[inline(never)]
fn restart(running: u8, reset: ResetReason) {
    for sector in [OTADATA, OTADATA + 0x1000] {
        if let Some([state]) = Flash.stretch(sector + 24, 1) {
            match *state {
                0 => *state = 1,
                1 => *state = 4,
                _ => {}
            }
        }
    }
    (device().running, device().reset) = (black_box(running), black_box(reset));
    (device().fetch, device().message) = (None, None);
    device().restarts += 1;
    measure(4, agent_new);
    measure(0, agent_boot);
    check(!device().restart, text!("it does not boot"));
    measure(3, agent_report);
    measure(2, agent_poll);
}

/// Answers the fetch under way, with the head that lies ready for it, and then so many bytes of what was asked for.
#[unsafe(link_section = ".driver")]
#[inline(never)]
fn answer(head: &'static [u8], body: &'static [u8]) {
    let Some((id, _)) = device().fetch else { return check(false, text!("no fetch")) };
    tell(Event::Received(id, head));
    for chunk in body.chunks(CHUNK_BYTES) {
        tell(Event::Received(id, chunk));
    }
}

/// The same, from a port with an HTTP client of its own.
#[unsafe(link_section = ".driver")]
#[inline(never)]
fn answer_parsed(image: &'static [u8], from: usize) {
    let Some((id, _)) = device().fetch else { return check(false, text!("no fetch")) };
    let head = ResponseHead {
        status: 206,
        content_length: Some((image.len() - from) as u64),
        content_range: Some(ContentRange { start: from as u64, total: Some(image.len() as u64) }),
        etag: Some(ETAG),
        version: None,
        location: None,
        encoded: false,
    };
    tell(Event::Head(id, head));
    for chunk in image.get(from..).unwrap_or_default().chunks(CHUNK_BYTES) {
        tell(Event::Body(id, chunk));
    }
    tell(Event::BodyEnd(id));
}

#[unsafe(link_section = ".driver")]
#[inline(never)]
fn update(url: &'static [u8], image: &'static [u8], parsed: bool) {
    tell(Event::Trigger(url));
    answer(HEADS.forbidden, b"");
    tell(Event::Trigger(url));
    answer(HEADS.redirect, b"");
    check(matches!(device().fetch, Some((_, Range::Last(TAIL_BYTES)))), text!("its end is asked for first"));
    answer(HEADS.tail, image.get(image.len() - TAIL_BYTES as usize..).unwrap_or_default());
    check(matches!(device().fetch, Some((_, Range::From(0)))), text!("then all of it"));
    answer(HEADS.whole, image.get(..BROKEN_AT).unwrap_or_default());
    if let Some((id, _)) = device().fetch {
        if parsed {
            tell(Event::Closed(id));
        } else {
            tell(Event::Lost(id, RESET));
        }
    }
    wait();
    check(
        matches!(device().fetch, Some((_, Range::From(at))) if at as usize == PART_AT),
        text!("it does not go on"),
    );
    if parsed {
        answer_parsed(image, PART_AT);
    } else {
        answer(HEADS.part, image.get(PART_AT..).unwrap_or_default());
    }
    while !device().restart && agent_deadline().is_some() {
        wait();
    }
    check(device().restart, text!("the image was not taken"));
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".driver")]
extern "C" fn footprint_main() -> ! {
    restart(0, ResetReason::PowerOn);
    tell(Event::Connected);
    update(URL, &NEW, false);
    restart(1, ResetReason::Software);
    tell(Event::Connected);
    check(device().succeeded == 1, text!("not confirmed"));
    if let Some(id) = device().message {
        tell(Event::Acknowledged(id));
    }
    measure(5, agent_move);
    measure(2, agent_poll);
    tell(Event::Disconnected);
    tell(Event::Connected);
    // An image that fails its own test.
    update(URL_BACK, &OLD, true);
    restart(0, ResetReason::Software);
    tell(Event::SelfTest(Err(PUMP)));
    check(device().restart, text!("not rejected"));
    restart(1, ResetReason::Software);
    tell(Event::Connected);
    check(device().failed == 1, text!("the rejection was not reported"));
    tell(Event::ClearQuarantine);
    tell(Event::SelfTest(Ok(())));
    // One that passes it, and then crashes again and again.
    update(URL_BACK, &OLD, false);
    restart(0, ResetReason::Software);
    tell(Event::Connected);
    check(device().succeeded == 2, text!("not confirmed"));
    for _ in 0..4 {
        restart(0, ResetReason::Panic);
        check(!device().restart, text!("gone back too early"));
    }
    restart(0, ResetReason::Panic);
    check(device().restart, text!("a crash loop goes on"));
    restart(1, ResetReason::Software);
    tell(Event::Connected);
    check(device().failed == 2, text!("the crash loop was not reported"));
    // SAFETY: one thread.
    let deepest = unsafe { *(&raw const DEEPEST) };
    print_figure(text!("stack.boot"), deepest[0]);
    print_figure(text!("stack.handle"), deepest[1]);
    print_figure(text!("stack.poll"), deepest[2]);
    print_figure(text!("stack.report"), deepest[3]);
    print_figure(text!("stack.new"), deepest[4]);
    print_figure(text!("stack.move"), deepest[5]);
    print_figure(text!("ram.agent"), size_of::<Agent>());
    print_figure(text!("ram.driver"), size_of::<Device>() + size_of_val(&deepest));
    print_figure(text!("done.restarts"), device().restarts);
    print_figure(text!("done.confirmations"), device().succeeded);
    print_figure(text!("done.failures"), device().failed);
    print_figure(text!("done.reports"), device().reports);
    print_figure(text!("done.progress"), device().progress);
    exit(0)
}
