//! Who was heard of and is not admitted, on the embedded broker and outside.

use std::io::{Read, Write};
use std::net::TcpStream;

use contract::TopicKind;

use super::message;
use super::rig::{BY, Rig, id, until};
use super::without_broker::handed;
use crate::mqtt::Handler;

/// Sends the bytes to the broker, and reads its answer to the end.
async fn tried(port: u16, bytes: Vec<u8>) -> Vec<u8> {
    let answered = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.write_all(&bytes).expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    answered.await.expect("answered")
}

/// A CONNECT with a client id, a user name and a password.
fn connect(protocol: &str, level: u8, user: &str, password: &str) -> Vec<u8> {
    let field =
        |text: &str| [&(u16::try_from(text.len()).expect("short")).to_be_bytes(), text.as_bytes()].concat();
    let body =
        [field(protocol), vec![level, 0xc2, 0, 60], field("client"), field(user), field(password)].concat();
    [vec![0x10, u8::try_from(body.len()).expect("short")], body].concat()
}

#[tokio::test]
async fn who_is_turned_away_is_listed_with_what_is_wrong_until_it_is_admitted() {
    let rig = Rig::start().await;
    let devices = &rig.services().devices;
    let password = devices.register(&BY, &id("d1"), Some(&"p".parse().expect("a product"))).await;
    let password = password.expect("registers").mqtt_password;
    let cases = [
        (connect("MQTT", 4, "d1", "wrong"), "d1", "wrong_password"),
        (connect("MQTT", 4, "d2", "x"), "d2", "not_registered"),
        (connect("MQTT", 4, "my device", "x"), "my device", "invalid_id"),
        (connect("MQTT", 4, "", ""), "client", "no_password"),
        (connect("MQTT", 4, "_token", "x"), "_token", "wrong_token"),
        (connect("MQIsdp", 3, "d3", "x"), "client", "no_mqtt"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00".to_vec(), "127.0.0.1", "no_mqtt"),
    ];
    for (bytes, who, code) in cases {
        tried(rig.mqtt_port(), bytes).await;
        let list = devices.not_admitted();
        let one = list.iter().find(|one| one.id == who).unwrap_or_else(|| panic!("{who}: {list:?}"));
        assert_eq!((&*one.cause.code, one.address.as_deref()), (code, Some("127.0.0.1")), "{who}");
        assert!(one.reason.ends_with('.') && one.count >= 1, "{}", one.reason);
    }
    let old = tried(rig.mqtt_port(), connect("MQIsdp", 3, "d1", &password)).await;
    assert_eq!(old, [0x20, 2, 0, 1], "MQTT 3.1 is refused by its number");
    let _device = rig.connect("d1", &password).await;
    devices.register(&BY, &id("d2"), Some(&"p".parse().expect("a product"))).await.expect("registers");
    until("both are admitted", || async {
        devices.not_admitted().iter().all(|one| one.id != "d1" && one.id != "d2")
    })
    .await;
}

#[tokio::test]
async fn on_an_external_broker_each_id_is_listed_with_why_it_is_not_known() {
    let (_folder, app) = handed("[fleet]\nmax_devices = 1\ndefault_product = \"p\"").await;
    let mut kept = message("c", TopicKind::Presence, "online");
    kept.retained = true;
    let batch = [
        message("a", TopicKind::Version, "1.0.0"),
        message("b", TopicKind::Version, "1.0.0"),
        kept,
        message("d", TopicKind::Status, "SUCCESS"),
        message("e", TopicKind::Version, "{\"version\":1,\"token\":\"abc\"}"),
    ];
    app.messages.messages(&batch).await.expect("taken");
    app.messages.invalid_id("a/b c");
    let list = app.devices.not_admitted();
    let mut found: Vec<(&str, &str)> = list.iter().map(|one| (one.id.as_str(), &*one.cause.code)).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("a/b c", "invalid_id"),
            ("b", "no_room"),
            ("c", "only_retained"),
            ("d", "no_report"),
            ("e", "unreadable_report")
        ]
    );
    let unreadable = list.iter().find_map(|one| one.said.as_deref()).expect("it is shown");
    assert!(unreadable.contains("version") && !unreadable.contains("abc"), "{unreadable}");

    let (_folder, app) = handed("[fleet]\nadmit = \"registered\"").await;
    app.messages.messages(&[message("a", TopicKind::Version, "1.0.0")]).await.expect("taken");
    assert_eq!(&*app.devices.not_admitted()[0].cause.code, "not_registered_outside");
}
