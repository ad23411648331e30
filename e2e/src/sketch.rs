//! A firmware of `platformio/` as a program of this machine: the example and the C library as a device gets them, over stand-ins
//! for Arduino and ESP-IDF that work, on a chip whose power can be cut at any operation on its flash.
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::mqtt::Endpoint;
use crate::process::Process;
use crate::workspace;

/// The chip, with what runs on it.
#[derive(Debug)]
pub struct Sketch {
    process: Process,
    _folder: TempDir,
}

impl Sketch {
    /// Builds an example and switches a chip on that was flashed with an image by cable; its power is cut at the first of these
    /// operations on flash, then so many operations later at the next.
    ///
    /// # Panics
    /// If the example cannot be built.
    pub fn start(example: &str, id: &str, broker: &Endpoint, image: &Path, cuts: &[u32]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let program = build(example, folder.path());
        let mut chip = Command::new(program);
        chip.arg(image).args(cuts.iter().map(ToString::to_string));
        chip.env("id", id).env("password", &broker.password).env("BROKER_PORT", broker.port.to_string());
        chip.envs([("ssid", "network"), ("wifi", "password"), ("broker", "127.0.0.1")]);
        Self { process: Process::start(id, &mut chip, folder.path()), _folder: folder }
    }

    /// One line for each boot: slot, version, reason of the reset.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn build(example: &str, folder: &Path) -> PathBuf {
    let program = folder.join("firmware");
    let done = Command::new(workspace().join("platformio/test/build-host"))
        .arg(workspace().join(example))
        .arg(&program)
        .output()
        .expect("a shell can be started");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{example} cannot be built; `scripts/test c` installs what it needs: {said}"
    );
    program
}
