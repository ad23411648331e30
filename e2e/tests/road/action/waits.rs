//! The action waits for the verdict of a rollout.
use e2e::images::Workshop;
use e2e::job::Job;
use e2e::server::Server;
use serde_json::json;

use super::publishes::building;
use crate::publish_wait::rollouts::{Answer, Rollouts, TOKEN, counts, list, rollout};

fn job(workshop: &Workshop, url: &str) -> Job {
    building(&workshop.image("1.2.0")).with("version", "1.2.0").with("server", url).with("token", TOKEN)
}

#[tokio::test]
async fn a_halted_rollout_fails_the_job_with_its_reason_and_the_release_stays_published() {
    let workshop = Workshop::open();
    let reason = "2 of 3 failed | <b>\n::warning::no";
    let halted = json!({"state": "halted", "halt_reason": reason, "counts": counts(1, 0, 2)});
    let server = Rollouts::start(vec![
        list(&[]),
        Answer::Status(502),
        list(&[rollout(1, "1.2.0", &json!({"counts": counts(0, 1, 0)}))]),
        list(&[rollout(1, "1.2.0", &halted)]),
    ])
    .await;
    let report = job(&workshop, server.url()).with("wait", "1m").run().await;
    let expected = "error updraft: lamp 1.2.0 is published, and rollout 1 was halted: 2 of 3 failed | <b> ::warning::no \
                    (1 of 3 devices succeeded, 2 failed).";
    assert_eq!(report.annotations, [expected], "{report:#?}");
    assert!(!report.ok);
    assert_eq!((report.output("decision"), report.output("version")), ("published", "1.2.0"));
    assert!(report.log.contains("rollout 1 is running, step 1: 0 of 3 devices succeeded"), "{report:#?}");
    for words in [
        "### `lamp` `1.2.0` is published, and its rollout is `halted`",
        "| rollout | `1`: 1 of 3 devices succeeded, 2 `failed` |",
        "was halted: 2 of 3 failed \\| &lt;b&gt;",
    ] {
        assert!(report.summary.contains(words), "{words}: {}", report.summary);
    }
    // How it went in between is in the log.
    assert!(!report.summary.contains("502") && !report.summary.contains("running"), "{}", report.summary);
}

#[tokio::test]
async fn a_rollout_that_is_done_succeeds_and_the_job_run_again_has_the_same_verdict() {
    let workshop = Workshop::open();
    let done = json!({"state": "done", "counts": counts(3, 0, 0)});
    let server = Rollouts::start(vec![list(&[]), list(&[rollout(1, "1.2.0", &done)])]).await;
    let job = job(&workshop, server.url()).with("wait", "true");
    let report = job.run().await.ok();
    assert_eq!(report.output("decision"), "published");
    assert!(report.summary.contains("is published, and its rollout is `done`"), "{}", report.summary);
    let report = job.run().await.ok();
    assert_eq!(report.output("decision"), "unchanged");
    assert!(report.summary.contains("3 of 3 devices succeeded |"), "{}", report.summary);
}

#[tokio::test]
async fn where_there_is_nothing_to_wait_for_nothing_is_published() {
    let (workshop, real) = (Workshop::open(), Server::start().await);
    let token = real.new_token("ci", "ci").await;
    let job = |url: &str| job(&workshop, url).with("token", &token);
    let older = Rollouts::start(vec![Answer::Status(404)]).await.without_rollouts();
    let report = building(&workshop.image("1.2.0"))
        .with("version", "1.2.0")
        .with("server", older.url())
        .with("token", TOKEN)
        .with("wait", "true")
        .run()
        .await;
    let report = report.failed(&["This server has no rollouts", "leave --wait out"]);
    assert_eq!(report.output("decision"), "failed");
    job(&real.url("")).with("wait", "soon").run().await.failed(&["such as 90m"]);
    let store = format!("file:{}", real.folder().join("store").display());
    job("")
        .with("store", store)
        .with("wait", "90m")
        .run()
        .await
        .failed(&["wait is 90m", "server is not set"]);
    assert!(!real.folder().join("store/lamp").exists(), "nothing was published");
    assert_eq!(job(&real.url("")).with("wait", "false").run().await.ok().output("decision"), "published");
}

#[tokio::test]
async fn a_rollout_that_never_began_is_said() {
    let workshop = Workshop::open();
    let server = Rollouts::start(vec![list(&[])]).await;
    let report = job(&workshop, server.url()).with("wait", "1s").run().await.failed(&["no verdict after 1s"]);
    assert_eq!(report.output("decision"), "published");
    assert!(report.summary.contains("is published, and no rollout of it began"), "{}", report.summary);
}
