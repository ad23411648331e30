//! Jobs on GitHub, as far as an action sees one: `job.py` runs the action's steps, here are a job's folders and what came of it.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Deserializer};
use serde_json::json;
use tempfile::TempDir;

use crate::command::{Said, updraft};
use crate::{beside, workspace};

/// A job that is about to run the action: a workspace, a tool cache, and what the workflow says.
#[derive(Debug)]
pub struct Job {
    folder: TempDir,
    action: PathBuf,
    with: BTreeMap<String, String>,
    github: BTreeMap<String, String>,
    runner: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

/// What came of a job.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// Whether every step succeeded.
    pub ok: bool,
    /// The log as people see it: secrets are masked.
    pub log: String,
    /// The action's outputs.
    pub outputs: BTreeMap<String, String>,
    /// The job's summary, in Markdown.
    pub summary: String,
    /// What was added to the PATH of later steps.
    pub paths: Vec<String>,
    /// `level title: text` of each annotation.
    #[serde(deserialize_with = "lines")]
    pub annotations: Vec<String>,
}

fn lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct Annotation {
        level: String,
        title: String,
        text: String,
    }
    let annotations = Vec::<Annotation>::deserialize(deserializer)?.into_iter();
    Ok(annotations.map(|Annotation { level, title, text }| format!("{level} {title}: {text}")).collect())
}

impl Job {
    /// A job for a push to `main`, in an empty workspace, with the action of this checkout.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for part in ["workspace", "temp", "tools"] {
            std::fs::create_dir(folder.path().join(part)).expect("a folder can be made");
        }
        let job = Self {
            folder,
            action: workspace().join("action"),
            with: BTreeMap::new(),
            github: BTreeMap::new(),
            runner: BTreeMap::new(),
            env: BTreeMap::new(),
        };
        job.github("ref_type", "branch").github("ref_name", "main")
    }

    /// Another folder with an `action.yml`.
    #[must_use]
    pub fn action(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.action);
        self
    }

    /// One of the action's inputs.
    #[must_use]
    pub fn with(mut self, input: &str, value: impl Into<String>) -> Self {
        self.with.insert(input.to_owned(), value.into());
        self
    }

    /// A value of the `github` context, which is also a variable `GITHUB_…`.
    #[must_use]
    pub fn github(mut self, name: &str, value: &str) -> Self {
        self.github.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A variable of the runner.
    #[must_use]
    pub fn runner(mut self, name: &str, value: &str) -> Self {
        self.runner.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A variable of the job.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The checkout.
    pub fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// What the runner keeps between jobs.
    pub fn tools(&self) -> PathBuf {
        self.folder.path().join("tools")
    }

    /// The folder that is emptied after a job.
    pub fn temp(&self) -> PathBuf {
        self.folder.path().join("temp")
    }

    /// Runs the action to its end.
    ///
    /// # Panics
    /// If `action.yml` itself is wrong.
    pub async fn run(&self) -> Report {
        let request = json!({
            "with": self.with,
            "github": self.github,
            "runner": self.runner,
            "env": self.env,
            "workspace": self.workspace(),
            "temp": self.temp(),
            "tool_cache": self.tools(),
        });
        let mut command = clean(Command::new("python3"));
        command.arg(beside("job.py")).arg(&self.action).arg(request.to_string());
        Said::by(command).await.ok().json()
    }
}

impl Default for Job {
    fn default() -> Self {
        Self::new()
    }
}

/// Free of what the caller's own job, or its user, has set.
fn clean(mut command: Command) -> Command {
    let outside = ["GITHUB_", "RUNNER_", "UPDRAFT_", "AWS_", "ACTIONS_", "INPUT_", "GIT_"];
    for (name, _) in std::env::vars_os() {
        if outside.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

impl Report {
    /// An output; empty if there is none.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }

    /// The same report, of a job that succeeded.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "many callers only want to know that it succeeded")]
    pub fn ok(self) -> Self {
        assert!(self.ok, "{self:#?}");
        self
    }

    /// For a job that failed with one error annotation that has these words in it.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "many callers only want to know that it failed so")]
    pub fn failed(self, words: &[&str]) -> Self {
        let errors: Vec<_> = self.annotations.iter().filter(|one| one.starts_with("error ")).collect();
        assert!(!self.ok && errors.len() == 1, "{self:#?}");
        for word in words {
            assert!(errors[0].contains(word), "{word:?} is not in {self:#?}");
        }
        self
    }
}

/// A git repository of a test's own, with a person who commits.
#[derive(Debug)]
pub struct Checkout {
    folder: PathBuf,
}

impl Checkout {
    /// An empty repository in a folder.
    pub async fn init(folder: &Path) -> Self {
        let checkout = Self { folder: folder.to_owned() };
        checkout.git(&["init", "--quiet", "--initial-branch", "main"]).await;
        checkout
    }

    /// Runs git in it.
    pub async fn git(&self, words: &[&str]) -> String {
        let mut command = clean(Command::new("git"));
        command.current_dir(&self.folder).args(["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"]);
        command.args(["-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]).args(words);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        Said::by(command).await.ok().out.trim().to_owned()
    }

    /// One more commit, of a file that is tracked.
    pub async fn commit(&self, text: &str) {
        std::fs::write(self.folder.join("source"), text).expect("a file can be written");
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "-m", text]).await;
    }

    /// A tag on the newest commit.
    pub async fn tag(&self, name: &str) {
        self.git(&["tag", "-a", "-m", name, name]).await;
    }

    /// The newest commit, as versions name it: `g` and seven digits.
    pub async fn short(&self) -> String {
        format!("g{}", self.git(&["rev-parse", "--short=7", "HEAD"]).await)
    }
}

/// The binary under test says what it is called and which version it is.
pub async fn version_of_the_binary() -> String {
    let said = Said::by(updraft(["--version"])).await.ok().out;
    said.trim().rsplit(' ').next().unwrap_or_default().to_owned()
}
