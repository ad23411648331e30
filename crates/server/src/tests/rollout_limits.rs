//! Who takes part in a rollout, what is refused, and what ends one.

use api::{DeviceChange, RolloutDeviceQuery, RolloutState};
use contract::TopicKind;
use serde_json::{Value, json};

use super::rig::{BY, Rig, id, until};
use super::rollouts::{
    a_while, asked, fleet, joins, product, show, start, triggered, until_state, until_triggered,
};

async fn refused(rig: &Rig, more: Value) -> String {
    let asked = asked(more);
    rig.services().rollouts.start(&BY, &product(), &asked).await.expect_err("refused").to_string()
}

async fn tag(rig: &Rig, device: &str, tag: &str) {
    let change = DeviceChange { tags: Some(vec![tag.to_owned()]), ..DeviceChange::default() };
    rig.services().devices.change(&BY, &id(device), &change).await.expect("tagged");
}

#[tokio::test]
async fn a_device_is_in_one_rollout_at_a_time_and_the_second_says_which() {
    let (rig, devices) = fleet(3).await;
    tag(&rig, "d0", "lab").await;
    let first = start(&rig, json!({"selector": {"tags": ["lab"]}, "promote": false})).await;
    until_triggered(&devices, 1).await;
    rig.release("p", "1.2.0", json!({}));
    let sentence = refused(&rig, json!({"version": "1.2.0"})).await;
    let expected = format!(
        "Rollout {first} of 1.1.0 has 1 of these devices (d0): a device is in one rollout at a time."
    );
    assert!(sentence.starts_with(&expected), "{sentence}");
    let beside = start(&rig, json!({"version": "1.2.0", "selector": {"ids": ["d1", "d2"]}})).await;
    until_triggered(&devices, 3).await;
    devices[0].say(TopicKind::Version, "1.1.0").await;
    until_state(&rig, first, RolloutState::Done).await;
    assert_eq!(show(&rig, beside).await.state, RolloutState::Running);
    // Who joins meanwhile is of the last step, and not taken from the other one.
    let late = joins(&rig, "d9").await;
    for device in &devices[1..] {
        device.say(TopicKind::Version, "1.2.0").await;
    }
    let done = until_state(&rig, beside, RolloutState::Done).await;
    assert_eq!(done.counts.total, 2, "only those were named");
    assert!(late.triggers().is_empty());
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn who_joins_later_is_in_the_last_step() {
    let (rig, mut devices) = fleet(2).await;
    let steps = json!({"steps": [{"percent": 50}, {"percent": 100}], "max_in_flight": 1});
    let id = start(&rig, steps).await;
    let first = until_triggered(&devices, 1).await[0];
    devices.push(joins(&rig, "d2").await);
    a_while().await;
    assert_eq!(show(&rig, id).await.counts.total, 2);
    devices[first].say(TopicKind::Version, "1.1.0").await;
    until("it is known", || async { show(&rig, id).await.counts.total == 3 }).await;
    assert_eq!(show(&rig, id).await.steps[1].counts.total, 2);
    until_triggered(&devices, 2).await;
    // And one that comes after the last step has begun.
    devices.push(joins(&rig, "d3").await);
    for _ in 0..3 {
        let open = triggered(&devices);
        for n in open {
            devices[n].say(TopicKind::Version, "1.1.0").await;
        }
        a_while().await;
    }
    until_triggered(&devices, 4).await;
    devices[3].say(TopicKind::Version, "1.1.0").await;
    assert_eq!(until_state(&rig, id, RolloutState::Done).await.counts.succeeded, 4);
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_preview_says_who_takes_part_and_who_does_not() {
    let (rig, devices) = fleet(6).await;
    devices[0].say(TopicKind::Version, "1.1.0").await;
    devices[1].say(TopicKind::Version, "2.0.0").await;
    devices[2].say(TopicKind::Version, r#"{"version":"1.0.0","chip":"esp32c3"}"#).await;
    devices[3].say(TopicKind::Version, r#"{"version":"1.0.0","slot_bytes":5}"#).await;
    rig.until_version("d1", "2.0.0").await;
    until("all is known", || async { rig.show("d3").await.report.is_some() }).await;
    let rollouts = &rig.services().rollouts;
    let steps = json!({"steps": [{"percent": 1}, {"percent": 100}]});
    let preview = rollouts.preview(&product(), &asked(steps)).await.expect("looked at");
    assert_eq!((preview.devices, preview.online, preview.steps), (2, 2, vec![1, 1]));
    let words: Vec<_> =
        preview.left_out.iter().map(|left_out| (left_out.decision.as_str(), left_out.devices)).collect();
    assert_eq!(words, [("newer_than_channel", 1), ("too_large", 1), ("up_to_date", 1), ("wrong_chip", 1)]);
    assert_eq!(preview.left_out[2].examples[0].as_str(), "d0");
    for (selector, expected) in [
        (json!({"ids": ["d4", "d0", "nobody"]}), 1),
        (json!({"versions": ">=1.0.0, <1.2.0"}), 2),
        (json!({"versions": ">1.0.0"}), 0),
        (json!({"tags": ["lab"]}), 0),
        (json!({"groups": ["lab"]}), 0),
    ] {
        let asked = asked(json!({ "selector": selector }));
        assert_eq!(
            rollouts.preview(&product(), &asked).await.expect("looked at").devices,
            expected,
            "{selector}"
        );
    }
    assert!(triggered(&devices).is_empty());
    assert!(rollouts.list(Some(&product()), None, None).await.expect("listed").items.is_empty());
    let nobody = refused(&rig, json!({"selector": {"ids": ["d0"]}})).await;
    assert!(nobody.starts_with("No device would be offered 1.1.0: 1 were selected"), "{nobody}");
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_words() {
    let (rig, _devices) = fleet(1).await;
    for (more, words) in [
        (json!({"version": "7.7.7"}), "p has no release 7.7.7."),
        (json!({"steps": []}), "A rollout has 1 to 50 steps."),
        (json!({"steps": [{"percent": 50}]}), "the last has 100"),
        (json!({"steps": [{"percent": 50}, {"percent": 50}, {"percent": 100}]}), "higher percent"),
        (json!({"steps": [{"percent": 100, "soak_s": 99_999_999}]}), "is watched for at most"),
        (json!({"max_in_flight": 0}), "At least one device"),
        (json!({"update_timeout_s": 1}), "10 to 86,400 seconds"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "expire before it begins"),
        (json!({"selector": {"tags": vec!["t"; 101]}}), "at most 100 tags"),
        (json!({"selector": {"versions": "^1.0"}}), "no range of versions"),
    ] {
        let sentence = refused(&rig, more.clone()).await;
        assert!(sentence.contains(words), "{more}: {sentence}");
    }
    rig.block("p", r#"{"blocked_versions":["1.1.0"],"reason":{"1.1.0":"too bright"}}"#);
    let blocked = refused(&rig, json!({})).await;
    assert_eq!(blocked, "1.1.0 is blocked, and is not rolled out: too bright");
    rig.block("p", "{");
    let unreadable = refused(&rig, json!({})).await;
    assert!(unreadable.contains("blocked_versions.json"), "{unreadable}");
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn blocking_a_version_halts_its_rollout_in_words() {
    let (rig, devices) = fleet(2).await;
    let id = start(&rig, json!({"max_in_flight": 1})).await;
    until_triggered(&devices, 1).await;
    let version = "1.1.0".parse().expect("a version");
    rig.services().releases.block(&BY, &product(), &version, "smells").await.expect("blocked");
    let halted = until_state(&rig, id, RolloutState::Halted).await;
    assert_eq!(halted.halt_reason.as_deref(), Some("1.1.0 was blocked: smells"));
    a_while().await;
    assert_eq!(triggered(&devices).len(), 1);
    assert!(!show(&rig, id).await.blocked, "it was before");
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn one_that_expires_is_aborted_before_its_last_step_and_done_in_it() {
    let (rig, mut devices) = fleet(2).await;
    let soon = || (chrono::Utc::now() + chrono::Duration::seconds(2)).to_rfc3339();
    let steps = json!([{"percent": 50, "soak_s": 600}, {"percent": 100}]);
    let early = start(&rig, json!({"steps": steps, "expires_at": soon()})).await;
    let first = until_triggered(&devices, 1).await[0];
    devices[first].say(TopicKind::Version, "1.1.0").await;
    let aborted = until_state(&rig, early, RolloutState::Aborted).await;
    assert_eq!(aborted.halt_reason.as_deref(), Some("The rollout expired in step 1 of 2."));
    let other = devices.remove(1 - first);
    drop(other);
    let name = format!("d{}", 1 - first);
    until("it is offline", || async { !rig.show(&name).await.online }).await;
    devices.push(joins(&rig, "d7").await);
    let last = start(&rig, json!({"expires_at": soon()})).await;
    devices[1].until_triggers(1).await;
    devices[1].say(TopicKind::Version, "1.1.0").await;
    let done = until_state(&rig, last, RolloutState::Done).await;
    assert_eq!(done.counts.succeeded, 1);
    until("who waited is given up", || async { show(&rig, last).await.counts.cancelled == 1 }).await;
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_release_that_needs_another_first_is_reached_over_it() {
    let (rig, devices) = fleet(1).await;
    rig.release("p", "1.2.0", json!({"requires": "1.1.0"}));
    let id = start(&rig, json!({"version": "1.2.0"})).await;
    devices[0].until_triggers(1).await;
    assert!(devices[0].triggers()[0].contains("v1.1.0"));
    devices[0].say(TopicKind::Version, "1.1.0").await;
    devices[0].until_triggers(2).await;
    assert!(devices[0].triggers()[1].contains("v1.2.0"));
    assert_eq!(show(&rig, id).await.counts.in_flight, 1);
    devices[0].say(TopicKind::Version, "1.2.0").await;
    assert_eq!(until_state(&rig, id, RolloutState::Done).await.counts.succeeded, 1);
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_count_and_the_list_behind_it_are_the_same_and_pages_go_on() {
    let (rig, devices) = fleet(5).await;
    let id = start(&rig, json!({"halt_at": {"failed_percent": 90, "min_count": 5}})).await;
    until_triggered(&devices, 5).await;
    for device in &devices[..2] {
        device.say(TopicKind::Version, "1.1.0").await;
    }
    devices[2].say(TopicKind::Status, "FAILED verification failed").await;
    until("all is counted", || async { show(&rig, id).await.counts.failed == 1 }).await;
    until("all is counted", || async { show(&rig, id).await.counts.succeeded == 2 }).await;
    for (state, expected) in [
        (None, 5),
        (Some("succeeded"), 2),
        (Some("failed"), 1),
        (Some("not_succeeded"), 1),
        (Some("in_flight"), 2),
        (Some("waiting"), 0),
    ] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let state = state.map(str::to_owned);
            let query = RolloutDeviceQuery { state, cursor, limit: Some(1) };
            let page = rig.services().rollouts.devices(id, &query).await.expect("listed");
            found.extend(page.items.into_iter().map(|device| device.device));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), expected, "{state:?}");
    }
    for (state, cursor) in [(Some("odd"), None), (Some("failed"), Some("x")), (None, Some("a\0"))] {
        let (state, cursor) = (state.map(str::to_owned), cursor.map(str::to_owned));
        let query = RolloutDeviceQuery { state, cursor, limit: None };
        assert!(rig.services().rollouts.devices(id, &query).await.is_err());
    }
    // A device that is removed is counted no more.
    rig.services().devices.remove(&BY, &super::rig::id("d2")).await.expect("removed");
    assert_eq!(show(&rig, id).await.counts.total, 4);
    rig.running.stop().await.expect("stops");
}
