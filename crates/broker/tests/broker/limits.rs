//! What is refused, by its size or its time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use updraft_broker::NotAdmitted::{Http, Malformed, Mqtt31, NoClientId, NotConnect, OtherMqtt};

use crate::device::until;
use crate::rig::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_too_long_ends_its_connection_and_nothing_else() {
    let site = Site::with(&["a", "b"]).await;
    let mut other = site.device("b").listen("devices/b/ota", &[]).await;
    let long = "x".repeat(17 * 1024);
    site.device("a").try_publish(&["-q", "1", "-t", "devices/a/version", "-m", &long]).await;
    site.device("a").publish("version", "1.0.0").await;
    until("the good one", || !site.server.lines().is_empty()).await;
    assert_eq!(site.server.lines(), ["Version a 1.0.0"]);
    site.send("b", "still-here").await;
    other.payload("still-here").await;
}

/// How soon the broker closes the connection after these bytes and that answer.
fn closed_after(port: u16, bytes: &[u8], answer: &[u8]) -> Duration {
    let start = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut rest = Vec::new();
    // Closed with unread bytes is a reset.
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, answer, "{bytes:?}");
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_connect_is_closed_at_once_and_silence_within_seconds() {
    let site = Site::with(&["a"]).await;
    let port = site.port;
    let cases: [(&[u8], &[u8]); 7] = [
        (b"GET / HTTP/1.1\r\n\r\n", &[]),
        (&[0x10, 0xff, 0xff, 0xff, 0x7f], &[]),
        (&[0x10, 0xff, 0xff, 0xff, 0xff, 0xff], &[]),
        (&[0xc0, 0x00], &[]),
        // MQTT 3.1, and a version that does not exist; no client id where the session is to be kept.
        (&[0x10, 0x0e, 0, 6, b'M', b'Q', b'I', b's', b'd', b'p', 3, 2, 0, 60, 0, 0], &[0x20, 2, 0, 1]),
        (&[0x10, 0x0c, 0, 4, b'M', b'Q', b'T', b'T', 6, 2, 0, 60, 0, 0], &[0x20, 2, 0, 1]),
        (&[0x10, 0x0c, 0, 4, b'M', b'Q', b'T', b'T', 4, 0, 0, 60, 0, 0], &[0x20, 2, 0, 2]),
    ];
    tokio::task::spawn_blocking(move || {
        for (bytes, answer) in cases {
            let took = closed_after(port, bytes, answer);
            assert!(took < Duration::from_secs(3), "{bytes:?} {took:?}");
        }
        for silence in [&[][..], &[0x10, 0x20, 0, 4, b'M']] {
            let took = closed_after(port, silence, &[]);
            assert!(took < Duration::from_secs(8), "{took:?}");
        }
    })
    .await
    .unwrap();
    let named: Vec<_> = site.doors.refused.lock().unwrap().iter().map(|(_, why)| *why).collect();
    assert_eq!(named, [Http, Malformed, Malformed, NotConnect, Mqtt31, OtherMqtt, NoClientId]);
    site.device("a").publish("version", "1.0.0").await;
}
