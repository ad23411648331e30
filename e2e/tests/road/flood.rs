//! Devices that say as much as they can, in packets as long as may be: everybody else is served, and neither memory nor log grows
//! with it.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use e2e::mqtt::Endpoint;
use e2e::server::{Server, runs};

const FLOODERS: usize = 20;
/// Resident memory of the server, in KiB.
const MEMORY_MAX_KIB: u64 = 150 * 1024;
/// Of the log, in all.
const LOG_MAX_BYTES: usize = 64 * 1024;

fn text(text: &str, packet: &mut Vec<u8>) {
    packet.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    packet.extend(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut length) = (vec![kind], body.len());
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        packet.push(byte | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(topic, &mut body);
    body.extend(payload);
    packet(0x30, &body)
}

/// Says the same, over and over, until told to end.
fn flood(broker: &Endpoint, sentence: &[u8], sent: &AtomicU64, ended: &AtomicBool) {
    let mut stream = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    let mut body = Vec::new();
    text("MQTT", &mut body);
    body.extend([4, 0xC2, 0, 60]);
    for part in ["flood", &broker.username, &broker.password] {
        text(part, &mut body);
    }
    stream.write_all(&packet(0x10, &body)).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0], "it is let in");
    stream.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    while !ended.load(Ordering::Relaxed) {
        // A write that times out has written a part.
        let mut rest = sentence;
        while !rest.is_empty() && !ended.load(Ordering::Relaxed) {
            match stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => return,
            }
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_takes_neither_memory_nor_the_log_nor_keeps_anybody_waiting() {
    let server = Server::start().await;
    let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut floods = Vec::new();
    for number in 0..FLOODERS {
        let id = format!("loud-{number}");
        let broker = server.register(&id, "p").await;
        let sentence = match number % 3 {
            0 => publish(&format!("devices/{id}/version"), &[b'x'; 16_000]),
            1 => publish(&format!("devices/{id}/ota/request"), b"url_expired"),
            _ => publish(&format!("devices/{id}/version"), br#"{"version":"1.0.0","chip":"x"}"#),
        };
        let (sent, ended) = (sent.clone(), ended.clone());
        floods.push(std::thread::spawn(move || flood(&broker, &sentence, &sent, &ended)));
    }
    let honest = server.register("honest", "p").await;
    for number in 0..20 {
        let version = format!("1.0.{number}");
        honest.publish("devices/honest/version", &version, &[]).await.ok();
        server.device_when("honest", "what it says is taken", |device| runs(device, &version)).await;
    }
    ended.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().unwrap();
    }
    let (sent, memory) = (sent.load(Ordering::Relaxed), resident_kib(server.process_id()));
    println!("{sent} messages, {memory} KiB, {} bytes of log", server.log().len());
    assert!(sent > 5000, "{sent} messages are no flood");
    assert!(memory < MEMORY_MAX_KIB, "{memory} KiB");
    let log = server.log();
    assert!(log.len() < LOG_MAX_BYTES, "{} bytes of log, as: {:?}", log.len(), log.lines().last());
}
