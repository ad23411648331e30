//! The `updraft` binary, and commands that end by themselves.
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::workspace;

/// The binary under test: `UPDRAFT_BIN`, else built once.
pub fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("UPDRAFT_BIN") {
            return path.into();
        }
        let mut build = Command::new(env!("CARGO"));
        // What cargo tells a test of its package would have build scripts run anew.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_a_package(&name.to_string_lossy())) {
            build.env_remove(name);
        }
        // Chosen as the test was, from the whole workspace and with a test, or dependencies get other features and are all
        // compiled a second time.
        build.args(["build", "--quiet", "--workspace", "--bin", "updraft", "--test", "road"]);
        let status = build.current_dir(workspace()).status();
        assert!(status.is_ok_and(|status| status.success()), "cargo build --workspace --bin updraft failed");
        // Relative, it is so to where cargo ran.
        workspace()
            .join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()))
            .join("debug/updraft")
    })
}

fn is_of_a_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
        .iter()
        .any(|start| variable.starts_with(start))
}

/// A command of the binary under test, free of the caller's settings.
pub fn updraft<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("UPDRAFT_")) {
        command.env_remove(name);
    }
    command.args(arguments).env("NO_COLOR", "1");
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; None if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs a command to its end, without holding up what else runs in the test.
    pub async fn by(command: Command) -> Self {
        let name = format!("{command:?}");
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        let Output { status, stdout, stderr } =
            output.await.unwrap_or_else(|error| panic!("{name}: {error}; `scripts/test e2e` installs it"));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// The same, for a command that succeeds.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "most callers only want to know that it succeeded")]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// For a command that is refused: exit code 1, and a sentence on standard error that has these words in it.
    #[track_caller]
    pub fn refused(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let sentence = self.err.to_lowercase();
        for word in words {
            assert!(sentence.contains(&word.to_lowercase()), "{word:?} is not in {self:?}");
        }
    }

    /// What it printed with `--json`.
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
