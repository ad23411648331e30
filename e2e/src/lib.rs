//! What the end-to-end tests are made of: the real `updraft` binary, real brokers, a bucket behind a real S3 API,
//! a real browser, and devices.
//!
//! Everything here is a black box to the tests: they speak HTTP, MQTT and the command line, as the contract
//! says. Each test has its own ports and its own folder; each process is ended by its id when its owner goes
//! out of scope, and prints its log if the test failed.

pub mod browser;
pub mod bucket;
pub mod command;
#[path = "../../crates/server/src/tests/database.rs"]
mod database;
pub mod device;
pub mod disk;
pub mod flash;
pub mod folder;
pub mod front;
pub mod images;
pub mod job;
pub mod mosquitto;
pub mod mqtt;
pub mod process;
pub mod proxy;
pub mod server;
pub mod sketch;
pub mod wait;

use std::path::{Path, PathBuf};

/// The workspace's root folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e/ is in the workspace")
}

/// A file that lies in `e2e/`.
pub fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
