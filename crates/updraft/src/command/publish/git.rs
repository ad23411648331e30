//! What Git knows of the working directory: from which commit the image was built, as far as anybody can tell from here.
//!
//! Nothing depends on it: without Git, or without a repository, nothing is said. A build service that checks out without
//! a repository says the commit in its environment.

use std::process::Stdio;
use std::time::Duration;

use contract::Version;
use tokio::process::Command;

/// Git answers within milliseconds, unless the working directory lies on a network that is gone.
const TIMEOUT: Duration = Duration::from_secs(5);

/// From what an image was built.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) commit: Option<String>,
    /// A tag at that commit; the one that names the version, where there are several.
    pub(super) tag: Option<String>,
    /// Whether a tracked file differs from that commit.
    pub(super) dirty: Option<bool>,
}

/// Asks Git about the working directory, else GitHub's environment. In a job of GitHub's the environment alone: what lies in
/// the working directory may be another job's artifact, and a repository can have Git run programs.
pub(super) async fn source(version: Option<&Version>) -> Source {
    if std::env::var("GITHUB_ACTIONS").is_ok_and(|is_job| is_job == "true") {
        return of_environment(|name| std::env::var(name).ok());
    }
    let Some(commit) = git(&["rev-parse", "--verify", "HEAD"]).await.filter(|commit| is_hash(commit)) else {
        return of_environment(|name| std::env::var(name).ok());
    };
    let (tags, changes) = tokio::join!(
        git(&["tag", "--points-at", "HEAD"]),
        git(&["status", "--porcelain", "--untracked-files=no"])
    );
    let tag = tags.and_then(|tags| chosen(&tags, version));
    Source { commit: Some(commit), tag, dirty: changes.map(|changes| !changes.is_empty()) }
}

/// What one command prints; `None` if it fails, is not there or takes too long.
async fn git(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // Looking must not write, not even Git's index.
    command.args(arguments).env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await.ok()?.ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}

fn chosen(tags: &str, version: Option<&Version>) -> Option<String> {
    let names_it = |tag: &&str| version.is_some_and(|version| tag.parse::<Version>().as_ref() == Ok(version));
    let tag = tags.lines().find(names_it).or_else(|| tags.lines().next())?;
    Some(tag.to_owned()).filter(|tag| !tag.is_empty())
}

fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Source {
    let commit = variable("GITHUB_SHA").filter(|commit| is_hash(commit));
    let is_tag = commit.is_some() && variable("GITHUB_REF_TYPE").as_deref() == Some("tag");
    let tag = if is_tag { variable("GITHUB_REF_NAME").filter(|tag| !tag.is_empty()) } else { None };
    Source { commit, tag, dirty: None }
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_tags_the_one_that_names_the_version_is_taken() {
        let version: Version = "1.2.0".parse().expect("a version");
        assert_eq!(chosen("latest\nv1.2.0\nv1.1.9", Some(&version)).as_deref(), Some("v1.2.0"));
        assert_eq!(chosen("latest\nv1.1.9", Some(&version)).as_deref(), Some("latest"));
        assert_eq!(chosen("", None), None);
    }

    #[test]
    fn without_a_repository_github_s_environment_says_the_commit() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let of = |variables: &[(&str, &str)]| {
            of_environment(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let tagged = of(&[("GITHUB_SHA", sha), ("GITHUB_REF_TYPE", "tag"), ("GITHUB_REF_NAME", "v1.0.0")]);
        let expected = Source { commit: Some(sha.to_owned()), tag: Some("v1.0.0".to_owned()), dirty: None };
        assert_eq!(tagged, expected);
        let branch = of(&[("GITHUB_SHA", sha), ("GITHUB_REF_TYPE", "branch"), ("GITHUB_REF_NAME", "main")]);
        assert_eq!(branch.tag, None);
        assert_eq!(of(&[("GITHUB_SHA", "main"), ("GITHUB_REF_TYPE", "tag")]), Source::default());
    }
}
