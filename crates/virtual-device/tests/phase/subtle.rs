//! What only shows when two things come together: each was once wrong.

use agent::{
    Action, Agent, Check, Connection, Event, Failures, Message, Phase, Port, RETAINED_BYTES, ResetReason,
    ResponseHead, Settings, read_slot,
};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use image::build::Build;
use updraft_virtual_device::bootloader::{Bootloader, Rollback};
use updraft_virtual_device::flash::{Cut, Flash, FlashError, Moment};
use updraft_virtual_device::layout::{FACTORY, Layout, SLOTS, program, write_layout};

use crate::bench::{Bench, CHIP, URL, booted, image, on_trial, settings};

static KEYS: [[u8; 32]; 1] = [[1; 32]];

fn slot(b: &Bench) -> String {
    b.agent.report().expect("as it was set up").slot.expect("as it was set up").as_str().to_owned()
}

#[test]
fn a_rejected_image_goes_back_to_the_factory_app_that_ran() {
    let mut flash = Flash::in_memory();
    write_layout(&mut flash, Layout::TwoSlotsAndFactory).expect("as it was set up");
    program(&mut flash, FACTORY.offset, &image("1.0.0")).expect("as it was set up");
    let evil = image("6.6.6");
    program(&mut flash, SLOTS[1].offset, &evil).expect("as it was set up");
    let sha256 = image::verify(&evil).expect("as it was set up").sha256;
    Agent::remember(&mut flash, |r| {
        r.failures.push(Failures { sha256, count: 2 }).expect("as it was set up");
    })
    .expect("as it was set up");
    let mut b = Bench::boot(flash, settings());
    b.update_to(&image("2.0.0"));
    assert!(b.restart);
    let mut s = settings();
    s.trusted_keys = &KEYS;
    let mut b = Bench::boot(b.flash, s);
    b.tell(Event::SelfTest(Err("broken")));
    assert!(b.restart);
    let b = b.reboot(ResetReason::Software);
    assert_eq!(slot(&b), "factory");
}

fn secure(version: &str, sv: u32) -> Vec<u8> {
    let mut build = Build::new(CHIP, version);
    build.size_bytes = 20 * 1024;
    build.secure_version = sv;
    build.bytes()
}

#[test]
fn an_image_that_the_bootloader_refuses_is_nothing_to_fall_back_to() {
    let mut b = Bench::new();
    b.update_to(&secure("2.0.0", 1));
    assert!(b.restart);
    let mut b = b.reboot(ResetReason::Software);
    b.tell(Event::Connected);
    assert_eq!(b.agent.phase(), Phase::Idle);
    let mut flash = b.flash;
    let mut loader = Bootloader { chip: CHIP, rollback: Rollback::On, secure_version: Some(0) };
    let (mut reset, mut restarts) = (ResetReason::Panic, 0);
    for nth in 0..200 {
        let running = loader.boot(&mut flash).expect("boots");
        let mut s = Settings { reset, ..settings() };
        s.hardware.secure_version = loader.secure_version;
        let mut agent = booted(&mut flash, s, running);
        let again = agent.poll() == Some(Action::Restart);
        if nth < 8 {
            println!("{nth}: {running:?} {reset:?} efuse {:?} restart {again}", loader.secure_version);
        }
        restarts += u32::from(again);
        // Only five crashes; then it would run well.
        reset = if again {
            ResetReason::Software
        } else if nth < 5 {
            ResetReason::Panic
        } else {
            ResetReason::PowerOn
        };
    }
    assert!(restarts < 10);
}

struct Worn {
    flash: Flash,
    sector: u32,
    fails: bool,
    erases: u32,
}
impl ErrorType for Worn {
    type Error = FlashError;
}
impl ReadNorFlash for Worn {
    const READ_SIZE: usize = <Flash as ReadNorFlash>::READ_SIZE;
    fn read(&mut self, o: u32, b: &mut [u8]) -> Result<(), FlashError> {
        self.flash.read(o, b)
    }
    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}
impl NorFlash for Worn {
    const WRITE_SIZE: usize = <Flash as NorFlash>::WRITE_SIZE;
    const ERASE_SIZE: usize = <Flash as NorFlash>::ERASE_SIZE;
    fn erase(&mut self, a: u32, b: u32) -> Result<(), FlashError> {
        if (a..b).contains(&self.sector) {
            self.erases += 1;
        }
        self.flash.erase(a, b)
    }
    fn write(&mut self, o: u32, b: &[u8]) -> Result<(), FlashError> {
        if o & !4095 == self.sector {
            return if self.fails { Err(FlashError::NotErased(o)) } else { Ok(()) };
        }
        self.flash.write(o, b)
    }
}
impl Port for Worn {
    fn retained(&mut self) -> Option<&mut [u8; RETAINED_BYTES]> {
        self.flash.retained()
    }
}

#[test]
fn a_confirmation_that_fails_spins() {
    let mut b = on_trial(settings());
    let mut worn = Worn { flash: b.flash, sector: 0x1_0000, fails: false, erases: 0 };
    b.agent.handle(&mut worn, Event::Connected, 0);
    let mut now = 0;
    for _ in 0..1000 {
        let Some(at) = b.agent.deadline_ms() else { break };
        now = now.max(at);
        b.agent.handle(&mut worn, Event::Tick, now);
        while let Some(a) = b.agent.poll() {
            if a == Action::Restart {
                break;
            }
        }
        if b.agent.phase() == Phase::Restarting {
            break;
        }
    }
    assert!(worn.erases < 20);
}

#[test]
fn a_connect_before_the_reconnect_confirms_no_move() {
    let mut b = Bench::new();
    b.tell(Event::Disconnected);
    let bad = Connection::new(b"mqtt://nowhere").expect("as it was set up");
    b.agent.move_to(&mut b.flash, bad.clone()).expect("as it was set up");
    b.tell(Event::Connected); // of the old connection
    for _ in 0..6 {
        if b.agent.deadline_ms().is_some() {
            b.wait();
        }
    }
    for _ in 0..4 {
        b = b.reboot(ResetReason::PowerOn);
    }
    assert_eq!(b.agent.connection(&mut b.flash), None, "the way back");
}

#[test]
fn the_same_move_again_prolongs() {
    let mut b = Bench::new();
    let bad = Connection::new(b"mqtt://nowhere").expect("as it was set up");
    b.agent.move_to(&mut b.flash, bad.clone()).expect("as it was set up");
    b.tell(Event::Tick);
    for _ in 0..100 {
        b.now_ms += 60_000;
        b.agent.handle(&mut b.flash, Event::Tick, b.now_ms);
        if !b.agent.is_moving() {
            break;
        }
        b.agent.move_to(&mut b.flash, bad.clone()).expect("as it was set up");
    }
    assert!(!b.agent.is_moving());
}

#[test]
fn a_refusal_that_is_repeated_costs_no_wear() {
    let mut b = Bench::new();
    b.tell(Event::Connected);
    let before = b.flash.erases(0xD) + b.flash.erases(0xE);
    let mut build = Build::new(image::Chip::Esp32C3, "2.0.0");
    build.size_bytes = 20 * 1024;
    for _ in 0..100 {
        b.update_to(&build.bytes());
    }
    let wrong = b.flash.erases(0xD) + b.flash.erases(0xE) - before;
    for _ in 0..100 {
        b.update_to(&image("1.0.0"));
    }
    let same = b.flash.erases(0xD) + b.flash.erases(0xE) - before - wrong;
    assert!(wrong <= 1, "{wrong} erases: the first is noted, and no other");
    assert_eq!(same, 0);
}

#[test]
fn an_old_entry_says_nothing_of_a_new_image() {
    // 2.0.0 crashed: ABORTED, in the slot that 3.0.0 goes to.
    let mut b = on_trial(settings()).reboot(ResetReason::Panic);
    b.tell(Event::Connected);
    let three = image("3.0.0");
    let sha256 = image::verify(&three).expect("good").sha256;
    let first = b.flash.operations();
    let mut whole = Bench::boot(b.flash.copy().expect("in memory"), settings());
    whole.update_to(&three);
    assert!(whole.restart);
    for operation in first + 1..=whole.flash.operations() {
        let mut flash = b.flash.copy().expect("in memory");
        flash.cut_at(Some(Cut { operation, moment: Moment::After }));
        let mut cut = Bench::boot(flash, settings());
        cut.update_to(&three);
        cut.flash.power_on();
        // Not the power, as far as the chip knows.
        let mut after = cut.reboot(ResetReason::Watchdog);
        after.tell(Event::Connected);
        assert_eq!(after.agent.record().failures_of(&sha256), 0, "operation {operation}");
    }
}

#[test]
fn corrupt_files_do_not_empty_the_quarantine() {
    let mut b = Bench::new();
    let sha256 = [7; 32];
    Agent::remember(&mut b.flash, |r| {
        r.failures.push(Failures { sha256, count: 2 }).expect("as it was set up");
    })
    .expect("as it was set up");
    let mut b = Bench::boot(b.flash, settings());
    for at in 0..4 {
        let mut file = image("2.0.0");
        file[9000 + at] ^= 1;
        b.update_to(&file);
    }
    assert_eq!(b.agent.record().failures_of(&sha256), 2);
}

#[test]
fn a_worn_bookmark_sector_stops_no_update() {
    let mut b = Bench::new();
    let mut build = Build::new(CHIP, "2.0.0");
    build.size_bytes = 100 * 1024;
    let new = build.bytes();
    let mut worn = Worn { flash: b.flash, sector: SLOTS[1].end() - 4096, fails: true, erases: 0 };
    b.agent.handle(&mut worn, Event::Trigger(URL), 0);
    let Some(Action::Fetch { id, .. }) = b.agent.poll() else { panic!() };
    let head = ResponseHead {
        status: 200,
        content_length: Some(new.len() as u64),
        content_range: None,
        etag: Some("\"a\""),
        version: None,
        location: None,
        encoded: false,
    };
    b.agent.handle(&mut worn, Event::Head(id, head), 0);
    b.agent.handle(&mut worn, Event::Body(id, &new), 0);
    assert_ne!(b.agent.phase(), Phase::Idle);
}

#[test]
fn a_bad_trigger_in_the_trial_does_not_undo_a_good_one() {
    let mut b = on_trial(settings());
    b.tell(Event::Trigger(URL));
    b.tell(Event::Trigger(b"nonsense"));
    b.tell(Event::Connected);
    while b.agent.deadline_ms().is_some() && b.fetch.is_none() {
        b.wait();
    }
    assert!(b.fetch.is_some());
}

#[test]
fn an_image_that_fails_with_nothing_to_go_back_to_can_still_be_updated() {
    let mut s = settings();
    s.check = Check::BrokerAndApplication;
    let mut b = on_trial(s);
    b.flash.corrupt(SLOTS[0].offset + 5000, 1).expect("as it was set up");
    b.tell(Event::Connected);
    b.tell(Event::SelfTest(Err("broken")));
    b.tell(Event::Trigger(URL));
    assert!(!b.messages.is_empty() || b.fetch.is_some());
}

#[test]
fn a_trigger_that_is_no_url_does_not_end_a_self_test() {
    let mut s = settings();
    s.check = Check::BrokerAndApplication;
    let mut b = on_trial(s);
    b.flash.corrupt(SLOTS[0].offset + 5000, 1).expect("as it was set up");
    b.tell(Event::Connected);
    b.tell(Event::SelfTest(Err("broken")));
    b.tell(Event::Trigger(b"no URL"));
    assert!(matches!(b.agent.phase(), Phase::SelfTest { .. }), "{:?}", b.agent.phase());
    b.tell(Event::SelfTest(Ok(())));
    assert_eq!(b.agent.phase(), Phase::Idle, "confirmed after all");
}

#[test]
fn a_flapping_broker_does_not_use_up_the_requests() {
    let mut b = Bench::new();
    let mut build = Build::new(CHIP, "2.0.0");
    build.size_bytes = 100 * 1024;
    let new = build.bytes();
    b.tell(Event::Connected);
    b.tell(Event::Trigger(URL));
    b.answer(200, "\"a\"", None, &new);
    b.body(&new[..80 * 1024]);
    let mut b = b.reboot(ResetReason::PowerOn);
    for _ in 0..7 {
        b.tell(Event::Connected);
        b.tell(Event::Disconnected);
        b.now_ms += 500;
    }
    assert_ne!(b.agent.phase(), Phase::Idle);
}

#[test]
fn a_fresh_url_is_asked_for_only_where_somebody_hears_it() {
    let mut b = Bench::new();
    b.tell(Event::Connected);
    b.tell(Event::Trigger(URL));
    b.tell(Event::Disconnected);
    b.answer(403, "", None, b"");
    b.messages.clear();
    assert_eq!(b.agent.deadline_ms(), None, "nothing to be done without a broker");
    assert!(b.messages.is_empty());
    b.tell(Event::Connected);
    let asked = b.messages.iter().filter(|message| matches!(message, Message::Request(_))).count();
    assert_eq!(asked, 1);
}

#[test]
fn crashes_far_apart_on_a_device_that_sleeps_are_no_loop() {
    let mut b = on_trial(settings());
    b.tell(Event::Connected);
    for _ in 0..5 {
        for _ in 0..500 {
            b = b.reboot(ResetReason::DeepSleep);
            b.tell(Event::Connected);
            assert!(!b.restart);
        }
        b = b.reboot(ResetReason::Watchdog);
    }
    assert!(!b.restart);
}

#[test]
fn a_good_move_ends_the_report_of_a_failed_one() {
    let mut b = Bench::new();
    b.agent
        .move_to(&mut b.flash, Connection::new(b"a").expect("as it was set up"))
        .expect("as it was set up");
    b.tell(Event::Tick);
    b.wait();
    b.tell(Event::Connected);
    b.agent
        .move_to(&mut b.flash, Connection::new(b"b").expect("as it was set up"))
        .expect("as it was set up");
    b.tell(Event::Tick);
    b.tell(Event::Connected);
    assert_eq!(b.agent.report().expect("as it was set up").returned, None);
}

#[test]
fn a_refused_image_does_not_stay_bootable() {
    let mut s = settings();
    s.trusted_keys = &KEYS;
    let b = Bench::new();
    let mut b = Bench::boot(b.flash, s);
    let new = image("2.0.0");
    b.tell(Event::Connected);
    b.tell(Event::Trigger(URL));
    b.answer(200, "\"a\"", None, &new);
    b.body(&new);
    b.finish();
    let there = read_slot(&mut b.flash, SLOTS[1]).expect("as it was set up").is_ok();
    // The running image's own slot rots.
    b.flash.corrupt(SLOTS[0].offset + 5000, 1).expect("as it was set up");
    assert!(!there);
}
