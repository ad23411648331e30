//! A device from power-on to power-off: bootloader, image, agent, restart, over and over.

use std::time::Duration;

use agent::otadata::Running;
use agent::{Agent, ResetReason, Settings};
use anyhow::Context;
use embedded_storage::nor_flash::ReadNorFlash;
use image::{Behaviour, Chip, Demo};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::bootloader::{self, NoBoot};
use crate::flash::Flash;
use crate::layout::{self, SLOTS};
use crate::notice::{Notice, Observer};
use crate::options::Options;
use crate::session::{End, Session};

/// A device that crashes again and again pauses for at most so long.
const CRASH_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Opens the flash; a new one gets layout and first image. Says which chip this device is.
pub fn provision(options: &Options) -> anyhow::Result<(Flash, Chip)> {
    let summary = image::verify(&options.firmware).context("the device's first image")?;
    let chip = summary.chip().context("the device's first image is for a chip that is not known")?;
    let (mut flash, new) = match &options.flash_path {
        None => (Flash::in_memory(), true),
        Some(path) => Flash::in_file(path).with_context(|| format!("the flash file {}", path.display()))?,
    };
    if new {
        layout::provision(&mut flash, &options.firmware, &summary, options.version.as_ref())?;
        flash.keep().context("the new flash file")?;
    }
    flash.cut_at(options.cut);
    Ok((flash, chip))
}

/// Runs a device until it is stopped. An error is one that no waiting mends: a refused password at the first
/// connect, an image that is none, a flash file that cannot be used.
#[crate::boxed]
pub async fn run(options: Options, stop: CancellationToken, observer: Observer) -> anyhow::Result<()> {
    let (mut flash, chip) = provision(&options)?;
    // As keys that are compiled in are: there for good.
    let trusted_keys: &'static [[u8; 32]] = Vec::leak(options.trusted_keys.clone());
    let mut reset = ResetReason::PowerOn;
    let mut crashes = 0_u32;
    let mut ever_connected = false;
    let tell = |notice| observer.tell(&options.id, notice);
    while !stop.is_cancelled() {
        let running = match bootloader::boot(&mut flash, chip, options.rollback) {
            Ok(running) => running,
            Err(NoBoot::Flash(_)) if !flash.is_powered() => {
                reset = starts_again(End::PowerCut, &mut flash, &options, &observer).await;
                continue;
            }
            Err(error) => {
                tell(Notice::NoBootableApp);
                return Err(error).context(format!("{}", options.id));
            }
        };
        let behaviour = behaviour(&mut flash, running)?;
        if behaviour == Behaviour::CrashesAtBoot {
            tell(Notice::Crashed);
            pause_after_crash(&options, crashes, &stop).await;
            crashes += 1;
            reset = ResetReason::Panic;
            continue;
        }
        crashes = 0;
        let started = Instant::now();
        let settings = Settings { trusted_keys, ..settings(&options, chip, reset) };
        let mut agent = Box::new(Agent::new(settings));
        let end = match agent.boot(&mut flash, running, 0) {
            Ok(()) => {
                tell(Notice::Booted {
                    slot: slot_name(running),
                    version: agent.version().cloned(),
                    on_trial: matches!(agent.phase(), agent::Phase::SelfTest { .. }),
                });
                let mut session = Session {
                    options: &options,
                    flash: &mut flash,
                    agent: &mut agent,
                    observer: &observer,
                    started,
                    ever_connected: &mut ever_connected,
                    behaviour,
                    is_forced: false,
                };
                session.run(&stop).await?
            }
            Err(_) if !flash.is_powered() => End::PowerCut,
            Err(error) => return Err(error).context(format!("{}", options.id)),
        };
        if end == End::Stopped {
            return Ok(());
        }
        reset = starts_again(end, &mut flash, &options, &observer).await;
    }
    Ok(())
}

/// What passes between the end of one boot and the next, and what the next takes for its reason.
async fn starts_again(end: End, flash: &mut Flash, options: &Options, observer: &Observer) -> ResetReason {
    let (notice, reset) = match end {
        End::Stopped | End::Restart => (Notice::Restarting, ResetReason::Software),
        End::Crash => (Notice::Crashed, ResetReason::Panic),
        End::PowerCut => (Notice::PowerCut, ResetReason::PowerOn),
    };
    observer.tell(&options.id, notice);
    sleep(options.pace.restart).await;
    if end == End::PowerCut {
        flash.power_on();
    }
    reset
}

/// Longer each time: a device that can never start again must not keep the machine busy.
async fn pause_after_crash(options: &Options, crashes: u32, stop: &CancellationToken) {
    let pause = options.pace.restart.saturating_mul(1 << crashes.min(8)).min(CRASH_PAUSE_MAX);
    tokio::select! {
        () = sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

fn slot_name(running: Running) -> String {
    match running {
        Running::Factory => "factory".to_owned(),
        Running::Slot(slot) => format!("ota_{slot}"),
    }
}

fn behaviour(flash: &mut Flash, running: Running) -> anyhow::Result<Behaviour> {
    let slot = match running {
        Running::Slot(slot) => SLOTS[usize::from(slot)],
        Running::Factory => layout::FACTORY,
    };
    let demo = Demo::find(|offset, bytes| flash.read(slot.offset.saturating_add(offset), bytes))?;
    Ok(demo.map_or(Behaviour::Healthy, |demo| demo.behaviour()))
}

fn settings(options: &Options, chip: Chip, reset: ResetReason) -> Settings {
    let milliseconds = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    Settings {
        signatures_required: options.signatures_required,
        product: options.product.clone(),
        reset,
        self_test_ms: milliseconds(options.self_test),
        stall_ms: milliseconds(options.stall),
        back_off_ms: milliseconds(options.back_off),
        move_ms: milliseconds(options.move_time),
        ..Settings::new(chip)
    }
}
