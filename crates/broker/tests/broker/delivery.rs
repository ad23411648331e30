//! Quality of service, in bytes.

use std::time::{Duration, Instant};

use contract::TopicKind;

use crate::device::until;
use crate::raw::{Raw, connect, field, packet, publish};
use crate::rig::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_qos_2_is_taken_once() {
    let site = Site::with(&["a"]).await;
    let (mut device, _) = Raw::connected(site.port, 4, "a", true);
    let message = publish(2, "devices/a/ota/status", 7, b"SUCCESS");
    for _ in 0..2 {
        device.send(&message);
        device.expect(&[0x50, 2, 0, 7]);
    }
    for _ in 0..2 {
        device.send(&[0x62, 2, 0, 7]);
        device.expect(&[0x70, 2, 0, 7]);
    }
    device.send(&message);
    device.expect(&[0x50, 2, 0, 7]);
    until("both", || site.server.lines().len() >= 2).await;
    assert_eq!(site.server.lines(), ["Status a SUCCESS", "Status a SUCCESS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_releases_is_closed() {
    let site = Site::with(&["a"]).await;
    let (mut device, _) = Raw::connected(site.port, 4, "a", true);
    for id in 1..=65 {
        device.send(&publish(2, "devices/a/ota/status", id, b"SUCCESS"));
    }
    for id in 1..=64 {
        device.expect(&[0x50, 2, 0, id]);
    }
    until("the end", || site.doors.count("a") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_comes_again_with_its_id() {
    let site = Site::with(&["a"]).await;
    for level in [4, 5] {
        // What an earlier round left is not wanted; in MQTT 3.1.1 a clean session would not outlive its connection.
        let (mut device, _) = Raw::connected(site.port, level, "a", level == 5);
        let topic = field(b"devices/a/ota");
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        device.send(&packet(0x82, &[&[0, 1][..], properties, &topic, &[1]].concat()));
        device.packet();
        site.send("a", "go").await;
        let first = device.packet();
        assert_eq!(first[0], 0x32);
        // As if the line had been cut.
        drop(device);
        until("it is gone", || site.doors.count("a") == 0).await;
        let (mut device, welcome) = Raw::connected(site.port, level, "a", false);
        assert_eq!(welcome[2], 1, "the session is there");
        let again = device.packet();
        assert_eq!((again[0], &again[1..]), (0x3a, &first[1..]));
        let id = &first[first.len() - 2 - "go".len() - properties.len()..][..2];
        device.send(&[&[0x40, 2], id].concat());
        device.send(&[0xc0, 0]);
        device.expect(&[0xd0, 0]);
        drop(device);
        until("it is gone again", || site.doors.count("a") == 0).await;
        let (mut device, _) = Raw::connected(site.port, level, "a", false);
        device.send(&[0xc0, 0]);
        device.expect(&[0xd0, 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_away_gets_the_newest_thousand() {
    let site = Site::with(&["a"]).await;
    let (mut device, _) = Raw::connected(site.port, 4, "a", false);
    device.subscribe("a");
    device.send(&[0xe0, 0]);
    until("it is gone", || site.doors.count("a") == 0).await;
    for n in 0..1100 {
        site.send("a", &format!("{n:04}")).await;
    }
    let (mut device, _) = Raw::connected(site.port, 4, "a", false);
    for n in 100..1100 {
        let message = device.packet();
        assert!(message.ends_with(format!("{n:04}").as_bytes()), "{n}: {message:?}");
        let id = &message[2 + 2 + "devices/a/ota".len()..][..2];
        device.send(&[&[0x40, 2], id].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_is_told_what_is_granted() {
    let site = Site::with(&["a"]).await;
    let flags = 0xc2;
    // No keep-alive, a session of a year, no client id.
    let body = [
        &field(b"MQTT")[..],
        &[5, flags, 0, 0, 5, 0x11, 0x01, 0xe1, 0x33, 0x80],
        &field(b""),
        &field(b"a"),
        &field(b"secret-a"),
    ]
    .concat();
    let mut device = Raw::open(site.port);
    device.send(&packet(0x10, &body));
    let answer = device.packet();
    let has = |property: &[u8]| answer.windows(property.len()).any(|window| window == property);
    // The session ends with the connection, 1,200 s, a name of 32 letters, 16 KiB a packet, 64 at a time.
    let properties: [&[u8]; 5] =
        [&[0x11, 0, 0, 0, 0], &[0x13, 0x04, 0xb0], &[0x12, 0, 32], &[0x27, 0, 0, 0x40, 0], &[0x21, 0, 64]];
    for property in properties {
        assert!(has(property), "{property:?} in {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_closed_and_its_will_is_said() {
    let site = Site::with(&["a"]).await;
    let body = [
        &field(b"MQTT")[..],
        &[4, 0xc6, 0, 1],
        &field(b"esp32"),
        &field(b"devices/a/presence"),
        &field(b"offline"),
        &field(b"a"),
        &field(b"secret-a"),
    ]
    .concat();
    let mut device = Raw::open(site.port);
    device.send(&packet(0x10, &body));
    device.expect(&[0x20, 2, 0, 0]);
    let start = Instant::now();
    until("the will", || site.server.has("Presence a offline")).await;
    let took = start.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(site.doors.count("a"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_says_the_old_will_before_the_new_connection_says_anything() {
    let site = Site::with(&["a"]).await;
    let will = [
        &field(b"MQTT")[..],
        &[4, 0xc6, 0, 60],
        &field(b"esp32"),
        &field(b"devices/a/presence"),
        &field(b"offline"),
        &field(b"a"),
        &field(b"secret-a"),
    ]
    .concat();
    let mut device = Raw::open(site.port);
    device.send(&packet(0x10, &will));
    device.expect(&[0x20, 2, 0, 0]);
    let mut again = Raw::open(site.port);
    // All at once: what it says is there when it is let in.
    let said = publish(1, "devices/a/presence", 1, b"online");
    again.send(&[connect(4, "a", true), said].concat());
    again.expect(&[0x20, 2, 0, 0]);
    again.expect(&[0x40, 2, 0, 1]);
    until("both", || site.server.lines().len() >= 2).await;
    assert_eq!(site.server.lines(), ["Presence a offline", "Presence a online"]);
    // Never away, but it has to subscribe again.
    assert_eq!(site.doors.events.lock().unwrap()["a"], [true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_long_for_its_client_is_left_out() {
    let site = Site::with(&["a"]).await;
    // MQTT 5, at most 40 bytes a packet.
    let body = [
        &field(b"MQTT")[..],
        &[5, 0xc2, 0, 60, 5, 0x27, 0, 0, 0, 40],
        &field(b"esp32"),
        &field(b"a"),
        &field(b"secret-a"),
    ]
    .concat();
    let mut device = Raw::open(site.port);
    device.send(&packet(0x10, &body));
    device.packet();
    device.send(&packet(0x82, &[&[0, 1, 0][..], &field(b"devices/a/ota"), &[1]].concat()));
    device.packet();
    site.send("a", &"x".repeat(100)).await;
    site.server.publish(TopicKind::Trigger, "a", "short", None, false).await;
    assert!(device.packet().ends_with(b"short"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_arrives_whole_and_in_order() {
    let site = Site::with(&["a"]).await;
    for qos in ["0", "1", "2"] {
        site.server.seen.lock().unwrap().clear();
        let lines = (0..2000).map(|n: u32| n.to_string() + "\n").collect();
        site.device("a").publish_lines("ota/progress", qos, lines).await;
        until("all of it", || site.server.seen.lock().unwrap().len() >= 2000).await;
        let wanted: Vec<_> = (0..2000).map(|n| format!("Progress a {n}")).collect();
        assert_eq!(site.server.lines(), wanted, "QoS {qos}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_what_was_acknowledged_is_acknowledged_and_not_heard_again() {
    let site = Site::with(&["a", "b"]).await;
    let again = |mut bytes: Vec<u8>| {
        bytes[0] |= 0x08;
        bytes
    };
    let status = |id, text: &str| publish(1, "devices/a/ota/status", id, text.as_bytes());
    for clean in [false, true] {
        let (space, power) = (format!("FAILED no space {clean}"), format!("FAILED no power {clean}"));
        let (mut device, _) = Raw::connected(site.port, 4, "a", clean);
        device.send(&status(7, &space));
        device.expect(&[0x40, 2, 0, 7]);
        drop(device);
        // Its acknowledgement was lost with the connection.
        let (mut device, _) = Raw::connected(site.port, 4, "a", clean);
        for (id, repeated) in [
            (7, status(7, &space)),
            (7, status(7, &space)),
            // Never taken: other bytes, another topic, another id.
            (7, status(7, &power)),
            (7, publish(1, "devices/a/ota/progress", 7, space.as_bytes())),
            (8, status(8, &space)),
        ] {
            device.send(&again(repeated));
            device.expect(&[0x40, 2, 0, id]);
        }
        // The same words in a message of its own are news.
        device.send(&status(7, &space));
        device.expect(&[0x40, 2, 0, 7]);
        let heard = [
            format!("Status a {space}"),
            format!("Status a {power}"),
            format!("Progress a {space}"),
            format!("Status a {space}"),
            format!("Status a {space}"),
        ];
        until("all of them", || site.server.lines().len() >= heard.len()).await;
        assert_eq!(site.server.lines(), heard);
        site.server.seen.lock().unwrap().clear();
    }
    let (mut other, _) = Raw::connected(site.port, 4, "b", true);
    other.send(&again(publish(1, "devices/b/ota/status", 7, b"FAILED no space true")));
    other.expect(&[0x40, 2, 0, 7]);
    until("another device", || site.server.has("Status b FAILED no space true")).await;
}
