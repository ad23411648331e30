//! What an idle device costs on the embedded broker: memory, and how fast devices connect.
//!
//! `cargo run --release -p updraft-broker --example idle_connections -- 2000`
//!
//! Starts the broker in this process and the devices in another (this program again), each subscribed to its
//! trigger, and prints what this process grew by. Needs one open file per device in each process (`ulimit -n`).
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::DeviceId;
use updraft_broker::{Admission, Embedded};

struct Open;

#[async_trait::async_trait]
impl Admission for Open {
    async fn admit(&self, _: &str, _: &[u8]) -> bool {
        true
    }
    fn connected(&self, _: DeviceId) {}
    fn disconnected(&self, _: DeviceId) {}
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("devices") => devices(&arguments[2], arguments[3].parse().unwrap()),
        count => broker(count.map_or(2000, |count| count.parse().unwrap())),
    }
}

#[tokio::main]
async fn broker(count: usize) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = Embedded::start(listener, contract::VersionTopic::default(), Arc::new(Open)).unwrap();
    let before = resident_kib();
    let mut others = Command::new(std::env::current_exe().unwrap())
        .args(["devices", &broker.local_addr().to_string(), &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(others.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let seconds: f64 = line.trim().parse().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = resident_kib();
    println!("{count} devices connected and subscribed, one after the other, in {seconds:.2} s");
    println!("resident before {before} KiB, with them {after} KiB");
    println!("{:.1} KiB a device", (after - before) / f64::from(u32::try_from(count).unwrap()));
    drop(others.stdin.take());
    others.wait().unwrap();
    let start = Instant::now();
    broker.stop().await;
    println!("stopped in {:.2} s", start.elapsed().as_secs_f64());
}

/// Of this process, from the kernel.
fn resident_kib() -> f64 {
    let status =
        std::fs::read_to_string("/proc/self/status").expect("this example reads /proc, so it needs Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn devices(address: &str, count: usize) {
    let start = Instant::now();
    let connections: Vec<TcpStream> =
        (0..count).map(|n| device(address, &format!("device-{n:06}"))).collect();
    println!("{}", start.elapsed().as_secs_f64());
    // Until the broker's process lets go.
    let _ = std::io::stdin().read(&mut [0]);
    drop(connections);
}

/// Connects with MQTT 3.1.1 and subscribes, in raw packets.
fn device(address: &str, id: &str) -> TcpStream {
    let field = |text: &str| {
        let mut field = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        field.extend_from_slice(text.as_bytes());
        field
    };
    let connect =
        [&[0, 4][..], b"MQTT", &[4, 0xc2, 0, 120], &field(id), &field(id), &field("password")].concat();
    let subscribe = [&[0, 1][..], &field(&format!("devices/{id}/ota")), &[1]].concat();
    let mut stream = TcpStream::connect(address).unwrap();
    for (kind, body, answer) in [(0x10, connect, 4), (0x82, subscribe, 5)] {
        let packet = [&[kind, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        stream.write_all(&packet).unwrap();
        let mut answered = vec![0; answer];
        stream.read_exact(&mut answered).unwrap();
        assert!(answered[answer - 1] < 2, "{answered:?}");
    }
    stream
}
