//! A disk that fails while a server writes its database to it.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::beside;
use crate::command::Said;

/// A library that a server is started with, and how it is told what fails. It is well at first.
#[derive(Debug)]
pub struct FaultyDisk {
    control: File,
    library: PathBuf,
    folder: TempDir,
}

/// What a write fails with.
#[derive(Debug, Clone, Copy)]
pub enum Error {
    /// EIO: the disk is broken.
    Broken = 5,
    /// ENOSPC: it is full.
    Full = 28,
}

impl FaultyDisk {
    /// Compiles the library.
    pub async fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let library = folder.path().join("faulty_disk.so");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library);
        cc.arg(beside("faulty_disk.c"));
        Said::by(cc).await.ok();
        let path = folder.path().join("control");
        std::fs::write(&path, [0; 16]).expect("the file can be written");
        let control = File::options().read(true).write(true).open(&path).expect("the file can be opened");
        Self { control, library, folder }
    }

    /// The environment of a server that writes to it.
    pub fn env(&self) -> Vec<(String, String)> {
        let control = self.folder.path().join("control");
        [("LD_PRELOAD", &self.library), ("FAULTY_DISK", &control)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .to_vec()
    }

    /// From now on the `first` call and all after it fail, `count` of them.
    pub fn fail(&self, error: Error, first: u32, count: u32) {
        self.write(&[first, first.saturating_add(count), 0, 0]);
        self.write_at(8, error as u32);
    }

    /// It is well again. Answers how many calls there were since it was told to fail.
    pub fn heal(&self) -> u32 {
        self.write_at(8, 0);
        let mut seen = [0; 4];
        self.control.read_exact_at(&mut seen, 12).expect("the file can be read");
        u32::from_ne_bytes(seen)
    }

    fn write(&self, numbers: &[u32]) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.control.write_all_at(&bytes, 0).expect("the file can be written");
    }

    fn write_at(&self, at: u64, number: u32) {
        self.control.write_all_at(&number.to_ne_bytes(), at).expect("the file can be written");
    }
}
