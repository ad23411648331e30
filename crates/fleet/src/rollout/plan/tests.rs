extern crate std;
use alloc::format;
use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::rollout::{HaltAt, Percent, Step, members};

fn shape(percents: &[u32], soak_s: u32) -> Shape {
    let step = |percent: &u32| Step { percent: Percent::whole(*percent), soak_s };
    Shape {
        steps: percents.iter().map(step).collect(),
        max_in_flight: 2,
        halt_at: HaltAt::default(),
        window: None,
        expires_at: None,
    }
}

/// `waiting in_flight succeeded failed cancelled`, of each step.
fn counts(text: &str) -> Vec<StepCounts> {
    let step = |text: &str| {
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [waiting, in_flight, succeeded, failed, cancelled] = numbers[..] else {
            panic!("five of {text}")
        };
        StepCounts { waiting, in_flight, succeeded, failed, cancelled }
    };
    text.split(", ").map(step).collect()
}

fn running(step: usize, text: &str, candidates: usize) -> Snapshot {
    let candidate = |n| Candidate { device: format!("d{n}").parse().expect("an id"), step };
    Snapshot {
        shape: shape(&[10, 100], 60),
        version: "1.2.0".into(),
        life: Life::Running,
        step,
        opened: step + 1,
        soak_until: None,
        blocked: None,
        counts: counts(text),
        candidates: (0..candidates).map(candidate).collect(),
        is_presence_known: true,
    }
}

fn said(snapshot: &Snapshot) -> String {
    let word = |action: &Action| match action {
        Action::Open(step) => format!("open {step}"),
        Action::Offer(devices) => format!("offer {}", devices.len()),
        Action::Soak(until) => format!("soak until {until}"),
        Action::Enter(step) => format!("enter {step}"),
        Action::CancelWaiting(cause) => format!("cancel {}", cause.code),
        Action::Halt(cause) => format!("halt {}", cause.code),
        Action::Abort(cause) => format!("abort {}", cause.code),
        Action::Finish => "finish".into(),
    };
    plan(snapshot, 1_000).iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn each_step_is_opened_offered_watched_and_left() {
    for (step, text, candidates, expected) in [
        (0, "10 0 0 0 0, 90 0 0 0 0", 10, "offer 2"),
        (0, "9 1 0 0 0, 90 0 0 0 0", 9, "offer 1"),
        (0, "8 2 0 0 0, 90 0 0 0 0", 8, ""),
        (0, "0 1 9 0 0, 90 0 0 0 0", 0, ""),
        (0, "0 0 10 0 0, 90 0 0 0 0", 0, "soak until 61000"),
        (0, "3 0 7 0 0, 90 0 0 0 0", 0, "soak until 61000"),
        // All that are there have ended, and none is well: the next one that comes says more.
        (0, "8 0 0 2 0, 90 0 0 0 0", 0, ""),
        (0, "10 0 0 0 0, 90 0 0 0 0", 0, ""),
        (0, "0 0 0 2 8, 90 0 0 0 0", 0, "halt none_succeeded"),
        (0, "0 0 0 0 10, 90 0 0 0 0", 0, "enter 1"),
        (0, "0 0 0 0 0, 90 0 0 0 0", 0, "enter 1"),
        (1, "0 0 9 1 0, 0 0 80 2 8", 0, "soak until 61000"),
        (1, "1 0 9 0 0, 90 0 0 0 0", 0, "soak until 61000"),
        (1, "0 0 9 1 0, 0 0 0 0 0", 0, "finish"),
        (1, "0 0 0 0 10, 0 0 0 0 90", 0, "abort rollout_nobody_left"),
    ] {
        assert_eq!(said(&running(step, text, candidates)), expected, "step {step}: {text}");
    }
    let unopened = Snapshot { opened: 1, ..running(1, "0 0 9 1 0, 90 0 0 0 0", 0) };
    assert_eq!(said(&unopened), "open 1");
}

#[test]
fn a_soak_ends_with_its_time_and_not_if_all_have_fallen_back_by_then() {
    for (soak_until, text, expected) in [
        (1_001, "0 0 10 0 0, 90 0 0 0 0", ""),
        (1_000, "0 0 10 0 0, 90 0 0 0 0", "enter 1"),
        (1_000, "0 0 0 2 0, 90 0 0 0 0", "halt none_succeeded"),
        (1_001, "0 0 0 3 0, 90 0 0 0 0", "halt fails_everywhere"),
        // Who came late is offered it meanwhile, and nobody waits for that.
        (1_000, "0 1 9 0 0, 90 0 0 0 0", "enter 1"),
    ] {
        let snapshot = Snapshot { soak_until: Some(soak_until), ..running(0, text, 0) };
        assert_eq!(said(&snapshot), expected, "{soak_until} {text}");
    }
    let late = Snapshot { soak_until: Some(2_000), ..running(0, "1 0 9 0 0, 90 0 0 0 0", 1) };
    assert_eq!(said(&late), "offer 1");
}

#[test]
fn nothing_is_concluded_from_absence_after_a_start() {
    let just_started = |text| Snapshot { is_presence_known: false, ..running(0, text, 0) };
    assert_eq!(said(&just_started("3 0 7 0 0, 90 0 0 0 0")), "");
    assert_eq!(said(&just_started("0 0 10 0 0, 90 0 0 0 0")), "soak until 61000", "nobody is waited for");
}

#[test]
fn it_halts_whatever_it_is_at() {
    let why = Some(causes::BLOCKED.with("version", "1.2.0"));
    for (text, blocked, expected) in [
        ("7 0 0 3 0, 90 0 0 0 0", None, "halt fails_everywhere"),
        ("0 2 85 13 0, 900 0 0 0 0", None, "halt rollout_fails"),
        ("10 0 0 0 0, 90 0 0 0 0", why, "halt rollout_blocked"),
    ] {
        for (life, expected) in [(Life::Running, expected), (Life::Paused, expected), (Life::Over, "")] {
            let blocked = blocked.clone();
            let snapshot = Snapshot { life, blocked, ..running(0, text, 5) };
            assert_eq!(said(&snapshot), expected, "{life:?} {text}");
        }
    }
    assert_eq!(said(&Snapshot { life: Life::Paused, ..running(0, "10 0 0 0 0, 90 0 0 0 0", 5) }), "");
}

#[test]
fn one_that_expires_gives_up_who_waits_and_ends_before_its_last_step() {
    let expired = |snapshot: Snapshot| {
        let shape = Shape { expires_at: Some(1_000), ..snapshot.shape.clone() };
        said(&Snapshot { shape, ..snapshot })
    };
    assert_eq!(expired(running(0, "0 0 10 0 0, 90 0 0 0 0", 0)), "abort rollout_expired");
    assert_eq!(expired(running(1, "0 0 10 0 0, 5 1 84 0 0", 5)), "cancel rollout_device_expired");
    assert_eq!(expired(running(1, "0 0 10 0 0, 0 1 84 0 5", 0)), "");
    assert_eq!(expired(running(1, "0 0 10 0 0, 0 0 85 0 5", 0)), "soak until 61000");
    assert_eq!(
        expired(Snapshot { life: Life::Done, ..running(1, "0 0 9 0 0, 5 0 80 0 0", 1) }),
        "cancel rollout_device_expired"
    );
}

#[test]
fn who_was_offline_gets_it_after_the_end_too() {
    let done = |text, candidates| Snapshot { life: Life::Done, ..running(1, text, candidates) };
    assert_eq!(said(&done("1 0 9 0 0, 5 0 80 0 0", 3)), "offer 2");
    assert_eq!(said(&done("0 0 9 0 0, 0 0 80 0 0", 0)), "");
    // What fails by then is offered to nobody who comes back.
    assert_eq!(said(&done("0 0 0 10 0, 5 0 0 80 0", 1)), "cancel fails_everywhere");
    let blocked = Some(causes::BLOCKED.with("version", "1.2.0"));
    assert_eq!(said(&Snapshot { blocked, ..done("1 0 9 0 0, 5 0 80 0 0", 3) }), "cancel rollout_blocked");
}

#[test]
fn outside_its_window_nobody_is_offered_it_and_no_step_ends() {
    let window = serde_json::from_str(r#"{"from":"01:00","to":"02:00","tz":"UTC"}"#).expect("a window");
    let mut snapshot = running(0, "1 0 9 0 0, 90 0 0 0 0", 1);
    snapshot.shape.window = Some(window);
    assert_eq!(said(&snapshot), "");
    assert_eq!(plan(&snapshot, 3_600_000).len(), 1, "it is one o'clock");
}

/// A fleet of which each device does what it is given, until nothing happens any more.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Succeeds,
    Fails,
    StaysAway,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![6 => Just(Fate::Succeeds), 1 => Just(Fate::Fails), 1 => Just(Fate::StaysAway)]
}

proptest! {
    #[test]
    fn invariant_a_whole_life_keeps_to_its_limits(
        fates in proptest::collection::vec(fate(), 1..60),
        percents in proptest::collection::btree_set(1_u32..100, 0..4),
        max_in_flight in 1_u32..9,
        order in proptest::collection::vec(any::<u16>(), 200),
        blocked_at in proptest::option::of(0_usize..150),
    ) {
        let percents: Vec<u32> = percents.into_iter().chain([100]).collect();
        let shape = Shape { max_in_flight, ..shape(&percents, 0) };
        let ids: Vec<DeviceId> = (0..fates.len()).map(|n| format!("d{n}").parse().expect("an id")).collect();
        let members = members(1, &shape.steps, ids);
        let fate = |device: &DeviceId| fates[device.as_str()[1..].parse::<usize>().expect("a number")];
        let is_there = |device: &DeviceId| !matches!(fate(device), Fate::StaysAway);
        // waiting, in flight, succeeded, failed
        let mut state = vec![0_u8; members.len()];
        let (mut life, mut step, mut opened) = (Life::Running, 0, 0);
        for (round, pick) in order.iter().enumerate() {
            let mut all = vec![StepCounts::default(); percents.len()];
            for ((_, of), state) in members.iter().zip(&state) {
                let count = &mut all[*of];
                *[&mut count.waiting, &mut count.in_flight, &mut count.succeeded, &mut count.failed][usize::from(*state)] += 1;
            }
            let waits = members.iter().zip(&state).filter(|((device, of), state)| **state == 0 && *of < opened && is_there(device));
            let candidates: Vec<_> =
                waits.map(|((device, of), _)| Candidate { device: device.clone(), step: *of }).take(5).collect();
            let is_blocked = blocked_at.is_some_and(|at| round >= at);
            let snapshot = Snapshot {
                shape: shape.clone(),
                version: "1.2.0".into(),
                life,
                step,
                opened,
                soak_until: None,
                blocked: is_blocked.then(|| causes::BLOCKED.with("version", "1.2.0")),
                counts: all,
                candidates,
                is_presence_known: true,
            };
            let actions = plan(&snapshot, 0);
            prop_assert_eq!(&actions, &plan(&snapshot, 0), "the same snapshot, other actions");
            for action in actions {
                match action {
                    Action::Offer(devices) => {
                        prop_assert!(!is_blocked && life != Life::Over, "a blocked version");
                        for device in devices {
                            let at = members.iter().position(|(id, _)| *id == device).expect("a member");
                            prop_assert_eq!(state[at], 0, "two updates for one device");
                            state[at] = 1;
                        }
                    }
                    Action::Open(n) => opened = n + 1,
                    Action::Enter(n) => step = n,
                    Action::Halt(_) | Action::Abort(_) => {
                        prop_assert_eq!(life, Life::Running);
                        life = Life::Over;
                    }
                    Action::Finish => life = Life::Done,
                    Action::Soak(_) | Action::CancelWaiting(_) => {}
                }
            }
            let in_flight: Vec<usize> = (0..state.len()).filter(|at| state[*at] == 1).collect();
            prop_assert!(in_flight.len() <= max_in_flight as usize);
            let begun = state.iter().filter(|state| **state > 0).count() as u64;
            prop_assert!(begun <= shape.steps[step].percent.of(members.len() as u64), "more than its percent");
            if let Some(at) = in_flight.get(usize::from(*pick) % in_flight.len().max(1)) {
                state[*at] = if matches!(fate(&members[*at].0), Fate::Fails) { 3 } else { 2 };
            }
        }
    }
}
