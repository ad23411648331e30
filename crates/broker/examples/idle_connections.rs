//! What idle devices cost on the embedded broker and on a real Mosquitto: memory, and how fast they connect.
//!
//! `cargo run --release -p updraft-broker --example idle_connections -- 15000`
//!
//! Starts the broker in this process and the devices in another (this program again), each subscribed to its
//! trigger, 256 connecting at a time; prints how long each part of them took and what the broker's process grew by. Then
//! the same with Mosquitto, if it is installed. Needs one open file per device in each process (`ulimit -n`).
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use contract::DeviceId;
use listen::Limits;
use updraft_broker::{Admission, Embedded, Unavailable};

/// So many connect at a time.
const THREADS: usize = 256;
/// So many parts are timed.
const PARTS: usize = 5;

struct Open;

#[async_trait::async_trait]
impl Admission for Open {
    async fn admit(&self, _: &str, _: &[u8]) -> Result<bool, Unavailable> {
        Ok(true)
    }
    async fn admit_reader(&self, _: &[u8]) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn connected(&self, _: DeviceId) {}
    fn disconnected(&self, _: DeviceId) {}
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("devices") => devices(&arguments[2], arguments[3].parse().unwrap()),
        count => {
            let count = count.map_or(15_000, |count| count.parse().unwrap());
            embedded(count);
            mosquitto(count);
        }
    }
}

#[tokio::main]
async fn embedded(count: usize) {
    let listener = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let limits = Limits::of(listen::available());
    let broker =
        Embedded::start(listener, limits, contract::VersionTopic::default(), Arc::new(Open)).unwrap();
    let address = broker.local_addr().to_string();
    let measured =
        tokio::task::spawn_blocking(move || measure("embedded", std::process::id(), &address, count));
    drop(measured.await.unwrap());
    let start = Instant::now();
    broker.stop().await;
    println!("embedded: stopped in {:.2} s", start.elapsed().as_secs_f64());
}

fn mosquitto(count: usize) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = std::env::temp_dir().join(format!("idle-connections-{port}.conf"));
    std::fs::write(&conf, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    let command = Command::new("mosquitto").arg("-c").arg(&conf).stderr(Stdio::null()).spawn();
    let Ok(mut broker) = command else {
        println!("mosquitto is not installed");
        return;
    };
    let address = format!("127.0.0.1:{port}");
    while TcpStream::connect(&address).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(measure("mosquitto", broker.id(), &address, count));
    broker.kill().unwrap();
    broker.wait().unwrap();
    let _ = std::fs::remove_file(conf);
}

/// Connects the devices and prints what it costs the broker; they are there until what is returned is dropped.
fn measure(name: &str, broker: u32, address: &str, count: usize) -> Devices {
    let before = resident_kib(broker);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["devices", address, &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    println!("{name}: {count} devices connected and subscribed in {}", line.trim());
    std::thread::sleep(Duration::from_secs(2));
    let grown = resident_kib(broker) - before;
    println!("{name}: {:.1} KiB a device", grown / f64::from(u32::try_from(count).unwrap()));
    Devices(child)
}

struct Devices(Child);

impl Drop for Devices {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Of a process, from the kernel.
fn resident_kib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("this example reads /proc, so it needs Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn devices(address: &str, count: usize) {
    let start = Instant::now();
    let (next, mut parts) = (AtomicUsize::new(0), Vec::new());
    let mut connections = Vec::with_capacity(count);
    for part in 1..=PARTS {
        let (begun, end) = (Instant::now(), count * part / PARTS);
        let connect = || {
            let number =
                || next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < end).then_some(n + 1));
            std::iter::from_fn(|| number().ok().map(|n| device(address, &format!("device-{n:06}")))).collect()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(connect)).collect();
            for thread in threads {
                connections.extend::<Vec<_>>(thread.join().unwrap());
            }
        });
        parts.push(format!("{:.2}", begun.elapsed().as_secs_f64()));
    }
    println!("{:.2} s, by fifths {}", start.elapsed().as_secs_f64(), parts.join(" "));
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
