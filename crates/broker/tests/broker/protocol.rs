//! What MQTT 5 says beyond messages, in bytes.

use crate::device::until;
use crate::raw::{Raw, field, hello, packet, publish};
use crate::rig::{Site, id};

/// Subscribes to everything of the device, in MQTT 5, with these options.
fn subscribe(device: &mut Raw, options: u8) {
    device.send(&packet(0x82, &[&[0, 1, 0][..], &field(b"devices/a/#"), &[options]].concat()));
    device.expect(&[0x90, 4, 0, 1, 0, options & 3]);
}

/// A message at QoS 0, in MQTT 5.
fn message(retain: u8, payload: &[u8]) -> Vec<u8> {
    packet(0x30 | retain, &[&field(b"devices/a/version")[..], &[0], payload].concat())
}

/// What comes before the answer to a second ping; that to the first may come sooner.
fn pending(device: &mut Raw) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for _ in 0..2 {
        device.send(&[0xc0, 0]);
        loop {
            let packet = device.packet();
            if packet == [0xd0, 0] {
                break;
            }
            packets.push(packet);
        }
    }
    packets
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_an_id_starts_clean() {
    let site = Site::with(&["a"]).await;
    let mut device = Raw::open(site.port);
    // Clean start 0, as programs send it that connect again.
    device.send(&hello(5, 0xc0, 60, &[], &["", "a", "secret-a"]));
    let answer = device.packet();
    assert_eq!((answer[0], answer[2], answer[3]), (0x20, 0, 0), "{answer:?}");
    assert!(answer.windows(3).any(|window| window == [0x12, 0, 32]), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnect_says_whether_the_will_is_said() {
    let site = Site::with(&["a"]).await;
    let connect = |payload: &str| {
        // The will's properties are one byte before its topic.
        let will = [&[0][..], &field(b"devices/a/presence"), &field(payload.as_bytes())].concat();
        let ends = [field(b"esp32"), will, field(b"a"), field(b"secret-a")].concat();
        packet(0x10, &[&field(b"MQTT")[..], &[5, 0xc6, 0, 60, 0], &ends].concat())
    };
    for (reason, payload) in [(0x00, "quiet"), (0x04, "loud")] {
        let mut device = Raw::open(site.port);
        device.send(&connect(payload));
        assert_eq!(device.packet()[3], 0);
        device.send(&[0xe0, 1, reason]);
        until("it is gone", || site.doors.count("a") == 0).await;
    }
    until("the will", || site.server.has("Presence a loud")).await;
    assert_eq!(site.server.lines(), ["Presence a loud"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_has_its_options_and_ends() {
    let site = Site::with(&["a"]).await;
    let (mut device, _) = Raw::connected(site.port, 5, "a", true);
    let (retained, live) = (message(1, b"1"), message(0, b"1"));
    // Not its own messages.
    subscribe(&mut device, 0x04);
    device.send(&retained);
    assert!(pending(&mut device).is_empty());
    // Its own, and as they were published or not; what is retained at once, never, or if the subscription is new.
    let known = 0x10;
    for (options, at_once, then) in
        [(0x00, true, &live), (0x08, true, &retained), (0x20, false, &live), (known, false, &live)]
    {
        subscribe(&mut device, options);
        let expected = if at_once { vec![retained.clone()] } else { vec![] };
        assert_eq!(pending(&mut device), expected, "{options:#x}");
        device.send(&retained);
        assert_eq!(pending(&mut device), std::slice::from_ref(then), "{options:#x}");
    }
    for reason in [0x00, 0x11] {
        device.send(&packet(0xa2, &[&[0, 2, 0][..], &field(b"devices/a/#")].concat()));
        device.expect(&[0xb0, 4, 0, 2, 0, reason]);
        device.send(&live);
        assert!(pending(&mut device).is_empty());
    }
    subscribe(&mut device, known);
    assert_eq!(pending(&mut device), [retained]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_has_its_reason() {
    let site = Site::with(&["a"]).await;
    let wrong: [(Vec<u8>, u8); 5] = [
        (packet(0x82, &[&[0, 1, 2, 0x0b, 1][..], &field(b"devices/a/#"), &[0]].concat()), 0xa1),
        (vec![0x30, 0xff, 0xff, 0x7f], 0x95),
        (packet(0x30, &[&field(b"devices/+/version")[..], &[0]].concat()), 0x90),
        (packet(0x30, &[&field(b"")[..], &[0]].concat()), 0x82),
        (publish(0, "devices/a/version", 0, &[3, 0x23, 0, 1]), 0x94),
    ];
    for (bytes, reason) in wrong {
        let (mut device, _) = Raw::connected(site.port, 5, "a", true);
        device.send(&bytes);
        assert_eq!(device.packet()[..3], [0xe0, 2, reason]);
    }
    let (mut old, _) = Raw::connected(site.port, 5, "a", true);
    let (mut device, _) = Raw::connected(site.port, 5, "a", true);
    assert_eq!(old.packet()[2], 0x8e);
    site.broker.disconnect_device(&id("a"));
    assert_eq!(device.packet()[2], 0x98);
    let (mut device, _) = Raw::connected(site.port, 5, "a", true);
    site.broker.stop().await;
    assert_eq!(device.packet()[2], 0x8b);
}
