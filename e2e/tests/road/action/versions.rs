//! Which version a commit's firmware has.
use std::path::{Path, PathBuf};

use contract::Version;
use e2e::command::Said;
use e2e::job::{Checkout, Job, Report};
use e2e::workspace;

async fn chosen(job: &Job) -> Report {
    job.run().await
}

fn job() -> Job {
    Job::new().action(&workspace().join("action/version"))
}

async fn version_of(job: &Job) -> String {
    chosen(job).await.ok().output("version").to_owned()
}

async fn commits(checkout: &Checkout, count: usize) {
    for number in 0..count {
        checkout.commit(&format!("commit {number} of {count}")).await;
    }
}

#[tokio::test]
async fn a_tagged_commit_has_the_tags_version() {
    let job = job();
    let checkout = Checkout::init(&job.workspace()).await;
    commits(&checkout, 2).await;
    // Those that are no version are passed over; of several the highest counts.
    for tag in ["v1.2.3", "v1", "latest", "v1.2.4-rc.1", "v01.9.9", "v1.2.3.4"] {
        checkout.tag(tag).await;
    }
    let report = chosen(&job).await.ok();
    assert_eq!((report.output("version"), report.output("tag")), ("1.2.4-rc.1", "v1.2.4-rc.1"));
    checkout.tag("1.2.4").await;
    assert_eq!(version_of(&job).await, "1.2.4");
}

#[tokio::test]
async fn a_commit_after_a_tag_is_a_pre_release_of_the_next_patch() {
    let job = job();
    let checkout = Checkout::init(&job.workspace()).await;
    commits(&checkout, 1).await;
    checkout.tag("v1.2.3").await;
    commits(&checkout, 5).await;
    let report = chosen(&job).await.ok();
    assert_eq!(report.output("version"), format!("1.2.4-dev.5+{}", checkout.short().await));
    assert_eq!(report.output("tag"), "");
}

#[tokio::test]
async fn without_any_tag_the_commits_are_counted() {
    let job = job();
    let checkout = Checkout::init(&job.workspace()).await;
    commits(&checkout, 3).await;
    assert_eq!(version_of(&job).await, format!("0.0.0-dev.3+{}", checkout.short().await));
}

#[tokio::test]
async fn a_changed_checkout_says_so_and_what_a_build_leaves_beside_does_not_count() {
    let job = job();
    let checkout = Checkout::init(&job.workspace()).await;
    commits(&checkout, 1).await;
    checkout.tag("v1.2.3").await;
    std::fs::write(job.workspace().join("firmware.bin"), "built").unwrap();
    assert_eq!(version_of(&job).await, "1.2.3");
    std::fs::write(job.workspace().join("source"), "changed").unwrap();
    let short = checkout.short().await;
    assert_eq!(version_of(&job).await, format!("1.2.3+{short}.dirty"));
    let on_tag = Job::github(job, "ref_type", "tag").github("ref_name", "v1.2.3");
    assert_eq!(version_of(&on_tag).await, format!("1.2.3+{short}.dirty"));
    checkout.git(&["checkout", "--quiet", "source"]).await;
    commits(&checkout, 1).await;
    std::fs::write(on_tag.workspace().join("source"), "changed").unwrap();
    let job = on_tag.github("ref_type", "branch").github("ref_name", "main");
    assert_eq!(version_of(&job).await, format!("1.2.4-dev.1+{}.dirty", checkout.short().await));
}

/// Every commit of a history, in its order, is a higher version than the one before.
#[tokio::test]
async fn later_commits_sort_higher_whatever_is_tagged() {
    let job = job();
    let checkout = Checkout::init(&job.workspace()).await;
    let history =
        ["", "", "v0.1.0", "", "v1.0.0-rc.1", "", "", "v1.0.0-rc.2", "v1.0.0", "", "v1.0.1", "v2.0.0", ""];
    let mut last: Option<Version> = None;
    for (number, tag) in history.iter().enumerate() {
        checkout.commit(&format!("{number}")).await;
        if !tag.is_empty() {
            checkout.tag(tag).await;
        }
        let version: Version = version_of(&job).await.parse().unwrap();
        assert!(last.as_ref().is_none_or(|last| *last < version), "{last:?} then {version:?}");
        last = Some(version);
    }
    // Ten and more are not sorted as text.
    commits(&checkout, 10).await;
    let tenth: Version = version_of(&job).await.parse().unwrap();
    assert!(last.unwrap() < tenth);
    assert!(tenth < "2.0.1-rc.1".parse().unwrap() && tenth < "2.0.1".parse().unwrap());
}

/// A mended old release that is merged later does not pull main's versions down.
#[tokio::test]
async fn the_highest_tag_counts_not_the_nearest() {
    let job = job();
    let checkout = Checkout::init(&job.workspace()).await;
    commits(&checkout, 1).await;
    checkout.tag("v1.2.0").await;
    checkout.git(&["branch", "mend"]).await;
    commits(&checkout, 3).await;
    checkout.tag("v1.10.0").await;
    checkout.git(&["checkout", "--quiet", "mend"]).await;
    checkout.git(&["commit", "--quiet", "--allow-empty", "-m", "mended"]).await;
    checkout.tag("v1.2.1").await;
    checkout.git(&["checkout", "--quiet", "main"]).await;
    checkout.git(&["merge", "--quiet", "--no-edit", "mend"]).await;
    assert_eq!(version_of(&job).await, format!("1.10.1-dev.2+{}", checkout.short().await));
}

#[tokio::test]
async fn a_job_for_a_tag_takes_it_even_without_history() {
    let job = job();
    let checkout = Checkout::init(&job.workspace()).await;
    commits(&checkout, 1).await;
    let job = job.github("ref_type", "tag").github("ref_name", "v3.1.0-rc.2");
    let report = chosen(&job).await.ok();
    assert_eq!((report.output("version"), report.output("tag")), ("3.1.0-rc.2", "v3.1.0-rc.2"));
    let job = job.github("ref_name", "nightly");
    chosen(&job).await.failed(&["nightly", "SemVer", "v1.2.3"]);
}

#[tokio::test]
async fn a_given_version_overrules_and_must_be_one() {
    let given = async |version: &str| chosen(&job().with("version", version)).await;
    assert_eq!(given("v1.2.3-rc.1").await.ok().output("version"), "1.2.3-rc.1");
    let too_long = format!("1.2.3-{}", "a".repeat(64));
    for wrong in ["1.2", "1.2.3.4", "01.2.3", "1.2.3-01", "1.2.3\n1.2.4", "$(id)", "1.2.3-ä", &too_long] {
        given(wrong).await.failed(&["SemVer such as 1.2.0"]);
    }
}

#[tokio::test]
async fn a_shallow_checkout_is_told_to_fetch_all() {
    let job = job();
    let origin = tempfile::tempdir().unwrap();
    let source = Checkout::init(origin.path()).await;
    commits(&source, 3).await;
    source.tag("v1.0.0").await;
    let url = format!("file://{}", origin.path().display());
    clone(&["--depth", "1", "--no-tags", &url], &job.workspace()).await;
    chosen(&job).await.failed(&["shallow", "fetch-depth: 0", "version"]);
}

#[tokio::test]
async fn no_checkout_at_all_is_told_what_to_do() {
    chosen(&job()).await.failed(&["no git checkout", "actions/checkout", "fetch-depth: 0"]);
}

async fn clone(words: &[&str], into: &Path) {
    let mut command = std::process::Command::new("git");
    command.args(["clone", "--quiet"]).args(words).arg(PathBuf::from(into));
    Said::by(command).await.ok();
}
