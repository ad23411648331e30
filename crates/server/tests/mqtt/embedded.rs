//! The server's client on the embedded broker.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use contract::TopicKind;

use crate::device::until;
use crate::rig::{Site, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_device_arrives_and_a_trigger_reaches_it() {
    let site = Site::start().await;
    let device = site.device("a");
    let mut listener = device.listen("devices/a/ota", &[]).await;
    let url = b"http://127.0.0.1/firmware";
    site.mqtt.publisher().publish(TopicKind::Trigger, &id("a"), url, None).await.unwrap();
    listener.payload("http://127.0.0.1/firmware").await;
    device.publish("version", "1.2.0").await;
    until("the version", || site.recorder.has("Version a 1.2.0")).await;
    let start = Instant::now();
    site.mqtt.stop().await;
    site.broker.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

fn numbered(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, r#"{{"phase":"download","done":{n},"total":{count}}}"#).unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_20000_messages_arrives_whole_and_in_order() {
    let site = Site::start().await;
    *site.recorder.pause.lock().unwrap() = Duration::from_millis(20);
    for (device, qos) in [("a", "1"), ("b", "0")] {
        site.recorder.seen.lock().unwrap().clear();
        site.device(device).publish_lines("ota/progress", qos, numbered(20_000)).await;
        until("20,000 messages", || site.recorder.seen.lock().unwrap().len() >= 20_000).await;
        let lines = site.recorder.lines();
        assert_eq!(lines.len(), 20_000);
        for (n, line) in lines.iter().enumerate() {
            assert!(line.contains(&format!("\"done\":{n},")), "{n}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_handler_loses_nothing_and_the_order_stays() {
    let site = Site::start().await;
    site.recorder.failures.store(3, std::sync::atomic::Ordering::SeqCst);
    site.device("a").publish_lines("ota/progress", "1", numbered(3000)).await;
    until("3,000 messages", || site.recorder.seen.lock().unwrap().len() >= 3000).await;
    let lines = site.recorder.lines();
    assert!(lines.iter().enumerate().all(|(n, line)| line.contains(&format!("\"done\":{n},"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_longer_than_the_contract_is_cut() {
    let site = Site::start().await;
    let longer_than_the_contract = "y".repeat(5000);
    site.device("a").publish("ota/progress", &longer_than_the_contract).await;
    site.device("a").publish("version", "1.0.0").await;
    until("both", || site.recorder.lines().len() >= 2).await;
    // Nobody reads more of it, and it cannot be read so: that is told to whoever looks after the device.
    let cut = format!("Progress a {}", "y".repeat(4096));
    assert_eq!(site.recorder.lines(), [cut.as_str(), "Version a 1.0.0"]);
    assert_eq!(site.mqtt.ignored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_device_left_retained_is_cleared() {
    let site = Site::start().await;
    let will = ["--will-topic", "devices/a/presence", "--will-payload", "offline", "--will-retain"];
    let _listener = site.device("a").listen("devices/a/ota", &will).await;
    site.broker.disconnect_device(&id("a"));
    until("the will", || site.recorder.has("Presence a offline")).await;
    site.mqtt.publisher().clear_retained(&id("a")).await.unwrap();
    let mut late = site.device("a").listen("devices/a/#", &[]).await;
    site.device("a").publish("version", "1.0.0").await;
    late.payload("1.0.0").await;
    assert_eq!(late.messages().len(), 1, "{:?}", late.heard);
}
