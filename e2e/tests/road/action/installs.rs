//! How the action gets its `updraft`. Downloads come from a server of this test's own.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::command::{Said, binary};
use e2e::job::{Job, Report, version_of_the_binary};
use e2e::process::{Process, free_port};
use e2e::server::http_client;
use e2e::wait::until;
use e2e::workspace;
use tempfile::TempDir;

const TARGET: &str = "x86_64-unknown-linux-musl";
const ARCHIVE: &str = "updraft-x86_64-unknown-linux-musl.tar.gz";

/// A release of the version under test, made by `scripts/package` as the pipeline does, behind HTTP.
struct Mirror {
    version: String,
    url: String,
    _process: Process,
    folder: TempDir,
}

impl Mirror {
    async fn start() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let version = version_of_the_binary().await;
        let release = folder.path().join(format!("v{version}"));
        // It leads to the binary under test, whose debug build takes minutes to pack, once for each test.
        let program = folder.path().join("updraft");
        write_program(&program, &format!("exec '{}' \"$@\"", binary().display()));
        package(&[TARGET, program.to_str().unwrap(), release.to_str().unwrap()]).await;
        package(&["checksums", release.to_str().unwrap()]).await;
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string(), "--directory"]);
        let process = Process::start("mirror", command.arg(folder.path()), folder.path());
        let (http, url) = (http_client(), format!("http://127.0.0.1:{port}"));
        until("the mirror answers", || async { http.get(&url).send().await.ok() }).await;
        Self { version, url, _process: process, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("v{}", self.version)).join(name)
    }

    /// A job that installs from here, and then has nothing to publish: it ends there.
    fn job(&self) -> Job {
        installing().with("releases", &self.url).with("updraft-version", &self.version)
    }
}

async fn package(words: &[&str]) {
    let mut command = Command::new(workspace().join("scripts/package"));
    command.args(words);
    Said::by(command).await.ok();
}

fn installing() -> Job {
    Job::new().with("version", "1.0.0").with("product", "lamp").with("image", "absent.bin")
}

/// That the binary was installed shows in what failed next.
#[track_caller]
fn installed(report: Report) -> Report {
    report.failed(&["absent.bin", "no such file"])
}

/// Nothing of a failed installation is left to be taken for a good one.
#[track_caller]
fn assert_nothing_installed(job: &Job, report: &Report) {
    assert!(report.paths.is_empty(), "{report:#?}");
    assert_eq!(std::fs::read_dir(job.tools()).unwrap().count(), 0, "{report:#?}");
    let left: Vec<_> =
        std::fs::read_dir(job.temp()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("updraft.")), "{left:?}");
}

#[tokio::test]
async fn a_release_is_installed_once_and_is_on_the_path() {
    let mirror = Mirror::start().await;
    let job = mirror.job();
    let report = installed(job.run().await);
    assert!(report.log.contains("is downloaded; the SHA-256 of"), "{report:#?}");
    let mut command = Command::new(Path::new(&report.paths[0]).join("updraft"));
    command.arg("--version");
    assert!(Said::by(command).await.ok().out.contains(&mirror.version));
    // The second time without the mirror.
    std::fs::remove_file(mirror.file(ARCHIVE)).unwrap();
    let report = installed(job.run().await);
    assert!(report.log.contains("is in the tool cache"), "{report:#?}");
}

#[tokio::test]
async fn the_version_is_the_actions_own_unless_said() {
    let mirror = Mirror::start().await;
    let job = || installing().with("releases", &mirror.url);
    let own = installed(job().run().await);
    assert!(own.log.contains(&format!("updraft {} is downloaded", mirror.version)), "{own:#?}");
    let tagged = job().github("action_ref", "v7.7.7").run().await;
    tagged.failed(&["no release 7.7.7", "updraft-version", "install: build"]);
    installed(job().github("action_ref", "f548e57e544e1ff5a4c46bf1e1b8685f8e4a348a").run().await);
    job().with("updraft-version", "../../x").run().await.failed(&["updraft-version is ../../x"]);
}

#[tokio::test]
async fn another_file_than_the_checksum_says_is_not_installed() {
    let mirror = Mirror::start().await;
    let mut archive = std::fs::read(mirror.file(ARCHIVE)).unwrap();
    let middle = archive.len() / 2;
    archive[middle] ^= 1;
    std::fs::write(mirror.file(ARCHIVE), archive).unwrap();
    let job = mirror.job();
    let report = job.run().await.failed(&[ARCHIVE, "SHA256SUMS says", "Nothing was installed"]);
    assert_nothing_installed(&job, &report);
}

#[tokio::test]
async fn a_checksum_of_the_workflow_is_kept_to_also_from_the_cache() {
    let mirror = Mirror::start().await;
    let sums = std::fs::read_to_string(mirror.file("SHA256SUMS")).unwrap();
    let right = sums.split_whitespace().next().unwrap().to_owned();
    let job = mirror.job().with("checksum", right.to_uppercase());
    installed(job.run().await);
    let job = job.with("checksum", "0".repeat(64));
    job.run().await.failed(&["the input checksum says", "Nothing was installed"]);
    let fresh = mirror.job().with("checksum", "0".repeat(64));
    let report = fresh.run().await.failed(&["the input checksum says"]);
    assert_nothing_installed(&fresh, &report);
}

/// Whoever can write to a runner's tool cache can write every file in it.
#[tokio::test]
async fn with_a_checksum_a_poisoned_cache_is_not_run() {
    let mirror = Mirror::start().await;
    let sums = std::fs::read_to_string(mirror.file("SHA256SUMS")).unwrap();
    let right = sums.split_whitespace().next().unwrap().to_owned();
    let job = mirror.job();
    installed(job.run().await);
    let cache = job.tools().join("updraft").join(&mirror.version);
    let (binary, archive) = (cache.join(TARGET).join("updraft"), cache.join(TARGET).join(ARCHIVE));
    let ran = job.temp().join("ran");
    write_program(&binary, &format!("touch '{}'; echo updraft 0.0.0", ran.display()));
    for mark in [cache.join(format!("{TARGET}.complete")), cache.join(TARGET).join("SHA256SUMS")] {
        std::fs::write(mark, &right).unwrap();
    }
    let job = job.with("checksum", &right);
    // The archive is there, is what the workflow names, and is unpacked again: without the mirror.
    let moved = mirror.file("moved");
    std::fs::rename(mirror.file(ARCHIVE), &moved).unwrap();
    let report = installed(job.run().await);
    assert!(report.log.contains("is in the tool cache, and has the SHA-256"), "{report:#?}");
    assert!(Path::new(&report.paths[0]).starts_with(job.temp()), "{report:#?}");
    // An archive that somebody made is not.
    std::fs::write(&archive, b"poison").unwrap();
    job.run().await.failed(&["not complete", ARCHIVE, "404"]);
    std::fs::rename(moved, mirror.file(ARCHIVE)).unwrap();
    let report = installed(job.run().await);
    assert!(report.log.contains("is downloaded; the SHA-256 of"), "{report:#?}");
    assert!(!ran.exists(), "what lay in the cache was run");
}

#[tokio::test]
async fn what_a_release_lacks_is_said() {
    let mirror = Mirror::start().await;
    std::fs::remove_file(mirror.file(ARCHIVE)).unwrap();
    let job = mirror.job();
    let report = job.run().await.failed(&["not complete", ARCHIVE, "404"]);
    assert_nothing_installed(&job, &report);
    std::fs::write(mirror.file("SHA256SUMS"), format!("{}  updraft-other.tar.gz\n", "0".repeat(64))).unwrap();
    mirror.job().run().await.failed(&["has no", ARCHIVE, "SHA256SUMS"]);
    std::fs::remove_file(mirror.file("SHA256SUMS")).unwrap();
    mirror.job().run().await.failed(&["There is no release", &mirror.version, "404"]);
}

#[tokio::test]
async fn a_mirror_out_of_reach_is_said_and_plain_http_elsewhere_is_not_used() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let job = installing().with("updraft-version", "0.1.0");
    job.with("releases", nobody).run().await.failed(&["Cannot download", "Run the job again"]);
    let job = installing().with("updraft-version", "0.1.0");
    let report = job.with("releases", "http://updraft.invalid").run().await.failed(&["Cannot download"]);
    assert!(report.log.contains("Protocol \"http\" not supported or disabled"), "{report:#?}");
}

#[tokio::test]
async fn a_runner_without_a_release_is_told_to_build() {
    let mirror = Mirror::start().await;
    let job = mirror.job().runner("RUNNER_ARCH", "RISCV64");
    job.run().await.failed(&["Linux RISCV64", "Linux X64", "Windows X64", "install: build"]);
}

/// The action's repository, with a small program in place of the whole of Updraft: what counts is which cargo builds what, where.
#[tokio::test]
async fn it_is_built_from_the_actions_own_repository() {
    let repository = tempfile::tempdir().unwrap();
    let root = repository.path();
    let copied = Command::new("cp").arg("-r").arg(workspace().join("action")).arg(root).status();
    assert!(copied.unwrap().success());
    std::fs::create_dir_all(root.join("src")).unwrap();
    let manifest = "[package]\nname = \"updraft\"\nversion = \"4.5.6\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(root.join("Cargo.toml"), manifest).unwrap();
    let lock = "version = 4\n\n[[package]]\nname = \"updraft\"\nversion = \"4.5.6\"\n";
    std::fs::write(root.join("Cargo.lock"), lock).unwrap();
    std::fs::write(root.join("src/main.rs"), "fn main() { println!(\"updraft 4.5.6\") }").unwrap();
    let job = installing().action(&root.join("action")).with("install", "build");
    let report = installed(job.run().await);
    assert!(report.log.contains("updraft 4.5.6: "), "{report:#?}");
    assert!(Path::new(&report.paths[0]).starts_with(job.temp()), "{report:#?}");
    std::fs::write(root.join("src/main.rs"), "fn main() { nonsense }").unwrap();
    job.run().await.failed(&["could not be built", "cargo's message above"]);
}

#[tokio::test]
async fn one_that_is_there_is_used() {
    let folder = binary().parent().unwrap().to_str().unwrap();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let job = || installing().with("install", "path");
    installed(job().env("PATH", &path).run().await);
    job().env("PATH", &without_updraft()).run().await.failed(&["no updraft on the PATH"]);
    let named = |program: &str| installing().with("binary", program);
    installed(named(binary().to_str().unwrap()).run().await);
    named("absent/updraft").run().await.failed(&["absent/updraft", "no program of that name"]);
    let broken = tempfile::tempdir().unwrap();
    let program = broken.path().join("updraft");
    write_program(&program, "exit 3");
    named(program.to_str().unwrap()).run().await.failed(&["does not run here"]);
    installing().with("install", "magic").run().await.failed(&["install is magic", "release, build or path"]);
}

fn write_program(path: &Path, line: &str) {
    std::fs::write(path, format!("#!/usr/bin/env bash\n{line}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn without_updraft() -> String {
    let path = std::env::var("PATH").unwrap();
    let folders = path.split(':').filter(|folder| !Path::new(folder).join("updraft").exists());
    folders.collect::<Vec<_>>().join(":")
}
