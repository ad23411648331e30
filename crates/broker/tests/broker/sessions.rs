//! Sessions: whose they are, how long they live, and who is told.

use std::time::{Duration, Instant};

use contract::TopicKind;

use crate::VERSIONS;
use crate::device::until;
use crate::rig::{Site, id};

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_with_the_same_client_id_both_stay_and_both_hear() {
    let site = Site::with(&["a", "b"]).await;
    for [flag, version] in VERSIONS {
        let options = [flag, version, "-i", "esp32"];
        let mut a = site.device("a").listen("devices/a/ota", &options).await;
        let mut b = site.device("b").listen("devices/b/ota", &options).await;
        site.send("a", "one").await;
        site.send("b", "two").await;
        a.payload("one").await;
        b.payload("two").await;
        assert!(a.alive() && b.alive());
        assert_eq!((site.doors.count("a"), site.doors.count("b")), (1, 1));
    }
    // And without any client id.
    let mut a = site.device("a").listen("devices/a/ota", &["-V", "mqttv5"]).await;
    let mut b = site.device("b").listen("devices/b/ota", &["-V", "mqttv311"]).await;
    site.send("a", "three").await;
    site.send("b", "four").await;
    a.payload("three").await;
    b.payload("four").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_anothers_session() {
    let site = Site::with(&["a", "b"]).await;
    for (flag, version, expiry) in
        [("-V", "mqttv311", [].as_slice()), ("-V", "mqttv5", ["-x", "600"].as_slice())]
    {
        let mut options = vec![flag, version, "-c", "-i", "esp32"];
        options.extend_from_slice(expiry);
        let mut a = site.device("a").listen("devices/a/ota", &options).await;
        a.end();
        until("a is gone", || site.doors.count("a") == 0).await;
        site.send("a", "kept-for-a").await;
        let mut b = site.device("b").listen("devices/b/ota", &options).await;
        site.send("b", "for-b").await;
        b.payload("for-b").await;
        assert_eq!(b.messages().len(), 1, "{:?}", b.heard);
        // Its own session, with what was kept, is still there.
        let mut a = site.device("a").listen("devices/a/ota", &options).await;
        a.payload("kept-for-a").await;
        assert!(b.alive());
        a.end();
        b.end();
        until("both are gone", || site.doors.count("a") + site.doors.count("b") == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_counts_as_connected_while_one_of_its_connections_lives() {
    let site = Site::with(&["a"]).await;
    let mut one = site.device("a").listen("devices/a/ota", &["-i", "one"]).await;
    assert_eq!(site.doors.count("a"), 1);
    let mut two = site.device("a").listen("devices/a/ota", &["-i", "two"]).await;
    one.kill();
    // The same client id takes the connection over, and the device was never away.
    let mut again = site.device("a").listen("devices/a/ota", &["-i", "two"]).await;
    assert_eq!(site.doors.count("a"), 1);
    two.kill();
    again.end();
    until("all are gone", || site.doors.count("a") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_device_is_thrown_out_and_its_queue_forgotten() {
    let site = Site::with(&["a"]).await;
    let options = [
        "-V",
        "mqttv311",
        "-c",
        "-i",
        "esp32",
        "--will-topic",
        "devices/a/presence",
        "--will-payload",
        "offline",
        "--will-retain",
    ];
    let mut old = site.device("a").listen("devices/a/ota", &options).await;
    old.end();
    until("gone", || site.doors.count("a") == 0).await;
    site.send("a", "old").await;
    let mut live = site.device("a").listen("devices/a/ota/control", &["-i", "live", "-V", "mqttv5"]).await;
    site.doors.registered.lock().unwrap().clear();
    site.broker.disconnect_device(&id("a"));
    assert_eq!(site.doors.count("a"), 0);
    let refused = site.device("a").try_publish(&["-q", "1", "-t", "devices/a/version", "-m", "1.0.0"]).await;
    assert!(!refused.status.success());
    live.kill();
    site.doors.registered.lock().unwrap().push("a".to_owned());
    let mut again = site.device("a").listen("devices/a/ota", &options).await;
    site.send("a", "new").await;
    again.payload("new").await;
    assert_eq!(again.messages().len(), 1, "{:?}", again.heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_every_connection_within_two_seconds() {
    let site = Site::with(&["a"]).await;
    let _listener = site.device("a").listen("devices/a/ota", &[]).await;
    let _silent = std::net::TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    let start = Instant::now();
    site.broker.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(site.doors.count("a"), 0);
    // The port is free again at once.
    std::net::TcpListener::bind(("127.0.0.1", site.port)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_expires_while_its_device_is_away() {
    let site = Site::with(&["a"]).await;
    let options = ["-V", "mqttv5", "-c", "-i", "esp32", "-x", "600"];
    site.device("a").listen("devices/a/ota", &options).await.end();
    until("gone", || site.doors.count("a") == 0).await;
    let short = Some(Duration::from_secs(1));
    site.server.publish(TopicKind::Trigger, "a", "short", short, false).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let mut back = site.device("a").listen("devices/a/ota", &options).await;
    site.send("a", "fresh").await;
    back.payload("fresh").await;
    assert_eq!(back.messages().len(), 1, "{:?}", back.heard);
}
