//! Attempts that wait: for a device that is offline, or that asked to be left alone; and devices that are kept back.

use api::{CheckRequest, DeviceChange, UpdateState};
use contract::TopicKind;

use super::ready;
use super::rig::{BY, Rig, id, until};
use crate::clock::now_ms;
use crate::tick::Tick;
use crate::updates::How;

async fn when_online(rig: &Rig, expires_s: Option<u32>) -> api::CheckAnswer {
    let request = CheckRequest { when_online: true, expires_s, ..CheckRequest::default() };
    rig.services().updates.check(&BY, &id("d1"), How::of(&request).expect("valid")).await.expect("decides")
}

async fn newest(rig: &Rig) -> api::Update {
    rig.show("d1").await.update.expect("an update")
}

/// `ready`, and the device has gone.
async fn offline() -> (Rig, String) {
    let (rig, device) = ready().await;
    let password = device.password.clone();
    drop(device);
    until("the device is offline", || async { !rig.show("d1").await.online }).await;
    (rig, password)
}

#[tokio::test]
async fn an_update_is_kept_for_a_device_that_is_offline_and_sent_when_it_comes() {
    let (rig, password) = offline().await;
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "offline");
    assert!(answer.reason.contains("nothing is queued. It was last heard at "), "{}", answer.reason);
    let answer = when_online(&rig, Some(3600)).await;
    assert_eq!(answer.decision, "offered");
    assert!(answer.reason.starts_with("1.1.0 is kept for the device, and is sent when it comes, until "));
    let again = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(again.decision, "in_progress");
    assert!(again.reason.starts_with("An update to 1.1.0 is kept for the device"), "{}", again.reason);
    // Longer than a device may be silent.
    let mut tick = Tick::new(rig.services());
    tick.tick(now_ms() + 1_800_000, true).await.expect("ticks");
    let update = newest(&rig).await;
    assert!(update.waiting && update.expires_at.is_some() && update.state == UpdateState::Offered);
    // A server that starts anew keeps it.
    let rig = rig.restart().await;
    let device = rig.connect("d1", &password).await;
    device.until_triggers(1).await;
    rig.until_sent("d1").await;
    let update = newest(&rig).await;
    assert!(!update.waiting && update.expires_at.is_none());
}

#[tokio::test]
async fn an_update_is_cancelled_if_its_device_does_not_come_in_time() {
    let (rig, _) = offline().await;
    when_online(&rig, Some(3600)).await;
    let mut tick = Tick::new(rig.services());
    let begun = now_ms();
    for second in (0..=3_590).step_by(10) {
        tick.tick(begun + second * 1000, true).await.expect("ticks");
    }
    assert_eq!(newest(&rig).await.state, UpdateState::Offered);
    for second in (3_600..=3_610).step_by(10) {
        tick.tick(begun + second * 1000, true).await.expect("ticks");
    }
    let update = newest(&rig).await;
    assert_eq!(update.state, UpdateState::Cancelled);
    assert!(update.reason.expect("a reason").starts_with("the device was not seen in the time"));
}

#[tokio::test]
async fn what_is_kept_can_be_cancelled_and_has_limits() {
    let (rig, password) = offline().await;
    when_online(&rig, None).await;
    rig.services().updates.cancel(&BY, newest(&rig).await.id).await.expect("cancelled");
    let device = rig.connect("d1", &password).await;
    assert_eq!(rig.decision("d1").await, "offered", "nothing is in flight any more");
    device.until_triggers(1).await;
    assert_eq!(device.triggers().len(), 1, "what was cancelled is not sent");
    for (request, what) in [
        (
            CheckRequest { when_online: true, expires_s: Some(59), ..CheckRequest::default() },
            "60 to 2,592,000",
        ),
        (CheckRequest { when_online: true, force: true, ..CheckRequest::default() }, "not both"),
    ] {
        let error = How::of(&request).expect_err("refused").to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[tokio::test]
async fn a_device_that_puts_an_update_off_is_asked_again() {
    let (rig, device) = ready().await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    device.say(TopicKind::Status, "DEFERRED 3600 the lamp is lit").await;
    rig.until_state("d1", UpdateState::Deferred).await;
    let update = newest(&rig).await;
    assert_eq!(update.reason.as_deref(), Some("the lamp is lit"));
    let until = update.deferred_until.expect("a time").timestamp_millis();
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "in_progress");
    assert!(answer.reason.contains("was put off by the device until"), "{}", answer.reason);
    assert!(answer.reason.ends_with(": the lamp is lit"), "{}", answer.reason);
    let mut tick = Tick::new(rig.services());
    tick.tick(until - 1, true).await.expect("ticks");
    assert_eq!(newest(&rig).await.state, UpdateState::Deferred, "silence does not count");
    tick.tick(until, true).await.expect("ticks");
    device.until_triggers(2).await;
    rig.until_sent("d1").await;
    assert_eq!(newest(&rig).await.state, UpdateState::Offered);
    // It takes it.
    device.say(TopicKind::Version, "1.1.0").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
}

#[tokio::test]
async fn force_tells_the_device_before_the_trigger() {
    let (rig, device) = ready().await;
    device.listen(TopicKind::Control).await;
    rig.services().updates.check(&BY, &id("d1"), true).await.expect("decides");
    device.until_triggers(2).await;
    let triggers = device.triggers();
    assert_eq!(triggers[0], "force");
    assert!(triggers[1].contains("/firmware/"), "{triggers:?}");
}

#[tokio::test]
async fn a_device_that_may_sleep_is_not_silent_before_it_has_woken() {
    let (rig, device) = ready().await;
    device.say(TopicKind::Version, r#"{"version":"1.0.0","sleeps_s":7200}"#).await;
    until("the report is known", || async {
        rig.show("d1").await.report.is_some_and(|report| report.sleeps_s == Some(7200))
    })
    .await;
    assert_eq!(rig.decision("d1").await, "offered");
    rig.until_sent("d1").await;
    let (mut tick, begun) = (Tick::new(rig.services()), now_ms());
    for second in (0..=7_200 + 890).step_by(10) {
        tick.tick(begun + second * 1000, true).await.expect("ticks");
    }
    assert_eq!(newest(&rig).await.state, UpdateState::Offered);
    for second in (8_110..=8_130).step_by(10) {
        tick.tick(begun + second * 1000, true).await.expect("ticks");
    }
    assert_eq!(newest(&rig).await.state, UpdateState::TimedOut);
}

async fn change(rig: &Rig, change: DeviceChange) -> api::Device {
    rig.services().devices.change(&BY, &id("d1"), &change).await.expect("changed")
}

#[tokio::test]
async fn a_pinned_device_is_offered_its_version_alone_and_one_on_hold_nothing() {
    let (rig, _device) = ready().await;
    let pin = |pin: Option<&str>| DeviceChange {
        pin: Some(pin.map(str::to_owned)),
        pin_reason: Some("a test rig".to_owned()),
        ..DeviceChange::default()
    };
    for (to, shown, sentence) in [
        ("hold", "hold", "server keeps the device as it is: a test rig"),
        ("v1.0", "1.0.0", "server pinned the device to 1.0.0: a test rig"),
    ] {
        let device = change(&rig, pin(Some(to))).await;
        assert_eq!((device.pin.as_deref(), device.pin_by.as_deref()), (Some(shown), Some("server")));
        let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
        assert_eq!((answer.decision.as_str(), answer.reason.as_str()), ("held", sentence));
    }
    let listed = async |pin: &str| {
        let query = api::DeviceQuery { pin: Some(pin.to_owned()), ..api::DeviceQuery::default() };
        rig.services().devices.list(&query).await.expect("listed").items.len()
    };
    assert_eq!((listed("1.0.0").await, listed("any").await, listed("hold").await), (1, 1, 0));
    assert_eq!(change(&rig, pin(None)).await.pin_by, None);
    assert_eq!(listed("any").await, 0);
    change(&rig, pin(Some("1.1.0"))).await;
    assert_eq!(rig.decision("d1").await, "offered");
    let devices = &rig.services().devices;
    for bad in ["build-77", ""] {
        devices.change(&BY, &id("d1"), &pin(Some(bad))).await.expect_err("no version");
    }
}

#[tokio::test]
async fn a_device_is_in_one_group_at_most() {
    let (rig, _device) = ready().await;
    let group = |group: Option<&str>| DeviceChange {
        group: Some(group.map(str::to_owned)),
        ..DeviceChange::default()
    };
    assert_eq!(change(&rig, group(Some(" lab "))).await.group.as_deref(), Some("lab"));
    let listed = async |group: &str| {
        let query = api::DeviceQuery { group: Some(group.to_owned()), ..api::DeviceQuery::default() };
        rig.services().devices.list(&query).await.expect("listed").items.len()
    };
    assert_eq!((listed("lab").await, listed("field").await), (1, 0));
    assert_eq!(change(&rig, group(Some("field"))).await.group.as_deref(), Some("field"));
    assert_eq!(change(&rig, DeviceChange::default()).await.group.as_deref(), Some("field"), "it stays");
    assert_eq!(change(&rig, group(None)).await.group, None);
    let long = "x".repeat(65);
    for bad in ["", " ", "a\nb", &long] {
        rig.services().devices.change(&BY, &id("d1"), &group(Some(bad))).await.expect_err("no group");
    }
}

#[tokio::test]
async fn a_device_whose_image_calls_itself_otherwise_is_not_sent_it_again() {
    let (rig, device) = ready().await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    device.say(TopicKind::Progress, r#"{"phase":"download","done":1}"#).await;
    device.say(TopicKind::Status, "SUCCESS").await;
    device.say(TopicKind::Version, "1.0.9").await;
    rig.until_state("d1", UpdateState::Failed).await;
    let reason = newest(&rig).await.reason.expect("a reason");
    assert!(reason.starts_with("the device runs 1.0.9 now: the image of 1.1.0 calls itself so"), "{reason}");
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "held");
    assert!(answer.reason.starts_with("The device installed 1.1.0, and reports 1.0.9 since"));
    // Another version there, and it is offered again; another image, too.
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    assert_eq!(rig.decision("d1").await, "offered");
}

#[tokio::test]
async fn a_device_that_cannot_be_read_is_told_from_one_that_said_nothing() {
    let (rig, device) = ready().await;
    let other = rig.device("d2", "p").await;
    let decision = rig.services().updates.check(&BY, &id("d2"), false).await.expect("decides");
    assert_eq!(decision.decision, "unknown_version");
    assert!(decision.reason.starts_with("The device has not reported a version yet."));
    other.say(TopicKind::Version, r#"{"firmware":"1.0.0"}"#).await;
    until("the message was counted", || async { rig.show("d2").await.unreadable.is_some() }).await;
    let decision = rig.services().updates.check(&BY, &id("d2"), false).await.expect("decides");
    assert_eq!(decision.decision, "unknown_version");
    assert!(decision.reason.contains("1 of its messages could not be, the last at "), "{}", decision.reason);
    drop(device);
}
