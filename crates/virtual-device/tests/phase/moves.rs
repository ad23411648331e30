//! Moves to another broker or network: on trial, and back again.

use agent::{Connection, Event, NotKept, ResetReason, TRIAL_BOOTS};
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::{Layout, SLOTS, program, write_layout};

use crate::bench::{Bench, image, settings};

fn new_settings() -> Connection {
    Connection::new(b"mqtt://another").expect("short enough")
}

fn moving() -> Bench {
    let mut bench = Bench::new();
    bench.tell(Event::Connected);
    bench.agent.move_to(&mut bench.flash, new_settings()).expect("kept");
    bench.tell(Event::Tick);
    assert_eq!(bench.reconnects, 1);
    assert!(bench.agent.is_moving() && !bench.agent.may_sleep());
    bench
}

fn connects_with(bench: &mut Bench) -> Option<Connection> {
    bench.agent.connection(&mut bench.flash)
}

/// Why it came back, as the report says it.
fn returned(bench: &Bench) -> Option<String> {
    let report = bench.agent.report().expect("a version");
    report.returned.map(|why| why.to_string())
}

#[test]
fn a_move_that_reaches_the_broker_stays() {
    let mut bench = moving();
    bench.tell(Event::Disconnected);
    bench.tell(Event::Connected);
    assert!(!bench.agent.is_moving() && bench.agent.deadline_ms().is_none());
    for _ in 0..4 {
        assert_eq!(connects_with(&mut bench), Some(new_settings()));
        bench = bench.reboot(ResetReason::PowerOn);
    }
    assert_eq!(returned(&bench), None);
}

#[test]
fn a_move_that_reaches_nothing_is_taken_back_in_time() {
    let mut bench = moving();
    assert_eq!(bench.agent.deadline_ms(), Some(u64::from(settings().move_ms)));
    bench.wait();
    assert_eq!((bench.reconnects, bench.agent.is_moving()), (2, false));
    assert_eq!(connects_with(&mut bench), None, "those that the port came with");
    bench.tell(Event::Connected);
    assert!(returned(&bench).expect("a reason").contains("move_failed"));
}

#[test]
fn a_move_that_reaches_nothing_in_three_boots_is_taken_back() {
    let mut bench = moving();
    for boot in 2..=TRIAL_BOOTS {
        bench = bench.reboot(ResetReason::Watchdog);
        assert_eq!(connects_with(&mut bench), Some(new_settings()), "boot {boot}");
        assert!(bench.agent.is_moving());
    }
    let mut bench = bench.reboot(ResetReason::Watchdog);
    assert_eq!(connects_with(&mut bench), None);
    bench.tell(Event::Connected);
    assert!(returned(&bench).expect("a reason").contains("move_failed"));
}

#[test]
fn a_device_that_keeps_nothing_does_not_move() {
    let mut flash = Flash::in_memory();
    write_layout(&mut flash, Layout::Bare).expect("a layout");
    program(&mut flash, SLOTS[0].offset, &image("1.0.0")).expect("fits");
    let mut bench = Bench::boot(flash, settings());
    bench.tell(Event::Connected);
    assert_eq!(bench.agent.move_to(&mut bench.flash, new_settings()), Err(NotKept));
    bench.tell(Event::Tick);
    assert_eq!((bench.reconnects, bench.agent.is_moving()), (0, false));
}
