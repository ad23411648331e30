//! The client on a broker that is not ours: a real Mosquitto.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contract::TopicKind;
use updraft_server::mqtt::{BrokerAddress, LinkState};

use crate::device::until;
use crate::mosquitto::Mosquitto;
use crate::rig::{Recorder, id, receive, up};

fn lines(count: usize) -> String {
    (0..count).map(|n| n.to_string() + "\n").collect()
}

fn numbers(recorder: &Recorder) -> Vec<usize> {
    let number = |line: &String| line.rsplit(' ').next().and_then(|word| word.parse().ok());
    recorder.lines().iter().filter_map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_sent_while_the_server_is_down_come_after_the_restart_exactly_once() {
    let mosquitto = Mosquitto::new();
    let recorder = Arc::new(Recorder::default());
    let first = mosquitto.start(&recorder).await;
    mosquitto.device().publish("version", "1.0.0").await;
    until("the first", || recorder.has("Version a 1.0.0")).await;
    first.stop().await;

    mosquitto.device().publish_lines("ota/progress", "1", lines(3000)).await;
    mosquitto.device().publish("ota/status", "SUCCESS").await;
    let recorder = Arc::new(Recorder::default());
    let second = mosquitto.start(&recorder).await;
    // Up means: all of it was handled.
    assert_eq!(recorder.lines().len(), 3001);
    assert_eq!(numbers(&recorder), (0..3000).collect::<Vec<_>>());
    assert!(recorder.has("Status a SUCCESS"));
    // A process that found its old session can publish.
    let mut listener = mosquitto.device().listen("devices/a/ota", &[]).await;
    second.publisher().publish(TopicKind::Trigger, &id("a"), b"go", None).await.unwrap();
    listener.payload("go").await;
    second.stop().await;

    // Acknowledged once is acknowledged for good.
    let recorder = Arc::new(Recorder::default());
    let third = mosquitto.start(&recorder).await;
    assert!(recorder.lines().is_empty(), "{:?}", recorder.lines());
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_handler_did_not_commit_comes_again_after_a_restart() {
    let mosquitto = Mosquitto::new();
    let recorder = Arc::new(Recorder::default());
    let first = mosquitto.start(&recorder).await;
    recorder.failures.store(i64::MAX, Ordering::SeqCst);
    mosquitto.device().publish("ota/status", "FAILED no space").await;
    until("an attempt", || recorder.failures.load(Ordering::SeqCst) < i64::MAX).await;
    first.stop().await;
    assert!(recorder.lines().is_empty());

    let recorder = Arc::new(Recorder::default());
    recorder.failures.store(2, Ordering::SeqCst);
    let second = mosquitto.start(&recorder).await;
    assert_eq!(recorder.lines(), ["Status a FAILED no space"]);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn up_is_said_only_after_the_backlog_was_handled() {
    let mosquitto = Mosquitto::new();
    let recorder = Arc::new(Recorder::default());
    mosquitto.start(&recorder).await.stop().await;
    mosquitto.device().publish_lines("ota/progress", "1", lines(2000)).await;
    let recorder = Arc::new(Recorder::default());
    *recorder.pause.lock().unwrap() = Duration::from_millis(20);
    let mqtt = receive(mosquitto.options(), recorder.clone());
    let mut link = mqtt.link();
    link.wait_for(|state| *state == LinkState::CatchingUp).await.unwrap();
    assert!(recorder.lines().len() < 2000);
    up(&mqtt).await;
    assert_eq!(recorder.lines().len(), 2000);
    mqtt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_is_found_again_and_nothing_acknowledged_is_lost() {
    let mut mosquitto = Mosquitto::new();
    let recorder = Arc::new(Recorder::default());
    let mqtt = mosquitto.start(&recorder).await;
    mosquitto.device().publish("version", "1.0.0").await;
    until("the first", || recorder.has("Version a 1.0.0")).await;
    mosquitto.saved().await;
    mosquitto.kill();
    let mut link = mqtt.link();
    let down = link.wait_for(|state| matches!(state, LinkState::Down { .. })).await.unwrap().clone();
    assert!(matches!(down, LinkState::Down { reason, .. } if !reason.is_empty()));
    // Not connected: the answer is an error within 5 s, and the message does not come later.
    let start = Instant::now();
    let error = mqtt.publisher().publish(TopicKind::Trigger, &id("a"), b"stale", None).await.unwrap_err();
    assert!(error.to_string().contains("connect"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(6));

    mosquitto.restart().await;
    let mut listener = mosquitto.device().listen("devices/a/ota", &[]).await;
    up(&mqtt).await;
    mqtt.publisher().publish(TopicKind::Trigger, &id("a"), b"fresh", None).await.unwrap();
    listener.payload("fresh").await;
    assert_eq!(listener.messages().len(), 1, "{:?}", listener.heard);
    mosquitto.device().publish("version", "2.0.0").await;
    until("the second", || recorder.has("Version a 2.0.0")).await;
    assert_eq!(recorder.lines(), ["Version a 1.0.0", "Version a 2.0.0"]);
    mqtt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_20000_messages_arrives_whole_from_mosquitto_too() {
    let mosquitto = Mosquitto::new();
    let recorder = Arc::new(Recorder::default());
    let mqtt = mosquitto.start(&recorder).await;
    mosquitto.device().publish_lines("ota/progress", "1", lines(20_000)).await;
    until("20,000 messages", || recorder.seen.lock().unwrap().len() >= 20_000).await;
    assert_eq!(numbers(&recorder), (0..20_000).collect::<Vec<_>>());
    mqtt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_contract_is_ignored_and_counted() {
    let mosquitto = Mosquitto::new();
    let recorder = Arc::new(Recorder::default());
    let mqtt = mosquitto.start(&recorder).await;
    for (topic, payload) in [
        ("devices/-bad-/version", "1.0.0".to_owned()),
        ("devices/a/ota/progress", "x".repeat(5000)),
        ("devices/a/version", "1.0.0".to_owned()),
    ] {
        let output = mosquitto.device().try_publish(&["-q", "1", "-t", topic, "-m", &payload]).await;
        assert!(output.status.success());
    }
    until("the good one", || recorder.has("Version a 1.0.0")).await;
    assert_eq!((mqtt.ignored(), recorder.lines().len()), (1, 2));
    mqtt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_broker_is_named_as_the_reason() {
    let mosquitto = Mosquitto::new();
    let mut options = mosquitto.options();
    let url = format!("mqtt://server:wrong@127.0.0.1:{}", mosquitto.port).parse().unwrap();
    options.broker = BrokerAddress::External(url);
    let mqtt = receive(options, Arc::new(Recorder::default()));
    let mut link = mqtt.link();
    let refused =
        |state: &LinkState| matches!(state, LinkState::Down { reason, .. } if reason.contains("refuses us"));
    tokio::time::timeout(Duration::from_secs(10), link.wait_for(refused)).await.unwrap().unwrap();
    let start = Instant::now();
    mqtt.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2));
}
