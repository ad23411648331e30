//! The figures of the README: memory of an idle server, and the time from the click to the confirmed update.
//!
//! `UPDRAFT_BIN=target/release/updraft cargo run -p updraft-e2e --example measure`
//!
//! Starts that binary as server and as virtual device, on loopback, with a folder as the store.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use api::{Device, UpdateState};
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::server::{Promote, Server};
use image::build::Build;
use image::{Behaviour, Chip};
use reqwest::Method;

const ROUNDS: usize = 7;
const IMAGE_BYTES: u32 = 1_400_000;

#[tokio::main]
async fn main() {
    let workshop = Workshop::open();
    let image = |version: &str| {
        let mut build = Build::new(Chip::Esp32S3, version);
        build.size_bytes = IMAGE_BYTES;
        build.behaviour = Some(Behaviour::Healthy);
        workshop.file(&format!("{version}.bin"), &build.bytes())
    };
    let server = Server::start().await;
    // Whatever starting took has been given back by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle server: {:.1} MB resident", resident_kib(server.process_id()) / 1024.0);

    let product = "esp32s3";
    server.publish(product, "1.0.0", &image("1.0.0"), Promote::Production).await;
    let broker = server.register("kitchen", product).await;
    let _device = VirtualDevice::start("kitchen", product, &broker, &image("1.0.0"), "1.0.0");
    server.device_runs("kitchen", "1.0.0").await;
    let mut seconds = Vec::new();
    for round in 1..=ROUNDS {
        let version = format!("1.0.{round}");
        server.publish(product, &version, &image(&version), Promote::Production).await;
        let click = Instant::now();
        server.offer("kitchen", &version).await;
        let has_ended = |device: &Device| {
            device.update.as_ref().is_some_and(|update| update.state == UpdateState::Succeeded)
        };
        while !has_ended(&server.device("kitchen").await) {
            assert!(click.elapsed() < Duration::from_secs(60), "{:?}", server.device("kitchen").await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seconds.push(click.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let ready = server.request(Method::GET, "/readyz").send().await.unwrap();
    assert!(ready.status().is_success());
    println!(
        "click to confirmed, {IMAGE_BYTES} bytes, {ROUNDS} times: min {:.2} s, median {:.2} s, max {:.2} s (of which the restart is 0.3 s)",
        seconds[0],
        seconds[ROUNDS / 2],
        seconds[ROUNDS - 1]
    );
    println!("server after that: {:.1} MB resident", resident_kib(server.process_id()) / 1024.0);
}

fn resident_kib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
