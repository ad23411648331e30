//! Firmware images: real ones where they are at hand, else built ones of the same size.
use std::path::{Path, PathBuf};

use image::build::Build;
use image::{Behaviour, Chip};
use tempfile::TempDir;

use crate::workspace;

/// Two images of one product, the second newer.
#[derive(Debug)]
pub struct Pair {
    /// The chip's name.
    pub chip: &'static str,
    /// What the device was flashed with.
    pub old: PathBuf,
    /// What it is to run.
    pub new: PathBuf,
    /// Holds built images.
    _folder: Option<TempDir>,
}

/// Name, chip, and the sizes of the real images.
const PAIRS: &[(&str, Chip, u32, u32)] = &[
    ("c3-patch", Chip::Esp32C3, 1_503_936, 1_503_744),
    ("s3-patch", Chip::Esp32S3, 1_364_432, 1_369_952),
    ("esp32-minor", Chip::Esp32, 1_284_976, 1_360_096),
];

/// The real pair of this name from `UPDRAFT_TEST_IMAGES`, else `../shared/images`; else one of the same sizes is built.
///
/// # Panics
/// If `UPDRAFT_TEST_IMAGES` names a folder without it, or there is no such pair.
pub fn pair(name: &str) -> Pair {
    let (_, chip, old_bytes, new_bytes) =
        *PAIRS.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("no pair {name}"));
    let chosen = std::env::var_os("UPDRAFT_TEST_IMAGES").map(PathBuf::from);
    let folder = chosen.clone().unwrap_or_else(|| workspace().join("../shared/images")).join(name);
    if folder.is_dir() {
        return Pair {
            chip: chip.name(),
            old: folder.join("old.bin"),
            new: folder.join("new.bin"),
            _folder: None,
        };
    }
    assert!(chosen.is_none(), "UPDRAFT_TEST_IMAGES: no folder {}", folder.display());
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let make = |file: &str, version, size_bytes| {
        write(&Build { size_bytes, ..Build::new(chip, version) }, &folder.path().join(file))
    };
    let (old, new) = (make("old.bin", "1.0.0", old_bytes), make("new.bin", "1.1.0", new_bytes));
    Pair { chip: chip.name(), old, new, _folder: Some(folder) }
}

/// Whole at any time: it may be made again while somebody reads it.
fn write(build: &Build, path: &Path) -> PathBuf {
    let part = path.with_extension("part");
    std::fs::write(&part, build.bytes()).expect("the image can be written");
    std::fs::rename(&part, path).expect("the image can be renamed");
    path.to_owned()
}

/// A folder of small built images.
#[derive(Debug)]
pub struct Workshop {
    folder: TempDir,
}

const SMALL_BYTES: u32 = 120_000;
const USUAL_BYTES: u32 = 1_400_000;
/// More than a bucket takes in one request.
const HUGE_BYTES: u32 = 9_000_000;

impl Workshop {
    /// An empty one.
    pub fn open() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// A healthy image for the ESP32-S3; another version has other bytes.
    pub fn image(&self, version: &str) -> PathBuf {
        self.behaving(version, Behaviour::Healthy)
    }

    /// One that does this once it runs.
    pub fn behaving(&self, version: &str, behaviour: Behaviour) -> PathBuf {
        self.make(version, Chip::Esp32S3, behaviour, SMALL_BYTES)
    }

    /// A healthy one of a usual size, so that a download can be interrupted.
    pub fn large(&self, version: &str) -> PathBuf {
        self.make(version, Chip::Esp32S3, Behaviour::Healthy, USUAL_BYTES)
    }

    /// A healthy one so large that it takes a while to go up.
    pub fn huge(&self, version: &str) -> PathBuf {
        self.make(version, Chip::Esp32S3, Behaviour::Healthy, HUGE_BYTES)
    }

    /// One for another chip than all the others here.
    pub fn for_another_chip(&self, version: &str) -> PathBuf {
        self.make(version, Chip::Esp32C3, Behaviour::Healthy, SMALL_BYTES)
    }

    /// A file of any content.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("the file can be written");
        path
    }

    fn make(&self, version: &str, chip: Chip, behaviour: Behaviour, size_bytes: u32) -> PathBuf {
        let path = self.folder.path().join(format!("{}-{version}.bin", chip.name()));
        write(&Build { behaviour: Some(behaviour), size_bytes, ..Build::new(chip, version) }, &path)
    }
}
