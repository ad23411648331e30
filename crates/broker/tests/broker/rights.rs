//! Who may do what.

use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::VersionTopic;
use updraft_broker::NotAdmitted;

use crate::VERSIONS;
use crate::device::{Device, until};
use crate::raw::{Raw, connect, field, hello, packet};
use crate::rig::{Server, Site};

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
        until("the version", || site.server.has(&line)).await;
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
            std::process::Command::new(crate::device::program("mosquitto_pub", "mosquitto-clients"));
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
    until("the good one", || !site.server.lines().is_empty()).await;
    assert_eq!(site.server.lines(), ["Version a 2.0.0"]);
    assert_eq!(site.doors.count("nobody"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_can_say_who_is_registered_a_device_is_asked_to_come_again() {
    let site = Site::with(&["a"]).await;
    site.doors.is_away.store(true, Ordering::Relaxed);
    let refused = |level| {
        let mut raw = Raw::open(site.port);
        raw.send(&connect(level, "a", true));
        raw.packet()
    };
    assert_eq!(refused(4), [0x20, 2, 0, 3], "server unavailable");
    assert_eq!(refused(5)[2..4], [0, 0x88], "server unavailable");
    site.doors.is_away.store(false, Ordering::Relaxed);
    assert_eq!(refused(4), [0x20, 2, 0, 0], "accepted");
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
    until("the good one", || !site.server.lines().is_empty()).await;
    other.payload("1.0.0").await;
    assert_eq!(site.server.lines(), ["Version b 1.0.0"]);
    assert_eq!(other.messages().len(), 1);
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
        until("the will", || site.server.has("Presence a offline")).await;
        site.server.seen.lock().unwrap().clear();
    }
    assert!(site.server.lines().is_empty());
    // Retained: a client that comes later hears it too.
    let late = Server::on(&site.broker, "late", VersionTopic::default()).await;
    until("the retained will", || late.has("Presence a offline")).await;
    assert!(late.seen.lock().unwrap()[0].retained);
    // And once cleared, nobody does.
    late.clear_retained("a").await;
    let later = Server::on(&site.broker, "later", VersionTopic::default()).await;
    assert!(later.lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_not_retained_and_reports_are() {
    let site = Site::with(&["a"]).await;
    for (what, payload) in [("ota/status", "SUCCESS"), ("version", "1.0.0"), ("presence", "online")] {
        let topic = format!("devices/a/{what}");
        let output = site.device("a").try_publish(&["-r", "-q", "1", "-t", &topic, "-m", payload]).await;
        assert!(output.status.success());
    }
    until("all three", || site.server.lines().len() == 3).await;
    let late = Server::on(&site.broker, "late", VersionTopic::default()).await;
    until("the retained ones", || late.lines().len() >= 2).await;
    let mut late = late.lines();
    late.sort();
    assert_eq!(late, ["Presence a online", "Version a 1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_may_have_its_own_version_topic() {
    let site = Site::start(&["a"], "plant/{id}/fw".parse().unwrap(), Duration::ZERO).await;
    let device = site.device("a");
    for topic in ["plant/b/fw", "plant/a/fw"] {
        device.try_publish(&["-q", "1", "-t", topic, "-m", "1.0.0"]).await;
    }
    until("the version", || !site.server.lines().is_empty()).await;
    assert_eq!(site.server.lines(), ["Version a 1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_named_with_what_is_wrong() {
    use NotAdmitted::{InvalidId, Mqtt31, NoPassword, Password, Will};
    let site = Site::with(&["a"]).await;
    let old = [&field(b"MQIsdp")[..], &[3, 0xc2, 0, 60], &field(b"old"), &field(b"a"), &field(b"secret-a")];
    for (bytes, answer) in [
        (packet(0x10, &old.concat()), 1),
        (hello(4, 0xc2, 60, &[], &["c", "b", "secret-b"]), 4),
        (hello(4, 0xc2, 60, &[], &["c", "a b", "x"]), 4),
        (hello(4, 0x02, 60, &[], &["esp32"]), 4),
        (hello(4, 0xc6, 60, &[], &["c", "devices/b/presence", "offline", "a", "secret-a"]), 5),
    ] {
        let mut raw = Raw::open(site.port);
        raw.send(&bytes);
        raw.expect(&[0x20, 2, 0, answer]);
    }
    let named = [("old", Mqtt31), ("b", Password), ("a b", InvalidId), ("esp32", NoPassword), ("a", Will)];
    assert_eq!(*site.doors.refused.lock().unwrap(), named.map(|(who, why)| (who.to_owned(), why)));
    assert!(Mqtt31.to_string().contains("3.1.1"));
}
