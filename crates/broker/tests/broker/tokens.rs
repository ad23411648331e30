//! A program of one's own that listens to the fleet with an API token.

use std::io::Read;
use std::time::{Duration, Instant};

use contract::TopicKind;

use crate::VERSIONS;
use crate::device::until;
use crate::raw::{Raw, field, hello, packet};
use crate::rig::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_hears_what_devices_say_and_never_a_signed_url() {
    let site = Site::with(&["a", "b"]).await;
    site.doors.tokens.lock().unwrap().push("upd-1".to_owned());
    let output =
        site.device("a").try_publish(&["-r", "-q", "1", "-t", "devices/a/version", "-m", "1.0.0"]).await;
    assert!(output.status.success());
    for [flag, version] in VERSIONS {
        let mut reader = site.reader("upd-1").listen("devices/#", &[flag, version]).await;
        reader.payload("1.0.0").await;
        site.send("b", "http://127.0.0.1/firmware?signature=secret").await;
        let url = "FAILED no route to http://127.0.0.1/firmware/p?signature=secret";
        site.device("b").publish("ota/status", url).await;
        for (what, payload) in [
            ("version", "2.0.0"),
            ("presence", "online"),
            ("ota/progress", r#"{"phase":"verify"}"#),
            ("ota/status", "SUCCESS"),
        ] {
            site.device("b").publish(what, payload).await;
            reader.payload(payload).await;
        }
        assert_eq!(reader.messages().len(), 5, "{:?}", reader.heard);
        assert!(!reader.heard.iter().any(|line| line.contains("secret")), "{:?}", reader.heard);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_publishes_nothing_and_counts_as_no_device() {
    let site = Site::with(&["a"]).await;
    site.doors.tokens.lock().unwrap().push("upd-1".to_owned());
    let reader = site.reader("upd-1");
    for [flag, version] in VERSIONS {
        for topic in ["devices/a/version", "devices/a/ota", "devices/_token/version"] {
            reader.try_publish(&[flag, version, "-q", "1", "-t", topic, "-m", "forged"]).await;
        }
        for filter in ["devices/+/ota", "devices/a/ota/control", "#", "$share/g/devices/#"] {
            assert!(reader.refused(filter, &[flag, version]).await, "{filter} {version}");
        }
        let will = ["--will-topic", "devices/a/presence", "--will-payload", "forged"];
        let mut arguments = vec![flag, version, "-t", "devices/a/version", "-m", "1.0.0"];
        arguments.extend(will);
        assert!(!reader.try_publish(&arguments).await.status.success());
        let wrong = site.reader("upd-2").try_publish(&[flag, version, "-t", "x", "-m", "x"]).await;
        assert!(!wrong.status.success());
    }
    site.device("a").publish("version", "1.0.0").await;
    until("the good one", || !site.server.lines().is_empty()).await;
    assert_eq!(site.server.lines(), ["Version a 1.0.0"]);
    assert_eq!(site.doors.events.lock().unwrap().keys().collect::<Vec<_>>(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_connection_within_a_minute() {
    let site = Site::with(&[]).await;
    site.doors.tokens.lock().unwrap().push("upd-1".to_owned());
    let mut reader = Raw::open(site.port);
    // MQTT 5, a keep-alive of 10 minutes.
    let body =
        [&field(b"MQTT")[..], &[5, 0xc2, 2, 88, 0], &field(b"wall"), &field(b"_token"), &field(b"upd-1")];
    reader.send(&packet(0x10, &body.concat()));
    let answer = reader.packet();
    assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:?}");
    site.doors.tokens.lock().unwrap().clear();
    let start = Instant::now();
    reader.stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut rest = Vec::new();
    reader.stream.read_to_end(&mut rest).unwrap();
    // Not authorised.
    assert_eq!(rest[..3], [0xe0, 2, 0x87], "after {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_subscribes_over_and_over_holds_up_nobody() {
    let site = Site::with(&["a"]).await;
    site.doors.tokens.lock().unwrap().push("upd-1".to_owned());
    for n in 0..3000 {
        site.server.publish(TopicKind::Version, &format!("d{n}"), "1.0.0", None, true).await;
    }
    let (mut device, _) = Raw::connected(site.port, 4, "a", true);
    let mut reader = Raw::open(site.port);
    reader.send(&hello(4, 0xc2, 60, &[], &["wall", "_token", "upd-1"]));
    reader.expect(&[0x20, 2, 0, 0]);
    let filter = [&field(b"devices/#")[..], &[1]].concat();
    reader.send(&packet(0x82, &[&[0, 1][..], &filter.repeat(1300)].concat()));
    let start = Instant::now();
    device.send(&[0xc0, 0]);
    device.expect(&[0xd0, 0]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let mut answer = [0; 3 + 2 + 1300];
    reader.stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..5], [0x90, 0x96, 0x0a, 0, 1]);
    assert_eq!(answer[5..][..16], [1; 16]);
    assert_eq!(answer[5 + 16..], [0x80; 1300 - 16]);
}
