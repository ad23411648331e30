//! Traps that devices in the field fell into, one test each.

use agent::otadata::{Entries, Entry, Running, State};
use agent::{Event, Message, Phase, ResetReason, Settings};
use contract::{Outcome, Version};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use image::build::Build;
use image::{Behaviour, Chip};
use updraft_virtual_device::bootloader::{Rollback, boot};
use updraft_virtual_device::flash::{Flash, FlashError};
use updraft_virtual_device::layout::{FACTORY, Layout, OTADATA, SLOTS, program, slot_bytes, write_layout};

use crate::bench::{Bench, CHIP, URL, booted, image, on_trial, rebuilt, settings};

/// Flash of which one write to otadata fails, as worn flash would.
pub(crate) struct Worn<'a> {
    pub(crate) flash: &'a mut Flash,
    pub(crate) fails: bool,
}

impl ErrorType for Worn<'_> {
    type Error = FlashError;
}

impl agent::Port for Worn<'_> {}

impl ReadNorFlash for Worn<'_> {
    const READ_SIZE: usize = Flash::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.flash.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for Worn<'_> {
    const WRITE_SIZE: usize = Flash::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.flash.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let otadata = offset >= OTADATA.offset && offset < OTADATA.end();
        if otadata && std::mem::take(&mut self.fails) {
            return Err(FlashError::OutOfBounds(offset));
        }
        self.flash.write(offset, bytes)
    }
}

fn selected(flash: &mut Flash) -> Option<(u8, State)> {
    let entries = Entries::read(flash, OTADATA).expect("power");
    entries.selected(2).map(|selected| (selected.slot, selected.state))
}

fn statuses(bench: &Bench) -> Vec<Outcome> {
    let status = |message: &Message| match message {
        Message::Status(status) => Some(status.outcome),
        _ => None,
    };
    bench.messages.iter().filter_map(status).collect()
}

#[test]
fn a_confirmation_that_the_flash_refused_is_made_again_and_not_claimed() {
    let mut bench = on_trial(settings());
    let mut worn = Worn { flash: &mut bench.flash, fails: true };
    bench.agent.handle(&mut worn, Event::Connected, 1);
    assert!(matches!(bench.agent.phase(), Phase::SelfTest { .. }), "not confirmed, so not claimed");
    bench.tell(Event::Tick);
    assert_eq!(bench.agent.phase(), Phase::Idle);
    assert_eq!(selected(&mut bench.flash), Some((1, State::Valid)));
    assert_eq!(statuses(&bench), [Outcome::Success]);
    assert_eq!(boot(&mut bench.flash, CHIP, Rollback::On).expect("boots"), Running::Slot(1));
}

#[test]
fn an_image_that_runs_without_being_selected_is_confirmed_only_after_its_self_test() {
    // The power went between the two halves of the confirmation, and the old image is broken.
    let mut bench = on_trial(settings());
    let sector = (0..2).map(|n| OTADATA.offset + n * 4096).find(|offset| {
        let mut bytes = [0; 32];
        bench.flash.read(*offset, &mut bytes).expect("power");
        Entry::parse(&bytes).slot(2) == 1
    });
    let sector = sector.expect("an entry");
    bench.flash.erase(sector, sector + 4096).expect("power");
    bench.flash.corrupt(SLOTS[0].offset + 5000, 1).expect("in bounds");
    let mut bench = Bench::boot(bench.flash, settings());
    assert!(matches!(bench.agent.phase(), Phase::SelfTest { .. }), "{:?}", bench.agent.phase());
    bench.tell(Event::Connected);
    assert_eq!(selected(&mut bench.flash), Some((1, State::Valid)));
    let report = bench.agent.report().expect("a version");
    assert_eq!(report.state.as_deref(), Some("valid"));
    assert_eq!(statuses(&bench), [Outcome::Success]);
}

/// A device whose factory app runs because the slot that otadata selects is broken.
fn factory(entries: [Entry; 2]) -> Bench {
    let mut flash = Flash::in_memory();
    write_layout(&mut flash, Layout::TwoSlotsAndFactory).expect("a layout");
    program(&mut flash, FACTORY.offset, &image("0.9.0")).expect("fits");
    for (slot, offset) in [(0, OTADATA.offset), (1, OTADATA.offset + 4096)] {
        program(&mut flash, offset, &entries[slot].to_bytes()).expect("fits");
        let mut broken = image("1.0.0");
        broken[5000] ^= 1;
        program(&mut flash, SLOTS[slot].offset, &broken).expect("fits");
    }
    let bench = Bench::boot(flash, settings());
    assert_eq!(bench.agent.report().expect("a version").slot.as_deref(), Some("factory"));
    bench
}

#[test]
fn what_the_factory_app_writes_never_boots_before_it_is_selected() {
    let new = image("2.0.0");
    for (first, second) in [(3, 2), (1, 2)] {
        let mut bench = factory([Entry::new(first, State::Valid), Entry::new(second, State::Valid)]);
        bench.tell(Event::Connected);
        bench.tell(Event::Trigger(URL));
        bench.answer(200, "\"a\"", None, &new);
        bench.body(&new);
        let (id, _) = bench.fetching();
        bench.tell(Event::BodyEnd(id));
        assert_eq!(slot_bytes(&mut bench.flash, 0, new.len()).expect("power"), new, "it lies there whole");
        // The power goes here.
        let running = boot(&mut bench.flash, CHIP, Rollback::On).expect("boots");
        assert_eq!(running, Running::Factory, "an image boots that nobody selected");
    }
}

#[test]
fn a_failed_update_of_the_factory_app_goes_back_to_it() {
    let mut bench = factory([Entry::new(3, State::Valid), Entry::new(2, State::Valid)]);
    let new = image("2.0.0");
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    bench.answer(200, "\"a\"", None, &new);
    bench.body(&new);
    bench.finish();
    assert!(bench.restart);
    assert_eq!(boot(&mut bench.flash, CHIP, Rollback::On).expect("boots"), Running::Slot(0));
    // It crashes.
    let settings = Settings { reset: ResetReason::Panic, ..settings() };
    let mut bench = Bench::boot(bench.flash, settings);
    assert_eq!(bench.agent.report().expect("a version").slot.as_deref(), Some("factory"));
    bench.tell(Event::Connected);
    assert_eq!(bench.failure(), "rolled back: the new image crashed before it was confirmed");
    assert_eq!(
        boot(&mut bench.flash, CHIP, Rollback::On).expect("boots"),
        Running::Factory,
        "and stays there"
    );
}

#[test]
fn an_image_for_another_chip_is_nothing_to_fall_back_to() {
    let mut bench = on_trial(settings());
    let mut other = Build::new(Chip::Esp32C3, "1.0.0");
    other.size_bytes = 20 * 1024;
    program(&mut bench.flash, SLOTS[0].offset, &other.bytes()).expect("fits");
    bench.tell(Event::SelfTest(Err("no sensor")));
    assert!(!bench.restart, "the bootloader would boot the same image again, now INVALID");
}

#[test]
fn a_power_cut_on_trial_is_no_failure_where_the_bootloader_cannot_roll_back() {
    let bench = on_trial(settings());
    // Its bootloader leaves NEW alone, so the image boots again.
    let mut flash = bench.flash;
    program(&mut flash, OTADATA.offset + 4096, &Entry::new(2, State::New).to_bytes()).expect("fits");
    let boot_after = |flash: &mut Flash, reset| {
        let settings = Settings { reset, ..settings() };
        booted(flash, settings, Running::Slot(1))
    };
    let agent = boot_after(&mut flash, ResetReason::PowerOn);
    assert!(matches!(agent.phase(), Phase::SelfTest { .. }), "it gets another chance");
    assert_eq!(agent.record().rollback, Some(false));
    let agent = boot_after(&mut flash, ResetReason::Panic);
    assert_eq!(agent.phase(), Phase::Restarting, "it crashed");
    let agent = booted(&mut flash, settings(), Running::Slot(0));
    assert_eq!(agent.record().last.as_ref().map(|last| last.result), Some(Outcome::Failed));
}

#[test]
fn a_server_that_sends_all_and_then_a_part_never_garbles_the_image() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.lose_at(&new, 9000);
    // All of it again, lost before it came to what is missing.
    bench.answer(200, "\"a\"", None, &new);
    bench.body(&new[..4000]);
    let (id, _) = bench.fetching();
    bench.tell(Event::Lost(id, "reset by peer"));
    bench.wait();
    assert_eq!(bench.fetching().1, 8192, "what is on flash");
    bench.answer(206, "\"a\"", Some((8192, new.len() as u64)), &new[8192..]);
    bench.body(&new[8192..]);
    bench.finish();
    assert!(bench.restart, "{}", bench.failure());
    assert_eq!(slot_bytes(&mut bench.flash, 1, new.len()).expect("power"), new);
}

#[test]
fn a_file_that_was_just_replaced_is_begun_again() {
    let (mut bench, new, other) = (Bench::new(), image("2.0.0"), rebuilt("2.0.0"));
    bench.lose_at(&new, 9000);
    bench.answer(409, "\"b\"", None, b"");
    bench.wait();
    assert_eq!(bench.fetching().1, 0);
    bench.answer(200, "\"b\"", None, &other);
    bench.body(&other);
    bench.finish();
    assert!(bench.restart);
}

#[test]
fn a_file_that_changes_at_every_answer_is_given_up() {
    let mut bench = Bench::new();
    let mut large = Build::new(CHIP, "2.0.0");
    large.size_bytes = 300 * 1024;
    let new = large.bytes();
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    for n in 0..100 {
        bench.answer(200, &format!("\"{n}\""), None, &new);
        bench.body(&new[..200 * 1024]);
        let (id, _) = bench.fetching();
        bench.tell(Event::Lost(id, "reset by peer"));
        if bench.agent.phase() == Phase::Idle {
            assert!(bench.failure().starts_with("given up after"), "{}", bench.failure());
            return;
        }
        bench.wait();
    }
    panic!("it goes on for ever");
}

#[test]
fn the_version_of_one_url_is_not_that_of_another_s_file() {
    let (mut bench, new, other) = (Bench::new(), image("2.0.0"), image("3.0.0"));
    bench.lose_at(&new, 9000);
    assert_eq!(bench.agent.updating_to().map(Version::as_str), Some("2.0.0"));
    bench.tell(Event::Trigger(b"https://server/p/production/firmware.bin"));
    bench.answer(200, "\"b\"", None, &other);
    bench.body(&other);
    bench.finish();
    let mut bench = Bench::boot(bench.flash, settings());
    bench.tell(Event::Connected);
    assert_eq!(bench.agent.report().expect("a version").version.as_str(), "3.0.0");
}

#[test]
fn a_short_url_for_the_same_file_keeps_the_version() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.lose_at(&new, 9000);
    bench.tell(Event::Trigger(b"https://server/d/token"));
    bench.answer(206, "\"a\"", Some((9000, new.len() as u64)), &new[9000..]);
    assert_eq!(bench.agent.updating_to().map(Version::as_str), Some("2.0.0"));
}

#[test]
fn crashing_images_are_what_quarantine_is_for() {
    let mut build = Build::new(CHIP, "2.0.0");
    build.behaviour = Some(Behaviour::CrashesAtBoot);
    build.size_bytes = 20 * 1024;
    let new = build.bytes();
    let mut flash = Bench::new().flash;
    for (reset, counted) in [(ResetReason::Panic, 1), (ResetReason::Watchdog, 2)] {
        let mut bench = Bench::boot(flash, settings());
        bench.tell(Event::Connected);
        bench.tell(Event::Trigger(URL));
        bench.answer(200, "\"a\"", None, &new);
        bench.body(&new);
        bench.finish();
        boot(&mut bench.flash, CHIP, Rollback::On).expect("boots");
        let mut bench = Bench::boot(bench.flash, Settings { reset, ..settings() });
        let hash = image::verify(&new).expect("good").sha256;
        assert_eq!(bench.agent.record().failures_of(&hash), counted - 1, "not before the broker is reached");
        bench.tell(Event::Connected);
        assert_eq!(bench.agent.record().failures_of(&hash), counted, "{reset:?}");
        flash = bench.flash;
    }
}

/// An image as Arduino builds it: nothing in it says which version of the application it is.
fn nameless() -> Vec<u8> {
    let mut build = Build::new(CHIP, "esp-idf: v4.4.3 6407ecb3f8");
    build.project_name = "arduino-lib-builder".into();
    build.behaviour = None;
    build.size_bytes = 20 * 1024;
    build.bytes()
}

/// Updates to such an image by a URL that names no version, and boots it.
fn update_to_nameless(announced: Option<&'static str>, settings: Settings) -> Bench {
    let (mut bench, new) = (Bench::new(), nameless());
    bench.announced = announced;
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(b"https://server/d/token"));
    bench.answer(200, "\"a\"", None, &new);
    bench.body(&new);
    bench.finish();
    assert!(bench.restart);
    let mut bench = Bench::boot(bench.flash, settings);
    bench.tell(Event::Connected);
    bench
}

fn version_reported(bench: &Bench) -> Option<String> {
    bench.agent.report().map(|report| report.version.as_str().to_owned())
}

#[test]
fn a_version_that_the_server_tells_is_kept_with_the_image() {
    let bench = update_to_nameless(Some("2.0.0"), settings());
    assert_eq!(version_reported(&bench).as_deref(), Some("2.0.0"));
    let mut bench = Bench::boot(bench.flash, settings());
    bench.tell(Event::Connected);
    assert_eq!(version_reported(&bench).as_deref(), Some("2.0.0"), "also after a restart");
}

#[test]
fn a_version_that_the_application_was_compiled_with_is_reported() {
    let settings = Settings { version: Some("2.0.1".parse().expect("a version")), ..settings() };
    let bench = update_to_nameless(None, settings);
    assert_eq!(version_reported(&bench).as_deref(), Some("2.0.1"));
}

#[test]
fn where_nobody_knows_the_version_none_is_invented_and_success_names_the_hash() {
    let bench = update_to_nameless(None, settings());
    assert_eq!(version_reported(&bench), None);
    let success = bench.messages.iter().find_map(|message| match message {
        Message::Status(status) => Some(status.to_string()),
        _ => None,
    });
    let hash = contract::Sha256(image::verify(&nameless()).expect("good").sha256);
    assert_eq!(success, Some(format!("SUCCESS sha256 {hash}")));
}

#[test]
fn an_agent_and_its_buffers_need_little_ram() {
    let size_bytes = size_of::<agent::Agent>();
    println!("{size_bytes} bytes");
    assert!(size_bytes <= 14 * 1024, "{size_bytes} bytes");
}
