//! A lamp that blinks and says its version: firmware that can be published and promoted.
//!
//! It does not update itself yet. `crates/agent` of Updraft does that part for Rust; docs/device.md says how to put it on a device.
#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_bootloader_esp_idf as idf;
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::time::{Duration, Instant};
use esp_println::println;

/// The same text that the image is published under; the build refuses to go on without it.
const VERSION: &str = env!("FIRMWARE_VERSION", "set FIRMWARE_VERSION, such as 0.1.0");

// By name and not by default, whose version is that of Cargo.toml. The last three: any eFuse revision, no secure version.
idf::esp_app_desc!(
    VERSION,
    env!("CARGO_PKG_NAME"),
    idf::BUILD_TIME,
    idf::BUILD_DATE,
    idf::ESP_IDF_COMPATIBLE_VERSION,
    idf::MMU_PAGE_SIZE,
    0,
    u16::MAX,
    0
);

#[esp_hal::main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let mut lamp = Output::new(peripherals.GPIO8, Level::Low, OutputConfig::default());
    println!("lamp {VERSION}");
    loop {
        lamp.toggle();
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(500) {}
    }
}
