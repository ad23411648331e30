extern crate std;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use std::collections::BTreeSet;

use contract::{ChannelName, Version};
use proptest::prelude::*;

use super::*;
use crate::decision::{ChannelView, Reach};

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn id(number: usize) -> DeviceId {
    format!("d{number}").parse().expect("an id")
}

fn product() -> ProductName {
    "p".parse().expect("a product")
}

fn artifact(text: &str) -> Artifact {
    let key = text.to_string();
    Artifact {
        version: version(text),
        key,
        size: 10,
        sha256: None,
        chip: None,
        chip_revisions: None,
        requires: None,
    }
}

fn channel(target: &str, blocked: &[&str]) -> StoreView {
    StoreView::Channel(ChannelView {
        channel: ChannelName::production(),
        target: Some(artifact(target)),
        blocked: Blocked::Versions(blocked.iter().map(|text| (version(text), None)).collect()),
        blocked_images: BTreeMap::new(),
        releases: vec![],
    })
}

fn asks(running: &str) -> Subject {
    let view = DeviceView {
        version: Some(version(running)),
        image: crate::Image::default(),
        chip: None,
        slot_bytes: None,
        chip_revision: None,
        in_progress: None,
        reach: Reach::Online,
        quarantined: vec![],
        refused: vec![],
        kept: None,
    };
    Subject { product: Some(product()), flight: None, asks: Some(view) }
}

fn flies(state: UpdateState, trigger: Trigger, heard_at: i64) -> Subject {
    let (from, to, delivery) = (Some(version("1.0.0")), version("1.1.0"), crate::Delivery::Fetched);
    let view = UpdateView { state, from, to, images: vec![], delivery, running: None, is_believed: false };
    let flight = Some(Flight { update: 7, view, heard_at, trigger, heard: None, expires_at: None });
    Subject { product: Some(product()), flight, asks: None }
}

fn planned(subject: Subject, store: Option<StoreView>, timeout_ms: Option<i64>) -> String {
    let stores = store.map(|store| (product(), store)).into_iter().collect();
    let actions = plan(&Snapshot { devices: [(id(1), subject)].into(), stores, timeout_ms }, 1_000);
    let word = |action: &Action| match action {
        Action::Offer { artifact, .. } => format!("offer {}", artifact.version),
        Action::Answer { decision, .. } => format!("answer {}", decision.as_str()),
        Action::Send { update } => format!("send {update}"),
        Action::Withhold { update } => format!("withhold {update}"),
        Action::End { update, change } => format!("end {update} {}", change.state),
    };
    actions.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn who_asks_is_offered_or_told_why_not() {
    let store = || Some(channel("1.1.0", &[]));
    for (subject, store, expected) in [
        (asks("1.0.0"), store(), "offer 1.1.0"),
        (asks("1.1.0"), store(), "answer up_to_date"),
        (asks("1.0.0"), Some(channel("1.1.0", &["1.1.0"])), "answer blocked"),
        (asks("1.0.0"), None, "answer store_unavailable"),
        (asks("1.0.0"), Some(StoreView::NoImage(causes::NO_PRODUCT.cause())), "answer no_release"),
        (Subject { product: None, ..asks("1.0.0") }, store(), "answer no_release"),
        (
            Subject { asks: asks("1.0.0").asks, ..flies(UpdateState::Offered, Trigger::Sent, 999) },
            store(),
            "answer in_progress",
        ),
        (Subject::default(), store(), ""),
    ] {
        assert_eq!(planned(subject.clone(), store, None), expected, "{subject:?}");
    }
}

#[test]
fn a_trigger_is_sent_unless_the_version_was_blocked_meanwhile() {
    use UpdateState::{Downloading, Offered};
    let (first, again) = (Trigger::Waits { again: false }, Trigger::Waits { again: true });
    let (open, blocked) = (|| Some(channel("1.1.0", &[])), || Some(channel("1.1.0", &["1.1.0"])));
    for (state, trigger, store, expected) in [
        (Offered, first, open(), "send 7"),
        (Downloading, again, open(), "send 7"),
        (Offered, Trigger::Sent, open(), ""),
        (Offered, first, None, ""),
        (Offered, first, Some(StoreView::Unavailable(causes::STORE_TIMEOUT.cause())), ""),
        (Offered, first, blocked(), "end 7 cancelled"),
        (Offered, again, blocked(), "withhold 7"),
        (Downloading, first, blocked(), "withhold 7"),
    ] {
        assert_eq!(planned(flies(state, trigger, 999), store, None), expected, "{state} {trigger:?}");
    }
}

#[test]
fn silence_ends_what_was_not_heard_of_for_the_timeout() {
    for (state, heard_at, timeout_ms, expected) in [
        (UpdateState::Offered, 900, Some(100), "end 7 timed_out"),
        (UpdateState::Restarting, 0, Some(100), "end 7 timed_out"),
        (UpdateState::Offered, 901, Some(100), ""),
        (UpdateState::Offered, 0, None, ""),
        (UpdateState::Succeeded, 0, Some(100), ""),
        (UpdateState::Deferred, 0, Some(100), ""),
    ] {
        assert_eq!(planned(flies(state, Trigger::Sent, heard_at), None, timeout_ms), expected, "{state}");
    }
}

#[test]
fn silence_tells_whether_the_trigger_was_ever_sent() {
    use UpdateState::{Downloading, Offered};
    for (state, trigger, expected) in [
        (Offered, Trigger::Sent, "silent_after_trigger"),
        (Offered, Trigger::Waits { again: true }, "silent_after_trigger"),
        (Offered, Trigger::Waits { again: false }, "trigger_not_sent"),
        (Downloading, Trigger::Waits { again: false }, "silent_in_download"),
    ] {
        let devices = [(id(0), flies(state, trigger, 0))].into();
        let actions = plan(&Snapshot { devices, timeout_ms: Some(100), ..Snapshot::default() }, 2_000);
        let [Action::End { change: Change { why: Some(Why::Cause(cause)), .. }, .. }] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(cause.code, expected);
    }
}

#[test]
fn what_is_kept_for_a_device_that_does_not_come_is_cancelled_and_what_was_sent_is_not() {
    for (trigger, expected) in [
        (Trigger::Waits { again: false }, ("cancelled", "not_seen_in_time")),
        (Trigger::Sent, ("timed_out", "silent_after_trigger")),
    ] {
        let mut subject = flies(UpdateState::Offered, trigger, 0);
        subject.flight = subject.flight.map(|flight| Flight { expires_at: Some(100), ..flight });
        let snapshot =
            Snapshot { devices: [(id(0), subject)].into(), timeout_ms: Some(100), ..Snapshot::default() };
        let [Action::End { change: Change { state, why: Some(Why::Cause(cause)) }, .. }] =
            &plan(&snapshot, 2_000)[..]
        else {
            panic!("nothing ended");
        };
        assert_eq!((state.as_str(), &*cause.code), expected);
    }
}

fn any_subject() -> impl Strategy<Value = Subject> {
    let trigger = prop_oneof![Just(Trigger::Sent), any::<bool>().prop_map(|again| Trigger::Waits { again })];
    let flight = proptest::option::of((0_usize..9, trigger, 0_i64..2_000));
    let asked = proptest::option::of((0_u8..4, 0_usize..3));
    (any::<bool>(), flight, asked).prop_map(|(has_product, flight, asked)| {
        let flight = flight
            .and_then(|(state, trigger, heard_at)| flies(UpdateState::ALL[state], trigger, heard_at).flight);
        let asks = asked.and_then(|(minor, reach)| {
            let reach = [Reach::Online, Reach::Silent, Reach::Forced][reach];
            asks(&format!("1.{minor}.0")).asks.map(|view| DeviceView { reach, ..view })
        });
        Subject { product: has_product.then(product), flight, asks }
    })
}

proptest! {
    #[test]
    fn invariant_no_device_has_two_updates_and_no_blocked_version_is_sent(
        subjects in proptest::collection::vec(any_subject(), 0..12),
        target in 0_u8..4,
        blocked in proptest::collection::btree_set(0_u8..4, 0..4),
        timeout_ms in proptest::option::of(0_i64..2_000),
    ) {
        let blocked: Vec<_> = blocked.iter().map(|minor| format!("1.{minor}.0")).collect();
        let names: Vec<_> = blocked.iter().map(String::as_str).collect();
        let store = channel(&format!("1.{target}.0"), &names);
        let devices = subjects.iter().cloned().enumerate().map(|(n, subject)| (id(n), subject)).collect();
        let snapshot = Snapshot { devices, stores: [(product(), store)].into(), timeout_ms };
        let actions = plan(&snapshot, 2_000);
        prop_assert_eq!(&actions, &plan(&snapshot, 2_000));
        let mut offered = BTreeSet::new();
        for action in &actions {
            match action {
                Action::Offer { device, artifact } => {
                    prop_assert!(offered.insert(device.clone()), "offered twice");
                    prop_assert!(snapshot.devices[device].flight.is_none(), "one is in flight already");
                    prop_assert!(!names.contains(&artifact.version.as_str()), "blocked");
                }
                Action::Send { .. } => prop_assert!(!names.contains(&"1.1.0"), "blocked"),
                Action::Answer { decision, .. } => prop_assert!(!matches!(decision, Decision::Offered(_))),
                Action::Withhold { .. } | Action::End { .. } => {}
            }
        }
        let answers = actions.iter().filter(|a| matches!(a, Action::Offer { .. } | Action::Answer { .. }));
        prop_assert_eq!(answers.count(), subjects.iter().filter(|subject| subject.asks.is_some()).count());
    }
}
