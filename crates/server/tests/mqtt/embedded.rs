//! Who may do what on the embedded broker.

use std::time::{Duration, Instant};

use contract::{TopicKind, VersionTopic};

use crate::rig::{Device, Recorder, Site, client_on, id, until};

const VERSIONS: [[&str; 2]; 2] = [["-V", "mqttv311"], ["-V", "mqttv5"]];

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_device_arrives_and_a_trigger_reaches_it_in_both_protocols() {
    let site = Site::with(&["a", "b"]).await;
    for (device, [flag, version]) in ["a", "b"].into_iter().zip(VERSIONS) {
        let device = site.device(device);
        let mut listener = device.listen(&format!("devices/{}/ota", device.id), &[flag, version]).await;
        site.send(&device.id, "http://127.0.0.1/firmware").await;
        listener.payload("http://127.0.0.1/firmware").await;
        device.publish("version", "1.2.0").await;
        let line = format!("Version {} 1.2.0", device.id);
        until("the version", || site.recorder.has(&line)).await;
    }
    site.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_the_right_password() {
    let site = Site::with(&["a"]).await;
    let topic = "devices/a/version";
    let wrong = Device { port: site.port, id: "a".into(), password: "wrong".into() };
    let unknown = Device { port: site.port, id: "nobody".into(), password: "secret-nobody".into() };
    let server = Device { port: site.port, id: "~server".into(), password: String::new() };
    let not_an_id = Device { port: site.port, id: "a/b".into(), password: "secret-a/b".into() };
    for [flag, version] in VERSIONS {
        for device in [&wrong, &unknown, &server, &not_an_id] {
            let output = device.try_publish(&[flag, version, "-q", "1", "-t", topic, "-m", "1.0.0"]).await;
            assert!(!output.status.success(), "{} {output:?}", device.id);
        }
        let mut anonymous =
            std::process::Command::new(crate::rig::program("mosquitto_pub", "mosquitto-clients"));
        let port = site.port.to_string();
        anonymous.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            flag,
            version,
            "-q",
            "1",
            "-t",
            topic,
            "-m",
            "1.0.0",
        ]);
        assert!(!anonymous.output().unwrap().status.success());
    }
    site.device("a").publish("version", "2.0.0").await;
    until("the good one", || !site.recorder.lines().is_empty()).await;
    assert_eq!(site.recorder.lines(), ["Version a 2.0.0"]);
    assert_eq!(site.doors.count("nobody"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_says_for_another_reaches_nobody() {
    let site = Site::with(&["a", "b"]).await;
    let mut other = site.device("b").listen("devices/b/#", &[]).await;
    for [flag, version] in VERSIONS {
        for topic in
            ["devices/b/version", "devices/b/ota", "devices/b/ota/status", "devices/a/ota", "x", "$SYS/x"]
        {
            for qos in ["0", "1", "2"] {
                site.device("a").try_publish(&[flag, version, "-q", qos, "-t", topic, "-m", "forged"]).await;
            }
        }
    }
    site.device("b").publish("version", "1.0.0").await;
    until("the good one", || !site.recorder.lines().is_empty()).await;
    other.payload("1.0.0").await;
    assert_eq!(site.recorder.lines(), ["Version b 1.0.0"]);
    assert_eq!(other.messages().len(), 1);
    assert_eq!(site.mqtt.ignored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_hears_only_its_own_topics() {
    let site = Site::with(&["a", "b"]).await;
    let device = site.device("a");
    for [flag, version] in VERSIONS {
        for filter in [
            "#",
            "devices/#",
            "devices/+/ota",
            "devices/b/ota",
            "devices/b/#",
            "$SYS/#",
            "$share/g/devices/a/ota",
            "$share/g/devices/+/ota",
        ] {
            assert!(device.refused(filter, &[flag, version]).await, "{filter} {version}");
        }
    }
    let mut own = Vec::new();
    for filter in ["devices/a/ota", "devices/a/ota/control", "devices/a/#", "devices/a/ota/#"] {
        own.push(device.listen(filter, &[]).await);
    }
    site.send("b", "not-for-a").await;
    site.send("a", "for-a").await;
    own[0].payload("for-a").await;
    own[2].payload("for-a").await;
    own[3].payload("for-a").await;
    for listener in &mut own {
        assert!(!listener.messages().iter().any(|line| line.contains("not-for-a")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_will_on_anothers_topic_is_refused_and_an_own_one_is_delivered() {
    let site = Site::with(&["a", "b"]).await;
    let device = site.device("a");
    for [flag, version] in VERSIONS {
        for topic in ["devices/b/presence", "devices/a/ota", "anything"] {
            let output = device
                .try_publish(&[
                    flag,
                    version,
                    "-q",
                    "1",
                    "-t",
                    "devices/a/version",
                    "-m",
                    "1.0.0",
                    "--will-topic",
                    topic,
                    "--will-payload",
                    "forged",
                ])
                .await;
            assert!(!output.status.success(), "{topic}");
        }
        let will = [
            flag,
            version,
            "--will-topic",
            "devices/a/presence",
            "--will-payload",
            "offline",
            "--will-retain",
            "--will-qos",
            "1",
        ];
        let mut listener = device.listen("devices/a/ota", &will).await;
        listener.kill();
        until("the will", || site.recorder.has("Presence a offline")).await;
        site.recorder.seen.lock().unwrap().clear();
    }
    assert!(site.recorder.lines().is_empty());
    // Retained: a client that comes later hears it too.
    let recorder = std::sync::Arc::new(Recorder::default());
    let late = client_on(&site.broker, "late", VersionTopic::default(), recorder.clone()).await;
    until("the retained will", || recorder.has("Presence a offline")).await;
    assert!(recorder.seen.lock().unwrap()[0].retained);
    // And once cleared, nobody does.
    late.publisher().clear_retained(&id("a")).await.unwrap();
    let recorder = std::sync::Arc::new(Recorder::default());
    client_on(&site.broker, "later", VersionTopic::default(), recorder.clone()).await;
    assert!(recorder.lines().is_empty());
}

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
    site.broker.disconnect_device(&id("a")).await;
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
async fn events_are_not_retained_and_reports_are() {
    let site = Site::with(&["a"]).await;
    for (what, payload) in [("ota/status", "SUCCESS"), ("version", "1.0.0"), ("presence", "online")] {
        let topic = format!("devices/a/{what}");
        let output = site.device("a").try_publish(&["-r", "-q", "1", "-t", &topic, "-m", payload]).await;
        assert!(output.status.success());
    }
    until("all three", || site.recorder.lines().len() == 3).await;
    let recorder = std::sync::Arc::new(Recorder::default());
    client_on(&site.broker, "late", VersionTopic::default(), recorder.clone()).await;
    until("the retained ones", || recorder.lines().len() >= 2).await;
    let mut late = recorder.lines();
    late.sort();
    assert_eq!(late, ["Presence a online", "Version a 1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_may_have_its_own_version_topic() {
    let site = Site::with_version_topic(&["a"], "plant/{id}/fw".parse().unwrap()).await;
    let device = site.device("a");
    for topic in ["plant/b/fw", "plant/a/fw"] {
        device.try_publish(&["-q", "1", "-t", topic, "-m", "1.0.0"]).await;
    }
    until("the version", || !site.recorder.lines().is_empty()).await;
    assert_eq!(site.recorder.lines(), ["Version a 1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_every_connection_within_two_seconds() {
    let site = Site::with(&["a"]).await;
    let _listener = site.device("a").listen("devices/a/ota", &[]).await;
    let _silent = std::net::TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    let start = Instant::now();
    site.mqtt.stop().await;
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
    site.mqtt.publisher().publish(TopicKind::Trigger, &id("a"), b"short", short).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let mut back = site.device("a").listen("devices/a/ota", &options).await;
    site.send("a", "fresh").await;
    back.payload("fresh").await;
    assert_eq!(back.messages().len(), 1, "{:?}", back.heard);
}
