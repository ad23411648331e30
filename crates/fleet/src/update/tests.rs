extern crate std;
use UpdateState::*;
use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn update(state: UpdateState) -> UpdateView {
    UpdateView {
        state,
        from: Some(version("1.0.0")),
        to: version("1.1.0"),
        images: vec![],
        delivery: Delivery::Fetched,
        running: None,
        is_believed: false,
    }
}

fn report(running: &str, state: Option<&str>) -> Event {
    Event::Report(ReportView {
        version: version(running),
        sha256: None,
        state: state.map(ToOwned::to_owned),
        retained: false,
        news: None,
    })
}

fn status(text: &str) -> Status {
    Status::parse(text.as_bytes()).expect("a status")
}

/// The state after an event; the same if nothing changed.
fn after(state: UpdateState, event: &Event) -> UpdateState {
    apply(&update(state), event).map_or(state, |change| change.state)
}

#[test]
fn progress_moves_only_what_is_in_flight() {
    assert_eq!(after(Offered, &Event::Progress(Phase::Download)), Downloading);
    assert_eq!(after(Downloading, &Event::Progress(Phase::Restart)), Restarting);
    for ended in [Succeeded, Failed, RolledBack, TimedOut, Cancelled] {
        assert_eq!(after(ended, &Event::Progress(Phase::Download)), ended);
    }
}

#[test]
fn the_running_target_makes_success_and_revises_every_end() {
    for state in [Offered, Downloading, Restarting, TimedOut, Failed, RolledBack, Cancelled] {
        assert_eq!(after(state, &report("1.1.0", None)), Succeeded, "{state:?}");
        assert_eq!(after(state, &report("1.1.0", Some("valid"))), Succeeded, "{state:?}");
    }
}

#[test]
fn a_target_that_is_not_confirmed_yet_is_no_success() {
    assert_eq!(after(Downloading, &report("1.1.0", Some("pending_verify"))), Restarting);
    assert_eq!(after(TimedOut, &report("1.1.0", Some("pending_verify"))), TimedOut);
}

#[test]
fn a_plain_device_is_believed_and_a_reporting_one_must_show_it() {
    for state in [Offered, Downloading, Restarting, TimedOut] {
        assert_eq!(after(state, &Event::PlainStatus(status("SUCCESS"))), Succeeded);
    }
    assert_eq!(after(Downloading, &Event::Status(status("SUCCESS"))), Restarting);
    assert_eq!(after(TimedOut, &Event::Status(status("SUCCESS"))), TimedOut);
}

#[test]
fn a_believed_success_is_taken_back_by_the_old_version_but_not_by_a_retained_one() {
    assert_eq!(after(Succeeded, &report("1.0.0", None)), RolledBack);
    let retained = Event::Report(ReportView {
        version: version("1.0.0"),
        sha256: None,
        state: None,
        retained: true,
        news: None,
    });
    assert_eq!(after(Succeeded, &retained), Succeeded);
    assert_eq!(
        after(Succeeded, &report("0.9.0", None)),
        Succeeded,
        "some other version is no roll-back of this update"
    );
}

#[test]
fn a_third_version_ends_a_belief_and_no_success_that_a_report_confirmed() {
    let believed = UpdateView { is_believed: true, ..update(Succeeded) };
    let change = apply(&believed, &report("1.0.9", None)).expect("changes");
    let why = causes::OTHER_VERSION_RUNS.naming("version", "1.0.9").naming("to", "1.1.0");
    assert_eq!(change, because(Failed, Why::Cause(why)));
    assert!(!crate::is_image_at_fault(&change, Some(Phase::Verify), None), "it says nothing of the image");
    assert_eq!(after(Succeeded, &report("1.0.9", None)), Succeeded, "installed by somebody since");
    assert_eq!(after(Failed, &report("1.1.0", None)), Succeeded, "it runs in the end");
    // The report came before the word.
    for (running, state) in [("1.0.9", Failed), ("1.0.0", Succeeded), ("1.1.0", Succeeded)] {
        let view = UpdateView { running: Some(version(running)), ..update(Offered) };
        let change = apply(&view, &Event::PlainStatus(status("SUCCESS"))).expect("changes");
        assert_eq!(change.state, state, "{running}");
    }
}

#[test]
fn a_device_puts_an_update_off_until_it_has_restarted() {
    let put_off = Event::Deferred(Reason::new("the lamp is lit"));
    for (state, then) in
        [(Offered, Deferred), (Downloading, Deferred), (Deferred, Deferred), (Restarting, Restarting)]
    {
        assert_eq!(after(state, &put_off), then, "{state}");
    }
    for ended in [Succeeded, Failed, RolledBack, TimedOut, Cancelled] {
        assert_eq!((after(ended, &put_off), after(ended, &Event::AskAgain)), (ended, ended));
    }
    assert_eq!(after(Deferred, &Event::AskAgain), Offered);
    assert_eq!(after(Deferred, &Event::Progress(Phase::Download)), Downloading);
    assert_eq!(after(Deferred, &report("1.1.0", None)), Succeeded);
    let why = apply(&update(Offered), &put_off).and_then(|change| change.why);
    assert_eq!(why, Some(Why::Device("the lamp is lit".to_owned())));
}

#[test]
fn another_version_ends_an_update_only_after_the_restart_and_once_it_is_valid() {
    for state in [Offered, Downloading] {
        assert_eq!(after(state, &report("1.0.0", Some("valid"))), state);
    }
    for unsure in [None, Some("pending_verify")] {
        assert_eq!(after(Restarting, &report("1.0.0", unsure)), Restarting);
    }
    assert_eq!(after(Restarting, &report("1.0.0", Some("valid"))), RolledBack);
    assert_eq!(after(Restarting, &report("0.9.0", Some("valid"))), Failed);
    let kept = ReportView {
        version: version("1.0.0"),
        sha256: None,
        state: Some("valid".to_owned()),
        retained: true,
        news: None,
    };
    assert_eq!(after(Restarting, &Event::Report(kept)), Restarting);
}

#[test]
fn a_status_that_cannot_be_of_this_update_changes_nothing() {
    let after = |state, delivery, text: &str| {
        let view = UpdateView { delivery, ..update(state) };
        [Event::PlainStatus(status(text)), Event::Status(status(text))]
            .map(|event| apply(&view, &event).map_or(state, |change| change.state))
    };
    assert_eq!(after(Offered, Delivery::Unsent, "FAILED no"), [Offered; 2]);
    assert_eq!(after(Offered, Delivery::Unsent, "SUCCESS"), [Offered; 2]);
    assert_eq!(after(Offered, Delivery::Sent, "FAILED no"), [Failed; 2]);
    assert_eq!(after(Offered, Delivery::Sent, "SUCCESS"), [Offered; 2]);
    assert_eq!(after(TimedOut, Delivery::Sent, "SUCCESS"), [TimedOut; 2]);
    assert_eq!(after(Offered, Delivery::Fetched, "SUCCESS"), [Succeeded, Restarting]);
    assert_eq!(after(Downloading, Delivery::Sent, "SUCCESS"), [Succeeded, Restarting]);
}

#[test]
fn news_of_a_failure_ends_the_update_that_it_is_about() {
    let news = |to: Option<&str>| {
        let last =
            LastOutcome { to: to.map(version), result: Outcome::Failed, reason: Some(Reason::new("digest")) };
        Event::Report(ReportView {
            version: version("1.0.0"),
            sha256: None,
            state: None,
            retained: true,
            news: Some(last),
        })
    };
    assert_eq!(after(Downloading, &news(Some("1.1.0"))), Failed);
    assert_eq!(after(Restarting, &news(None)), RolledBack);
    assert_eq!(after(Downloading, &news(Some("1.0.5"))), Downloading);
    assert_eq!(after(Succeeded, &news(Some("1.1.0"))), Succeeded);
}

#[test]
fn a_failure_keeps_its_reason_and_says_whether_the_new_image_ran() {
    let failed = Event::PlainStatus(status("FAILED checksum does not match"));
    let change = apply(&update(Downloading), &failed).expect("changes");
    assert_eq!(change, because(Failed, Why::Device("checksum does not match".to_owned())));
    assert_eq!(after(Restarting, &failed), RolledBack);
    let told = Event::Status(status("FAILED rolled back: the image crashed"));
    assert_eq!(after(Offered, &told), RolledBack);
    assert_eq!(after(Succeeded, &failed), Succeeded);
}

#[test]
fn a_code_says_whether_the_new_image_ran_whatever_state_and_words_say() {
    for (text, end) in [
        ("FAILED the new image crashed [crashed]", RolledBack),
        ("FAILED the power was lost [power_lost]", RolledBack),
        ("FAILED rolled back: the image is for esp32c3 [wrong_chip]", Failed),
        ("FAILED the entry could not be written [otadata]", Failed),
    ] {
        for state in [Offered, Downloading, Restarting] {
            let change = apply(&update(state), &Event::Status(status(text))).expect("changes");
            let words = text.trim_start_matches("FAILED ").to_owned();
            assert_eq!(change, because(end, Why::Device(words)), "{state:?}");
        }
    }
    assert_eq!(after(Restarting, &Event::Status(status("FAILED odd [gremlins]"))), RolledBack);
}

fn fallen_to(running: &str, left: Option<&str>, reason: &str, retained: bool) -> Event {
    let last =
        LastOutcome { to: left.map(version), result: Outcome::Failed, reason: Some(Reason::new(reason)) };
    Event::Report(ReportView {
        version: version(running),
        sha256: None,
        state: None,
        retained,
        news: Some(last),
    })
}

#[test]
fn a_crash_loop_takes_success_back_with_its_reason() {
    let words = "rolled back: 1.1.0 crashed 5 times after it was confirmed [crash_loop]";
    for running in ["1.0.0", "0.9.0"] {
        let event = fallen_to(running, Some("1.1.0"), words, false);
        let change = apply(&update(Succeeded), &event).expect("changes");
        assert_eq!(change, because(RolledBack, Why::Device(words.to_owned())), "it runs {running} now");
        assert_eq!(apply(&update(RolledBack), &event), None, "told at the next connect");
    }
}

#[test]
fn a_crash_loop_of_what_ran_before_is_not_counted_against_what_is_being_fetched() {
    let told = Event::Status(status("FAILED it crashed 5 times [crash_loop]"));
    for state in [Offered, Downloading] {
        assert_eq!(after(state, &told), state);
        assert_eq!(after(state, &fallen_to("0.9.0", None, "x [crash_loop]", false)), state);
        assert_eq!(after(state, &fallen_to("0.9.0", Some("1.0.0"), "x [crash_loop]", false)), state);
        // The target ran, and everything before this report was lost.
        assert_eq!(after(state, &fallen_to("1.0.0", Some("1.1.0"), "x [crash_loop]", false)), RolledBack);
    }
    assert_eq!(after(Restarting, &told), RolledBack);
}

#[test]
fn success_is_not_taken_back_by_what_is_kept_or_is_of_another_version_or_never_ran() {
    for event in [
        fallen_to("1.0.0", Some("1.1.0"), "x [crash_loop]", true),
        fallen_to("0.9.0", Some("1.0.5"), "x [crash_loop]", false),
        fallen_to("0.9.0", None, "x [crash_loop]", false),
        fallen_to("0.9.0", Some("1.1.0"), "x [quarantined]", false),
        fallen_to("1.1.0", Some("1.1.0"), "x [crash_loop]", false),
    ] {
        assert_eq!(after(Succeeded, &event), Succeeded, "{event:?}");
    }
}

#[test]
fn what_the_server_finds_out_has_a_code() {
    for (state, event, code) in [
        (Offered, Event::Silence(None), "silent_after_trigger"),
        (Downloading, Event::Silence(None), "silent_in_download"),
        (Restarting, Event::Silence(None), "silent_after_restart"),
        (Succeeded, report("1.0.0", None), "old_version_again"),
        (Downloading, Event::PlainStatus(status("FAILED")), "no_reason"),
    ] {
        let Some(Why::Cause(cause)) = apply(&update(state), &event).and_then(|change| change.why) else {
            panic!("{state:?} has no cause after {event:?}");
        };
        assert_eq!(cause.code, code);
    }
    assert_eq!(apply(&update(Offered), &Event::Cancel).expect("changes").why, None);
    let heard = Heard { at: "2026-01-01T00:00:00Z".to_owned(), running: Some("1.0.0".to_owned()) };
    let change = apply(&update(Offered), &Event::Silence(Some(heard))).expect("changes");
    let Some(Why::Cause(cause)) = change.why else { panic!("no cause") };
    assert_eq!(
        cause.sentence(),
        "the device did not begin after the trigger was sent; it was last heard at 2026-01-01T00:00:00Z, running 1.0.0"
    );
}

#[test]
fn silence_and_cancel_end_only_what_is_in_flight() {
    for state in UpdateState::ALL {
        let (timed_out, cancelled) = (after(state, &Event::Silence(None)), after(state, &Event::Cancel));
        if state.is_in_flight() {
            assert_eq!((timed_out, cancelled), (TimedOut, Cancelled));
        } else {
            assert_eq!((timed_out, cancelled), (state, state));
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let version = prop_oneof![Just("1.0.0"), Just("1.1.0"), Just("2.0.0")];
    let state = proptest::option::of(prop_oneof![Just("valid"), Just("pending_verify"), Just("aborted")]);
    prop_oneof![
        prop_oneof![Just(Phase::Download), Just(Phase::Verify), Just(Phase::Restart)]
            .prop_map(Event::Progress),
        prop_oneof![
            Just("SUCCESS"),
            Just("FAILED"),
            Just("FAILED rolled back: x"),
            Just("FAILED x [crash_loop]")
        ]
        .prop_map(|s| Event::PlainStatus(status(s))),
        prop_oneof![Just("SUCCESS"), Just("FAILED no")].prop_map(|s| Event::Status(status(s))),
        (version.clone(), state).prop_map(|(version, state)| report(version, state)),
        (version.clone(), proptest::option::of(version), any::<bool>(), 0..Code::ALL.len()).prop_map(
            |(running, left, retained, code)| {
                fallen_to(running, left, &format!("x [{}]", Code::ALL[code]), retained)
            }
        ),
        Just(Event::Silence(None)),
        Just(Event::Cancel),
        Just(Event::Deferred(Reason::new("in use"))),
        Just(Event::AskAgain),
    ]
}

proptest! {
    #[test]
    fn invariant_an_event_twice_is_the_event_once(start in 0usize..9, event in any_event()) {
        let once = after(UpdateState::ALL[start], &event);
        prop_assert_eq!(after(once, &event), once);
    }

    #[test]
    fn invariant_an_ended_update_never_flies_again(events in proptest::collection::vec(any_event(), 0..30)) {
        let mut state = Offered;
        for event in &events {
            let next = after(state, event);
            prop_assert!(state.is_in_flight() || !next.is_in_flight(), "{state:?} to {next:?} by {event:?}");
            state = next;
        }
    }

    #[test]
    fn invariant_what_the_broker_kept_takes_no_success_back(running in "[012]\\.[019]\\.0", code in 0..Code::ALL.len()) {
        let event = fallen_to(&running, Some("1.1.0"), &format!("x [{}]", Code::ALL[code]), true);
        prop_assert_eq!(after(Succeeded, &event), Succeeded);
    }
}

#[test]
fn bytes_decide_whether_the_target_runs() {
    let target = Sha256([7; 32]);
    let update = |state| UpdateView { images: vec![target, Sha256([8; 32])], ..update(state) };
    let report = |named: &str, sha256: Option<u8>| {
        let sha256 = sha256.map(|byte| Sha256([byte; 32]));
        let state = Some("valid".to_owned());
        Event::Report(ReportView { version: version(named), sha256, state, retained: false, news: None })
    };
    let after = |named, sha256| {
        let change = apply(&update(Restarting), &report(named, sha256));
        change.map(|change| (change.state, change.why))
    };
    assert_eq!(after("1.1.0", Some(7)), Some((Succeeded, None)));
    assert_eq!(after("9.0.0", Some(8)), Some((Succeeded, None)), "by another name of the same bytes");
    assert_eq!(after("1.1.0", None), Some((Succeeded, None)), "a device that says no digest");
    let why = causes::OTHER_IMAGE_RUNS.naming("version", version("1.1.0"));
    assert_eq!(after("1.1.0", Some(9)), Some((Failed, Some(Why::Cause(why)))));
    assert_eq!(after("1.0.0", Some(9)).map(|(state, _)| state), Some(RolledBack));
    assert_eq!(apply(&update(Downloading), &report("1.1.0", Some(9))), None);
    assert_eq!(apply(&update(TimedOut), &report("1.1.0", Some(9))), None);
}
