//! Chances that an image gets again, and those it does not: power cuts, wakes, outages, quarantine, slow servers.

use agent::otadata::Running;
use agent::{Agent, Event, Phase, ResetReason};
use contract::{Code, Lack, Outcome};
use image::Behaviour;
use image::build::Build;
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::{Layout, SLOTS, program, write_layout};

use crate::bench::{Bench, CHIP, URL, image, on_trial, settings};
use crate::traps::Worn;

fn crashing() -> Vec<u8> {
    let mut build = Build::new(CHIP, "2.0.0");
    (build.behaviour, build.size_bytes) = (Some(Behaviour::CrashesAtBoot), 20 * 1024);
    build.bytes()
}

/// How often the image in `bytes` counts as failed.
fn failures(bench: &Bench, bytes: &[u8]) -> u8 {
    bench.agent.record().failures_of(&image::verify(bytes).expect("good").sha256)
}

#[test]
fn an_image_cut_in_its_trial_gets_two_more_chances_without_a_download() {
    let mut bench = on_trial(settings());
    for chance in 1..=2 {
        bench = bench.reboot(ResetReason::PowerOn);
        assert!(bench.restart, "chance {chance}: it lies there whole");
        bench = bench.reboot(ResetReason::Software);
        assert!(matches!(bench.agent.phase(), Phase::SelfTest { .. }), "chance {chance}");
    }
    let mut bench = bench.reboot(ResetReason::PowerOn);
    assert_eq!((bench.restart, bench.agent.phase()), (false, Phase::Idle), "no more than that");
    bench.tell(Event::Connected);
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::PowerLost))));
    assert_eq!(failures(&bench, &image("2.0.0")), 0, "a power cut is not the image's fault");
    assert_eq!(bench.fetches, 0);
}

#[test]
fn a_second_chance_that_is_used_ends_in_success() {
    let bench = on_trial(settings()).reboot(ResetReason::PowerOn);
    let mut bench = bench.reboot(ResetReason::Software);
    bench.tell(Event::Connected);
    assert_eq!(bench.outcome(), Some((Outcome::Success, None)));
    assert_eq!(bench.agent.report().expect("a version").version.as_str(), "2.0.0");
}

#[test]
fn an_image_that_did_not_stay_whole_gets_no_second_chance() {
    let mut bench = on_trial(settings());
    bench.flash.corrupt(SLOTS[1].offset + 5000, 1).expect("in bounds");
    let mut bench = bench.reboot(ResetReason::PowerOn);
    assert!(!bench.restart);
    bench.tell(Event::Connected);
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::PowerLost))));
}

#[test]
fn a_wake_from_deep_sleep_ends_a_trial_as_a_restart_does() {
    let bench = on_trial(settings());
    assert!(!bench.agent.may_sleep(), "an application that asks is kept from it");
    let mut bench = bench.reboot(ResetReason::DeepSleep);
    assert!(!bench.restart, "it was no cut");
    bench.tell(Event::Connected);
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::Restarted))));
    assert_eq!(failures(&bench, &image("2.0.0")), 1);
}

#[test]
fn a_brown_out_in_a_trial_is_no_failure_of_the_image() {
    let mut bench = on_trial(settings()).reboot(ResetReason::BrownOut);
    for _ in 0..4 {
        if bench.restart {
            bench = bench.reboot(ResetReason::Software).reboot(ResetReason::BrownOut);
        }
    }
    bench.tell(Event::Connected);
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::PowerLost))));
    assert_eq!(failures(&bench, &image("2.0.0")), 0);
}

#[test]
fn an_outage_counts_against_an_image_only_once_the_old_one_reached_the_broker() {
    let new = image("2.0.0");
    let mut bench = on_trial(settings());
    bench.wait();
    assert!(bench.restart, "the broker was not reached");
    let mut bench = bench.reboot(ResetReason::Software);
    assert_eq!(failures(&bench, &new), 0, "the site may be down");
    let again = bench.flash.copy().expect("in memory");
    bench.tell(Event::Connected);
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::BrokerNotReached))));
    assert_eq!(failures(&bench, &new), 1);
    // The old image did not reach it either, and restarted.
    let mut bench = Bench::boot(again, settings());
    bench.tell(Event::Connected);
    assert_eq!(failures(&bench, &new), 0);
}

#[test]
fn quarantine_outlives_restarts_until_it_is_cleared() {
    let new = crashing();
    let mut bench = Bench::new();
    for failed in 1..=2 {
        bench.update_to(&new);
        assert!(bench.restart);
        // It boots, crashes, and the bootloader goes back.
        bench = bench.reboot(ResetReason::Software).reboot(ResetReason::Panic);
        bench.tell(Event::Connected);
        assert_eq!(failures(&bench, &new), failed);
        bench = bench.reboot(ResetReason::PowerOn);
    }
    bench.update_to(&new);
    assert!(!bench.restart);
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::Quarantined))));
    bench.update_to(&image("2.0.1"));
    assert!(bench.restart, "another image is taken");
    let mut bench = bench.reboot(ResetReason::Software);
    bench.tell(Event::Connected);
    bench.tell(Event::ClearQuarantine);
    let mut bench = bench.reboot(ResetReason::PowerOn);
    assert!(bench.agent.record().failures.is_empty());
    bench.update_to(&new);
    assert!(bench.restart, "an operator said that it may be tried again");
}

#[test]
fn a_server_that_trickles_is_given_up() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    let mut sent = 0;
    while bench.agent.phase() != Phase::Idle {
        match bench.fetch.clone() {
            None => {
                bench.wait();
                sent = 0;
            }
            Some((_, offset, _)) if sent == 0 => {
                assert_eq!(offset, 0, "nothing came that is worth keeping");
                bench.answer(200, "\"a\"", None, &new);
                sent = 1;
            }
            Some(_) => {
                bench.now_ms += 20_000;
                bench.body(&new[sent..=sent]);
                sent += 1;
            }
        }
        assert!(bench.now_ms < 3_600_000, "it goes on for ever");
    }
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::ConnectionLost))));
    assert!(bench.now_ms < 1_000_000, "{} ms", bench.now_ms);
}

#[test]
fn a_malformed_trigger_in_mid_download_changes_nothing() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    bench.answer(200, "\"a\"", None, &new);
    bench.body(&new[..9000]);
    let before = (bench.agent.phase(), bench.flash.operations(), bench.messages.len(), bench.fetching());
    for bad in [&b""[..], b"ftp://x/y", b"\xff\xfe", b"http://", &[b'a'; 3000]] {
        bench.tell(Event::Trigger(bad));
        let after = (bench.agent.phase(), bench.flash.operations(), bench.messages.len(), bench.fetching());
        assert_eq!(after, before, "{bad:?}");
    }
    bench.body(&new[9000..]);
    bench.finish();
    assert!(bench.restart);
}

#[test]
fn a_device_says_what_it_does_without() {
    let lacks = |agent: &Agent| agent.lacks().collect::<Vec<_>>();
    assert_eq!(lacks(&Bench::new().agent), [Lack::Signatures]);
    let mut flash = Flash::in_memory();
    write_layout(&mut flash, Layout::Bare).expect("a layout");
    program(&mut flash, SLOTS[0].offset, &image("1.0.0")).expect("fits");
    let mut agent = Agent::new(settings());
    // This port keeps nothing at all.
    let mut port = Worn { flash: &mut flash, fails: false };
    agent.boot(&mut port, Running::Slot(0), 0).expect("a good flash");
    assert_eq!(lacks(&agent), [Lack::Signatures, Lack::Record, Lack::CrashLoops]);
    let report = agent.report().expect("a version");
    assert_eq!(report.lacks.len(), 3);
}

#[test]
fn a_port_that_cannot_write_through_encryption_refuses_each_update_and_says_so() {
    let mut flash = Bench::new().flash;
    flash.encrypt_without_support(1).expect("a table");
    let mut bench = Bench::boot(flash, settings());
    assert!(bench.agent.lacks().any(|lack| lack == Lack::Updates));
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    assert_eq!(bench.outcome(), Some((Outcome::Failed, Some(Code::Encryption))));
    assert_eq!((bench.fetches, bench.agent.phase()), (0, Phase::Idle));
}
