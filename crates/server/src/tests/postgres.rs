//! A PostgreSQL of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::database;
use super::rig::until;

/// Of its superuser, where a password is asked for.
pub(crate) const PASSWORD: &str = "correct horse";

/// A PostgreSQL on a socket, as it is installed: what it has committed is on the disk.
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    /// What it is started with, besides.
    arguments: Vec<String>,
    child: Child,
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        Self::start_with("--auth=trust", 5432, |_| Vec::new()).await
    }

    /// Once more, with how it asks who somebody is, its port, and settings made in its folder.
    pub(crate) async fn start_with(
        auth: &str,
        port: u16,
        settings: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let programs = versions.map(|version| version.path().join("bin")).max();
        let programs = programs.expect("this test needs PostgreSQL: apt-get install postgresql");
        let folder = tempfile::Builder::new().prefix("postgres").tempdir_in("/tmp").expect("a folder");
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(owned.expect("runs").success());
        }
        let (data, pwfile) = (folder.path().join("data"), folder.path().join("pwfile"));
        std::fs::write(&pwfile, PASSWORD).expect("written");
        let initdb = as_somebody(&programs.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "updraft", "--encoding=UTF8"])
            .args(auth.split_whitespace())
            .arg("--pwfile")
            .arg(&pwfile)
            .output();
        let initdb = initdb.expect("runs");
        assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
        let mut arguments = vec!["-p".to_owned(), port.to_string()];
        arguments.extend(settings(folder.path()).into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        let child = Self::begin(&programs, folder.path(), &arguments);
        let started = Self { folder, programs, arguments, child };
        started.until_ready().await;
        started
    }

    fn begin(programs: &Path, folder: &Path, arguments: &[String]) -> Child {
        let mut command = as_somebody(&programs.join("postgres"));
        command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-c", "listen_addresses="]);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
    }

    async fn until_ready(&self) {
        let mut ready = Command::new(self.programs.join("pg_isready"));
        ready.arg("-q").arg("-h").arg(self.folder.path()).args(self.arguments.iter().take(2));
        until("PostgreSQL is ready", || std::future::ready(ready.status().expect("runs").success())).await;
    }

    /// Kills every program of it, as a crash of its machine would.
    pub(crate) fn kill(&mut self) {
        let server = self.child.id();
        let all = Command::new("pgrep").args(["-P", &server.to_string()]).output().expect("pgrep runs");
        let all = String::from_utf8(all.stdout).expect("numbers");
        let kill =
            Command::new("kill").arg("-9").arg(server.to_string()).args(all.split_whitespace()).output();
        assert!(!all.is_empty() && kill.is_ok());
        self.child.wait().expect("ended");
    }

    pub(crate) async fn restart(&mut self) {
        self.child = Self::begin(&self.programs, self.folder.path(), &self.arguments);
        self.until_ready().await;
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
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
