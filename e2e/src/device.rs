//! Devices: virtual ones of the binary under test, and one made of a shell script.
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::beside;
use crate::command::updraft;
use crate::mqtt::Endpoint;
use crate::process::Process;

/// `updraft virtual-device` in a process of its own, with its flash in a file that outlives it.
#[derive(Debug)]
pub struct VirtualDevice {
    // First, so that its log is still there when it ends.
    process: Process,
    id: String,
    folder: TempDir,
    arguments: Vec<String>,
}

impl VirtualDevice {
    /// A device that was flashed with an image by cable, and is switched on.
    pub fn start(id: &str, product: &str, broker: &Endpoint, image: &Path, version: &str) -> Self {
        Self::with(id, product, broker, image, version, &[])
    }

    /// The same, with more options of the command.
    pub fn with(
        id: &str,
        product: &str,
        broker: &Endpoint,
        image: &Path,
        version: &str,
        options: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (data, image) = (folder.path().display().to_string(), image.display().to_string());
        let (broker_url, password) = (broker.address(), format!("--password={}", broker.password));
        let arguments = ["virtual-device", "--id", id, "--product", product, "--data", &data]
            .into_iter()
            .chain(["--broker", &broker_url, &password])
            .chain(["--image", &image, "--version", version])
            .chain(options.iter().copied())
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let process = run(&arguments, folder.path());
        Self { id: id.to_owned(), folder, arguments, process }
    }

    /// Cuts its power (SIGKILL).
    pub fn cut_power(&mut self) {
        self.process.kill();
    }

    /// Gives it power again, as the flash was left.
    pub fn power_on(&mut self) {
        self.process = run(&self.arguments, self.folder.path());
    }

    /// Its flash, as it is now.
    pub fn flash(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join(format!("{}.flash", self.id)))
            .expect("the device has a flash file")
    }

    /// All it said.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn run(arguments: &[String], folder: &Path) -> Process {
    Process::start("virtual-device", updraft(arguments).current_dir(folder), folder)
}

/// A device of nothing but `mosquitto_pub`, `mosquitto_sub` and `curl`, which knows only OTA.md.
#[derive(Debug)]
pub struct PlainDevice {
    process: Process,
    folder: TempDir,
    arguments: Vec<String>,
}

impl PlainDevice {
    /// Reports `version`; what it downloads reports itself as `next_version`, as the new firmware would.
    pub fn start(id: &str, broker: &Endpoint, version: &str, next_version: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = broker.port.to_string();
        let arguments = [id, &port, &broker.username, &broker.password, version, next_version];
        let arguments = arguments.map(str::to_owned).to_vec();
        let process = run_plain(&arguments, folder.path());
        Self { process, folder, arguments }
    }

    /// Cuts its power (SIGKILL). The broker keeps its session.
    pub fn cut_power(&mut self) {
        self.process.kill();
    }

    /// Gives it power again; it reports the version it was started with.
    pub fn power_on(&mut self) {
        self.process = run_plain(&self.arguments, self.folder.path());
    }

    /// Where it keeps what it downloaded.
    pub fn firmware(&self) -> PathBuf {
        self.folder.path().join("firmware.bin")
    }
}

fn run_plain(arguments: &[String], folder: &Path) -> Process {
    let mut command = Command::new(beside("plain-device.sh"));
    Process::start("plain-device", command.args(arguments).current_dir(folder), folder)
}
