//! Bounds of the embedded broker, and what it must carry all the same.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::rig::{Site, until};

fn numbered(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, r#"{{"phase":"download","done":{n},"total":{count}}}"#).unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_20000_messages_arrives_whole_and_in_order() {
    let site = Site::with(&["a", "b"]).await;
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
    let site = Site::with(&["a"]).await;
    site.recorder.failures.store(3, std::sync::atomic::Ordering::SeqCst);
    site.device("a").publish_lines("ota/progress", "1", numbered(3000)).await;
    until("3,000 messages", || site.recorder.seen.lock().unwrap().len() >= 3000).await;
    let lines = site.recorder.lines();
    assert!(lines.iter().enumerate().all(|(n, line)| line.contains(&format!("\"done\":{n},"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_too_long_ends_its_connection_and_nothing_else() {
    let site = Site::with(&["a", "b"]).await;
    let mut other = site.device("b").listen("devices/b/ota", &[]).await;
    let long = "x".repeat(17 * 1024);
    site.device("a").try_publish(&["-q", "1", "-t", "devices/a/version", "-m", &long]).await;
    let longer_than_the_contract = "y".repeat(5000);
    site.device("a").publish("ota/progress", &longer_than_the_contract).await;
    site.device("a").publish("version", "1.0.0").await;
    until("the good one", || site.recorder.lines().len() >= 2).await;
    // Nobody reads more of it, and it cannot be read so: that is told to whoever looks after the device.
    let cut = format!("Progress a {}", "y".repeat(4096));
    assert_eq!(site.recorder.lines(), [cut.as_str(), "Version a 1.0.0"]);
    assert_eq!(site.mqtt.ignored(), 0);
    site.send("b", "still-here").await;
    other.payload("still-here").await;
}

/// Whether the broker closes the connection after these bytes, and how soon.
fn closed_after(port: u16, bytes: &[u8]) -> Duration {
    let start = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut rest = Vec::new();
    // Closed with unread bytes is a reset.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_connect_is_closed_at_once_and_silence_within_seconds() {
    let site = Site::with(&["a"]).await;
    let port = site.port;
    let cases: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xc0, 0x00],
        // MQTT 3.1, and a version that does not exist.
        &[0x10, 0x0e, 0, 6, b'M', b'Q', b'I', b's', b'd', b'p', 3, 2, 0, 60, 0, 0],
        &[0x10, 0x0c, 0, 4, b'M', b'Q', b'T', b'T', 6, 2, 0, 60, 0, 0],
    ];
    tokio::task::spawn_blocking(move || {
        for bytes in cases {
            let took = closed_after(port, bytes);
            assert!(took < Duration::from_secs(3), "{bytes:?} {took:?}");
        }
        for silence in [&[][..], &[0x10, 0x20, 0, 4, b'M']] {
            let took = closed_after(port, silence);
            assert!(took < Duration::from_secs(8), "{took:?}");
        }
    })
    .await
    .unwrap();
    site.device("a").publish("version", "1.0.0").await;
}
