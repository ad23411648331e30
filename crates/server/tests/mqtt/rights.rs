//! Brokers that take a subscription and deliver nothing of it, and brokers that refuse a message: a real Mosquitto with access
//! lists.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::TopicKind;
use updraft_server::mqtt::{LinkState, NotPublished};

use crate::device::until;
use crate::mosquitto::Mosquitto;
use crate::rig::{Recorder, id, receive, up};

/// What docs/brokers.md asks for, without any right to clear what devices left.
const LEAST: &str = "user server\ntopic read devices/+/version\ntopic read devices/+/presence\n\
    topic read devices/+/ota/#\ntopic write devices/+/ota\ntopic write devices/+/ota/control\n\
    user a\ntopic write devices/a/#\n";
const ALL: &str = "user server\ntopic readwrite devices/#\nuser a\ntopic write devices/a/#\n";

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_which_nothing_is_delivered_are_named_within_seconds_until_they_are() {
    for (rights, missing) in [
        (
            "user server\ntopic write devices/#\n",
            &["devices/+/version", "devices/+/ota/status", "devices/+/presence", "/ota/control"][..],
        ),
        (
            "user server\ntopic readwrite devices/+/ota/#\ntopic readwrite devices/+/presence\n\
             topic write devices/+/version\n",
            &["devices/+/version"],
        ),
        (
            "user server\ntopic readwrite devices/+/version\ntopic readwrite devices/+/presence\n\
             topic write devices/#\ntopic readwrite devices/+/ota/control\n\
             topic readwrite devices/+/ota/progress\ntopic readwrite devices/+/ota/request\n",
            &["devices/+/ota/status"],
        ),
    ] {
        let mosquitto = Mosquitto::with_rights(Some(rights));
        let begun = Instant::now();
        let mqtt = receive(mosquitto.options(), Arc::new(Recorder::default()));
        until("it is noticed", || mqtt.delivery().problem().is_some()).await;
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        let (_, topics) = mqtt.delivery().problem().unwrap();
        assert!(missing.iter().all(|topic| topics.contains(topic)), "{topics}");
        assert!(missing.len() > 1 || topics == missing[0], "{topics}");
        // It works as well as it can.
        up(&mqtt).await;
        mosquitto.grant(ALL);
        until("it is delivered", || mqtt.delivery().problem().is_none()).await;
        mqtt.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_not_needed_is_not_asked_for() {
    let mosquitto = Mosquitto::with_rights(Some(LEAST));
    let recorder = Arc::new(Recorder::default());
    let begun = Instant::now();
    let mqtt = mosquitto.start(&recorder).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "the marker came: {:?}", begun.elapsed());
    mosquitto.device().publish("version", "1.0.0").await;
    until("the version", || recorder.has("Version a 1.0.0")).await;
    // Longer than what is missing is waited for.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(mqtt.delivery().problem(), None);
    assert_eq!(recorder.lines().len(), 1, "what the server says to itself is no device's");
    mqtt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_write_nothing_to_itself_catches_up_all_the_same() {
    let mosquitto = Mosquitto::with_rights(Some(
        "user server\ntopic read devices/#\ntopic write devices/+/ota\nuser a\ntopic write devices/a/#\n",
    ));
    let recorder = Arc::new(Recorder::default());
    let mqtt = mosquitto.start(&recorder).await;
    assert_eq!((*mqtt.link().borrow()).clone(), LinkState::Up);
    assert_eq!(mqtt.delivery().problem(), None, "nothing is known");
    mqtt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_told_from_one_that_is_lost() {
    let mosquitto = Mosquitto::with_rights(Some("user server\ntopic read devices/#\n"));
    let mqtt = receive(mosquitto.options(), Arc::new(Recorder::default()));
    let refused = mqtt.publisher().publish(TopicKind::Trigger, &id("a"), b"go", None).await;
    assert!(matches!(refused, Err(NotPublished::Refused("not authorized"))), "{refused:?}");
    mqtt.stop().await;
}
