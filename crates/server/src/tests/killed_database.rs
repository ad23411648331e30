//! The database itself is killed: a PostgreSQL of the test's own, with every program of it at once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::DeviceQuery;
use contract::TopicKind;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::rig::{id, until};
use super::without_broker::handed_on;
use super::{database, message};
use crate::db::Failure;
use crate::error::Error;

/// A PostgreSQL on a socket, as it is installed: what it has committed is on the disk.
struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    child: Child,
}

impl Postgres {
    async fn start() -> Self {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let programs = versions.map(|version| version.path().join("bin")).max();
        let programs = programs.expect("this test needs PostgreSQL: apt-get install postgresql");
        let folder = tempfile::Builder::new().prefix("postgres").tempdir_in("/tmp").expect("a folder");
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(owned.expect("runs").success());
        }
        let data = folder.path().join("data");
        let initdb = as_somebody(&programs.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "updraft", "--auth=trust", "--encoding=UTF8"])
            .output();
        let initdb = initdb.expect("runs");
        assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
        let child = Self::begin(&programs, folder.path());
        let started = Self { folder, programs, child };
        started.until_ready().await;
        started
    }

    fn begin(programs: &Path, folder: &Path) -> Child {
        let mut command = as_somebody(&programs.join("postgres"));
        command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-c", "listen_addresses="]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
    }

    async fn until_ready(&self) {
        let mut ready = Command::new(self.programs.join("pg_isready"));
        ready.arg("-q").arg("-h").arg(self.folder.path());
        until("PostgreSQL is ready", || std::future::ready(ready.status().expect("runs").success())).await;
    }

    /// Kills every program of it, as a crash of its machine would.
    fn kill(&mut self) {
        let server = self.child.id();
        let all = Command::new("pgrep").args(["-P", &server.to_string()]).output().expect("pgrep runs");
        let all = String::from_utf8(all.stdout).expect("numbers");
        let kill =
            Command::new("kill").arg("-9").arg(server.to_string()).args(all.split_whitespace()).output();
        assert!(!all.is_empty() && kill.is_ok());
        self.child.wait().expect("ended");
    }

    async fn restart(&mut self) {
        self.child = Self::begin(&self.programs, self.folder.path());
        self.until_ready().await;
    }

    fn url(&self) -> String {
        let server = format!("postgres://updraft@localhost/postgres?host={}", self.folder.path().display());
        database::schema_url(&server, self.folder.path())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("runs");
    id.stdout.trim_ascii() == b"0"
}

/// PostgreSQL refuses to run as root.
fn as_somebody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_of_the_database_and_the_rest_comes_again() {
    const DEVICES: usize = 200;
    let mut postgres = Postgres::start().await;
    let (_folder, app) = handed_on(&postgres.url(), "").await;
    let batch = |number: i64| {
        let version = format!("1.0.{number}");
        (0..DEVICES).map(move |n| message(&format!("d{n}"), TopicKind::Version, &version)).collect::<Vec<_>>()
    };
    let (tell, told) = tokio::sync::watch::channel(0_i64);
    let (messages, stop) = (app.messages.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let writer = tokio::spawn(async move {
        for number in 1.. {
            // As the batcher does: the same again, until it is committed.
            let mut attempts = 0;
            while let Err(error) = messages.take(&batch(number), 1).await {
                let failure = error.downcast_ref().map(Failure::of);
                assert_eq!(failure, Some(Failure::Away), "{error:#}");
                attempts += 1;
                assert!(attempts < 1000, "{error:#}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tell.send_replace(number);
            if stopped.is_cancelled() {
                return number;
            }
        }
        unreachable!("it is stopped before")
    });
    for killed_after in [3, 9] {
        let (begun, mut told) = (*told.borrow(), told.clone());
        told.wait_for(|number| *number >= begun + killed_after).await.expect("it goes on");
        postgres.kill();
        let acknowledged = *told.borrow();
        let device = id("d0");
        let (problems, refused) = tokio::join!(app.health.problems(), app.devices.show(&device));
        assert!(problems.iter().any(|problem| problem.contains("database")), "{problems:?}");
        let refused = refused.expect_err("the database is away");
        assert!(matches!(refused, Error::DatabaseUnavailable(_)), "{refused}");
        postgres.restart().await;
        until("it is back", || async { app.devices.show(&device).await.is_ok() }).await;
        let query = DeviceQuery { limit: Some(500), ..DeviceQuery::default() };
        let shown = app.devices.list(&query).await.expect("listed").items;
        assert_eq!(shown.len(), DEVICES);
        for device in shown {
            let version = device.version.expect("a version").to_string();
            let patch = version.rsplit('.').next().and_then(|number| number.parse::<i64>().ok());
            assert!(
                patch.expect("a number") >= acknowledged,
                "{version}, and {acknowledged} was acknowledged"
            );
        }
    }
    stop.cancel();
    let last = writer.await.expect("it went on to its end");
    let shown = app.devices.show(&id("d199")).await.expect("there");
    assert_eq!(shown.version.expect("one").to_string(), format!("1.0.{last}"));
    until("all are counted", || async {
        let counts = app.devices.counts(None).await.expect("counted");
        (counts.devices, counts.online) == (200, 200)
    })
    .await;
}
