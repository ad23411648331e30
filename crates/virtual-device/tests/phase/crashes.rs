//! Confirmed images that crash again and again: what is gone back to, and what is not.

use agent::otadata::Running;
use agent::{Agent, Event, Phase, ResetReason, Settings};
use contract::{Code, Outcome};
use updraft_virtual_device::bootloader::{Rollback, boot};
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::SLOTS;

use crate::bench::{Bench, CHIP, booted, image, on_trial, settings, trial_on};

/// 2.0.0 runs confirmed, and 1.0.0 did before it.
fn confirmed() -> Bench {
    let mut bench = on_trial(settings());
    bench.tell(Event::Connected);
    assert_eq!(bench.agent.phase(), Phase::Idle);
    bench
}

fn version(bench: &Bench) -> &str {
    bench.agent.version().expect("a version").as_str()
}

/// Boots after so many resets of a kind; stops where the agent asks for a restart.
fn after(mut bench: Bench, reset: ResetReason, times: u32) -> Bench {
    for _ in 0..times {
        bench = bench.reboot(reset);
        if bench.restart {
            return bench;
        }
    }
    bench
}

#[test]
fn five_crashes_in_a_row_bring_the_image_before_back() {
    for reset in [ResetReason::Panic, ResetReason::Watchdog, ResetReason::BrownOut] {
        let bench = after(confirmed(), reset, 4);
        assert!(!bench.restart, "{reset:?}: four are not enough");
        let bench = after(bench, reset, 1);
        assert!(bench.restart, "{reset:?}: the fifth is");
        let mut bench = bench.reboot(ResetReason::Software);
        assert_eq!(version(&bench), "1.0.0");
        bench.tell(Event::Connected);
        assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::CrashLoop))));
        let new = image::verify(&image("2.0.0")).expect("good").sha256;
        // A weak supply says nothing against an image.
        let counted = u8::from(reset != ResetReason::BrownOut);
        assert_eq!(bench.agent.record().failures_of(&new), counted, "{reset:?}");
    }
}

#[test]
fn wakes_and_restarts_are_no_crashes() {
    for reset in [ResetReason::DeepSleep, ResetReason::Software, ResetReason::Unknown, ResetReason::PowerOn] {
        let bench = after(confirmed(), reset, 20);
        assert!(!bench.restart, "{reset:?}");
        assert_eq!(version(&bench), "2.0.0", "{reset:?}");
    }
}

#[test]
fn crashes_are_forgotten_once_the_image_ran_for_long_enough() {
    let mut bench = after(confirmed(), ResetReason::Panic, 4);
    let deadline_ms = bench.agent.deadline_ms().expect("a deadline");
    assert_eq!(deadline_ms, u64::from(settings().stable_ms));
    bench.wait();
    assert_eq!(bench.agent.deadline_ms(), None);
    let bench = after(bench, ResetReason::Panic, 4);
    assert!(!bench.restart, "those of before do not count");
    assert!(after(bench, ResetReason::Panic, 1).restart);
}

#[test]
fn a_wake_makes_up_for_one_crash() {
    let bench = after(confirmed(), ResetReason::Panic, 4);
    let bench = after(bench, ResetReason::DeepSleep, 1);
    let bench = after(bench, ResetReason::Panic, 1);
    assert!(!bench.restart, "four, of which one was slept over, and one more");
    assert!(after(bench, ResetReason::Panic, 1).restart);
}

#[test]
fn an_image_that_does_not_verify_is_not_gone_back_to() {
    let mut bench = confirmed();
    bench.flash.corrupt(SLOTS[0].offset + 5000, 1).expect("in bounds");
    let mut bench = after(bench, ResetReason::Panic, 12);
    assert!(!bench.restart, "better an image that crashes than none");
    bench.tell(Event::Connected);
    bench.update_to(&image("3.0.0"));
    assert!(bench.restart, "and one that can be mended");
}

#[test]
fn an_image_that_never_ran_well_here_is_not_gone_back_to() {
    // 1.0.0 confirms itself by cable or at its first connect; here it never connected, and the record is empty.
    let mut bench = confirmed();
    Agent::remember(&mut bench.flash, |record| record.confirmed.clear()).expect("power");
    let bench = Bench::boot(bench.flash, settings());
    assert!(!after(bench, ResetReason::Panic, 12).restart);
}

/// Boots with crashes until something changes; how often another slot came to run.
fn switches(mut flash: Flash, boots: u32) -> u32 {
    let (mut reset, mut before, mut switches) = (ResetReason::Panic, Running::Slot(1), 0);
    for _ in 0..boots {
        let running = boot(&mut flash, CHIP, Rollback::On).expect("boots");
        switches += u32::from(std::mem::replace(&mut before, running) != running);
        let agent = booted(&mut flash, Settings { reset, ..settings() }, running);
        reset = if agent.phase() == Phase::Restarting { ResetReason::Software } else { ResetReason::Panic };
    }
    switches
}

#[test]
fn two_images_that_both_crash_do_not_alternate_for_ever() {
    // Neither gets as far as the broker.
    let switches = switches(confirmed().flash, 300);
    assert!((1..=4).contains(&switches), "{switches} times another image came to run");
}

#[test]
fn a_crash_in_a_trial_counts_against_the_trial_and_not_towards_a_loop() {
    let bench = trial_on(confirmed_again(), settings());
    let bench = bench.reboot(ResetReason::Panic);
    assert!(!bench.restart);
    assert!(!after(bench, ResetReason::Panic, 3).restart, "four crashes, and the first was the new image's");
}

/// As it leaves the factory, connected once.
fn confirmed_again() -> Bench {
    let mut bench = Bench::new();
    bench.tell(Event::Connected);
    bench
}
