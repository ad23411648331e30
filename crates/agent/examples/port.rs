//! A port and its event loop, whole, with an array for a flash and a closure for the world outside.
//!
//! `docs/device.md` says what each part is on a real device. Run without arguments it boots on erased flash, which the
//! agent refuses with a sentence.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use image::Chip;
use updraft_agent::http::{Url, write_request};
use updraft_agent::otadata::Running;
use updraft_agent::{
    Action, Agent, Event, FetchId, Message, MessageId, Port, RETAINED_BYTES, ResetReason, Settings,
};

const FLASH_BYTES: usize = 4 * 1024 * 1024;

/// The device: its flash, and memory that resets leave alone.
struct Device {
    flash: Vec<u8>,
    /// `.rtc_noinit` on a real device, so that it is neither cleared nor filled at start.
    retained: [u8; RETAINED_BYTES],
}

#[derive(Debug)]
struct Outside;

impl NorFlashError for Outside {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl Device {
    fn stretch(&mut self, offset: u32, bytes: usize) -> Result<&mut [u8], Outside> {
        let end = (offset as usize).checked_add(bytes).ok_or(Outside)?;
        self.flash.get_mut(offset as usize..end).ok_or(Outside)
    }
}

impl ErrorType for Device {
    type Error = Outside;
}

impl ReadNorFlash for Device {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Outside> {
        bytes.copy_from_slice(self.stretch(offset, bytes.len())?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.flash.len()
    }
}

impl NorFlash for Device {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Outside> {
        self.stretch(from, to.checked_sub(from).ok_or(Outside)? as usize)?.fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Outside> {
        for (to, from) in self.stretch(offset, bytes.len())?.iter_mut().zip(bytes) {
            // NOR flash: a write clears bits, only an erase sets them.
            *to &= *from;
        }
        Ok(())
    }
}

impl Port for Device {
    fn retained(&mut self) -> Option<&mut [u8; RETAINED_BYTES]> {
        Some(&mut self.retained)
    }
}

/// What the firmware around the agent brings: sockets, a broker, a clock and a restart.
trait Firmware {
    fn now_ms(&mut self) -> u64;
    /// Waits for the next event, but not beyond the deadline; then it is a tick.
    fn wait(&mut self, deadline_ms: Option<u64>) -> Event<'_>;
    /// Ends an earlier fetch, connects and sends. The response comes as [`Event::Received`].
    fn fetch(&mut self, id: FetchId, url: &Url<'_>, request: &str);
    fn cancel(&mut self);
    /// `report` goes with [`Message::Report`], and is nothing while the version is unknown.
    fn publish(&mut self, id: MessageId, message: &Message, report: Option<&contract::Report>);
    fn reconnect(&mut self, settings: Option<&[u8]>);
    fn restart(&mut self) -> !;
}

/// Runs for as long as the device does.
fn run(agent: &mut Agent, device: &mut Device, firmware: &mut impl Firmware) -> ! {
    loop {
        obey(agent, device, firmware);
        let now_ms = firmware.now_ms();
        let event = firmware.wait(agent.deadline_ms());
        agent.handle(device, event, now_ms);
    }
}

fn obey(agent: &mut Agent, device: &mut Device, firmware: &mut impl Firmware) {
    while let Some(action) = agent.poll() {
        match action {
            Action::Fetch { id, url, range, if_range } => {
                // The agent takes no other URL, so that this is always one.
                let Ok(url) = Url::parse(url) else { continue };
                let mut request = String::new();
                if write_request(&url, range, if_range, false, &mut request).is_ok() {
                    firmware.fetch(id, &url, &request);
                }
            }
            Action::Cancel => firmware.cancel(),
            Action::Publish(id, message) => {
                let report = agent.report();
                firmware.publish(id, &message, report.as_ref());
            }
            Action::Reconnect => {
                let settings = agent.connection(device);
                firmware.reconnect(settings.as_ref().map(updraft_agent::Connection::bytes));
            }
            Action::Restart => firmware.restart(),
        }
    }
}

/// What a firmware does first: before anything that could crash, so that a crash loop is counted.
fn start(
    device: &mut Device,
    reset: ResetReason,
    firmware: &mut impl Firmware,
) -> Result<(), updraft_agent::BootError> {
    let mut settings = Settings::new(Chip::Esp32C3);
    settings.reset = reset;
    // A `static` on a device.
    let mut agent = Box::new(Agent::new(settings));
    agent.boot(device, Running::Slot(0), firmware.now_ms())?;
    run(&mut agent, device, firmware)
}

/// No network, no broker, no time.
struct Nothing;

impl Firmware for Nothing {
    fn now_ms(&mut self) -> u64 {
        0
    }

    fn wait(&mut self, _: Option<u64>) -> Event<'_> {
        Event::Tick
    }

    fn fetch(&mut self, _: FetchId, _: &Url<'_>, _: &str) {}

    fn cancel(&mut self) {}

    fn publish(&mut self, _: MessageId, _: &Message, _: Option<&contract::Report>) {}

    fn reconnect(&mut self, _: Option<&[u8]>) {}

    fn restart(&mut self) -> ! {
        std::process::exit(0)
    }
}

fn main() {
    let mut device = Device { flash: vec![0xFF; FLASH_BYTES], retained: [0; RETAINED_BYTES] };
    if let Err(error) = start(&mut device, ResetReason::PowerOn, &mut Nothing) {
        println!("{error}");
    }
}
