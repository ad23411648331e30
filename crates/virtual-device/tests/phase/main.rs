//! The agent's phases without a network: servers that misbehave, and time that passes.
// Flash is smaller than 4 GiB: no offset or length is cut.
#![allow(clippy::cast_possible_truncation)]

mod again;
mod bench;
mod crashes;
mod deeds;
mod gate;
mod identity;
mod invariants;
mod moves;
mod subtle;
mod tail;
mod traps;
mod trust;
#[path = "../power_cut/watched.rs"]
#[expect(dead_code, reason = "the power cuts look closer")]
mod watched;

use agent::otadata::Running;
use agent::{Agent, Check, Event, Message, Phase, Settings};
use bench::{Bench, CHIP, URL, booted, image, on_trial, rebuilt, settings, trial_on};
use contract::{Outcome, Request};
use updraft_virtual_device::bootloader::{Rollback, boot};
use updraft_virtual_device::flash::{Cut, Flash, Moment, Tear};
use updraft_virtual_device::layout::{Layout, OTADATA, SLOTS, program, slot_bytes, write_layout};

#[test]
fn a_download_goes_on_at_its_own_offset_with_if_range() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.lose_at(&new, 9000);
    let (_, offset, tag) = bench.fetch.clone().expect("a fetch");
    assert_eq!((offset, tag.as_deref()), (8192, Some("\"a\"")), "what is on flash");
    bench.answer(206, "\"a\"", Some((8192, new.len() as u64)), &new[8192..]);
    bench.body(&new[8192..]);
    bench.finish();
    assert!(bench.restart);
    assert_eq!(slot_bytes(&mut bench.flash, 1, new.len()).expect("power"), new);
}

#[test]
fn what_does_not_fit_together_is_never_appended() {
    let (new, other) = (image("2.0.0"), rebuilt("2.0.0"));
    let total = new.len() as u64;
    // Another part, another file, all of another file.
    for (status, tag, range) in
        [(206, "\"a\"", Some((8000, total))), (206, "\"b\"", Some((8192, total))), (200, "\"b\"", None)]
    {
        let mut bench = Bench::new();
        bench.lose_at(&new, 9000);
        bench.answer(status, tag, range, &other);
        if status == 206 {
            assert!(bench.fetch.is_none(), "the answer is refused");
            bench.wait();
            let expected = if tag == "\"b\"" { 0 } else { 8192 };
            assert_eq!(bench.fetching().1, expected);
            bench.answer(200, "\"b\"", None, &other);
        }
        bench.body(&other);
        bench.finish();
        assert!(bench.restart, "{status} {tag}");
        assert_eq!(slot_bytes(&mut bench.flash, 1, other.len()).expect("power"), other);
    }
}

#[test]
fn a_silent_server_is_given_up_in_the_end() {
    let mut bench = Bench::new();
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    while bench.agent.phase() != Phase::Idle {
        bench.wait();
    }
    assert_eq!(bench.failure(), "given up after 6 tries: the server was silent for 30 s");
    assert!(bench.now_ms < 300_000, "{}", bench.now_ms);
}

#[test]
fn a_fresh_url_is_asked_for_a_bounded_number_of_times() {
    let mut bench = Bench::new();
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    bench.answer(403, "", None, b"");
    while bench.agent.phase() != Phase::Idle {
        bench.wait();
    }
    let asked = bench.messages.iter().filter(|message| **message == Message::Request(Request::UrlExpired));
    assert_eq!(asked.count(), 5);
    assert!(bench.failure().contains("403"));
}

#[test]
fn the_same_trigger_sent_twice_is_one_download() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    bench.answer(200, "\"a\"", None, &new);
    let (id, _) = bench.fetching();
    bench.tell(Event::Trigger(b"https://server/p/releases/v2.0.0/firmware.bin?signature=2"));
    assert_eq!(bench.fetching().0, id);
}

#[test]
fn the_restart_waits_for_its_message_but_not_for_ever() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    bench.answer(200, "\"a\"", None, &new);
    bench.body(&new);
    let (id, _) = bench.fetching();
    bench.tell(Event::BodyEnd(id));
    while !matches!(bench.agent.phase(), Phase::Selected { .. }) {
        bench.wait();
    }
    assert!(!bench.restart);
    let before = bench.now_ms;
    bench.wait();
    assert!(bench.restart);
    assert_eq!(bench.now_ms - before, 2_000);
}

#[test]
fn the_application_s_own_check_is_awaited_where_it_is_wanted() {
    let mut bench = on_trial(Settings { check: Check::BrokerAndApplication, ..settings() });
    bench.tell(Event::Connected);
    assert!(matches!(bench.agent.phase(), Phase::SelfTest { .. }));
    bench.tell(Event::SelfTest(Ok(())));
    assert_eq!(bench.agent.phase(), Phase::Idle);
    let report = bench.agent.report().expect("a version");
    assert_eq!((report.version.as_str(), report.state.as_deref()), ("2.0.0", Some("valid")));
}

#[test]
fn a_check_that_fails_brings_the_old_image_back() {
    let mut bench = on_trial(settings());
    bench.tell(Event::SelfTest(Err("no sensor")));
    assert!(bench.restart);
    let mut bench = Bench::boot(bench.flash, settings());
    bench.tell(Event::Connected);
    assert_eq!(bench.failure(), "rolled back: no sensor");
    assert_eq!(bench.agent.version().map(contract::Version::as_str), Some("1.0.0"));
}

#[test]
fn an_image_with_nothing_to_fall_back_to_goes_on_trying() {
    let mut bench = on_trial(settings());
    bench.flash.corrupt(0x2_0000 + 5000, 1).expect("in bounds");
    bench.wait();
    assert!(!bench.restart, "there is nothing else that could run");
    bench.tell(Event::Connected);
    assert_eq!(bench.agent.report().expect("a version").state.as_deref(), Some("valid"));
}

#[test]
fn a_trigger_in_the_self_test_is_taken_up_after_it() {
    let mut bench = on_trial(settings());
    bench.tell(Event::Trigger(b"https://server/p/releases/v3.0.0/firmware.bin"));
    assert!(bench.fetch.is_none());
    bench.tell(Event::Connected);
    bench.wait();
    assert_eq!(bench.fetching().1, 0);
}

#[test]
fn the_image_that_runs_already_needs_no_restart() {
    let (mut bench, same) = (Bench::new(), image("1.0.0"));
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(b"https://server/p/releases/v1.0.0/firmware.bin"));
    bench.answer(200, "\"a\"", None, &same);
    bench.body(&same);
    bench.finish();
    assert!(!bench.restart);
    let last = bench.agent.report().expect("a version").last.expect("an outcome");
    assert_eq!(last.result, Outcome::Success);
}

#[test]
fn a_url_that_is_none_is_answered_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.tell(Event::Connected);
    let operations = bench.flash.operations();
    for bad in [&b""[..], b"ftp://x/y", b"\xff\xfe", &[b'a'; 3000]] {
        bench.tell(Event::Trigger(bad));
        assert_eq!(bench.agent.phase(), Phase::Idle);
        assert!(bench.failure().contains("not an http or https URL"));
    }
    assert_eq!(bench.flash.operations(), operations);
}

#[test]
fn a_device_with_nowhere_to_keep_a_record_loses_no_more_than_words() {
    let mut flash = Flash::in_memory();
    write_layout(&mut flash, Layout::Bare).expect("a layout");
    program(&mut flash, SLOTS[0].offset, &image("1.0.0")).expect("fits");
    let mut bench = trial_on(Bench::boot(flash, settings()), settings());
    bench.tell(Event::Connected);
    assert_eq!(bench.agent.phase(), Phase::Idle);
    assert_eq!(boot(&mut bench.flash, CHIP, Rollback::On).expect("boots"), Running::Slot(1));
    assert_eq!(OTADATA.size_bytes, 0x2000);
}

#[test]
fn flash_that_does_not_hold_what_was_written_is_found_out() {
    let (mut bench, new) = (Bench::new(), image("2.0.0"));
    bench.tell(Event::Connected);
    bench.tell(Event::Trigger(URL));
    bench.answer(200, "\"a\"", None, &new);
    bench.body(&new);
    bench.flash.corrupt(0x20_0000 + 5000, 0x40).expect("in bounds");
    bench.finish();
    assert!(!bench.restart);
    assert_eq!(bench.failure(), "the flash does not hold what was written to it");
    assert!(bench.agent.record().failures.is_empty(), "the image is not to blame");
}

#[test]
fn every_cut_of_a_record_leaves_the_old_one_or_the_new_one() {
    let versions: Vec<contract::Version> =
        (0..20).map(|n| format!("1.0.{n}").parse().expect("a version")).collect();
    let mut flash = Bench::new().flash;
    let mut cuts = 0;
    for pair in versions.windows(2) {
        let write = |flash: &mut Flash, version: &contract::Version| {
            Agent::remember(flash, |record| record.remember_version([1; 32], version.clone()))
        };
        write(&mut flash, &pair[0]).expect("power");
        for operation in flash.operations() + 1.. {
            for moment in [Moment::Before, Moment::During(Tear::Bits { seed: operation }), Moment::After] {
                let mut torn = flash.copy().expect("in memory");
                torn.cut_at(Some(Cut { operation, moment }));
                if write(&mut torn, &pair[1]).is_err() {
                    cuts += 1;
                }
                torn.power_on();
                let agent = booted(&mut torn, settings(), Running::Slot(0));
                let found = agent.record().version_of(&[1; 32]).expect("one of them").as_str();
                assert!(pair.iter().any(|version| version.as_str() == found), "{found} at {operation}");
            }
            let mut whole = flash.copy().expect("in memory");
            write(&mut whole, &pair[1]).expect("power");
            if operation >= whole.operations() {
                break;
            }
        }
    }
    assert!(cuts > 200, "{cuts}");
}
