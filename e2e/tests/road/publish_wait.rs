//! `updraft publish --wait`: the real command against a server that has rollouts, as the contract says them, and against the
//! real one, which has none.
use api::PublishDecision;
use e2e::command::{Said, updraft};
use e2e::folder::content;
use e2e::images::Workshop;
use e2e::server::{Server, Setup};
use serde::Deserialize;
use serde_json::{Value, json};

use self::rollouts::{Answer, Rollouts, TOKEN, counts, list, rollout};
use crate::issuer::Issuer;

pub(crate) mod rollouts;

const HALTED: &str = "2 of 3 attempts failed, and 5 % may";

/// What the command prints for programs.
#[derive(Debug, Deserialize)]
struct Printed {
    decision: PublishDecision,
    /// As it stands there, null if there was none.
    rollout: Value,
}

async fn publish(server: &Rollouts, workshop: &Workshop, more: &[&str]) -> Said {
    let image = workshop.image("1.2.0").display().to_string();
    let arguments = ["publish", &image, "-p", "lamp", "--server", server.url()];
    let mut command = updraft(arguments.iter().chain(more));
    command.env("UPDRAFT_TOKEN", TOKEN);
    Said::by(command).await
}

/// The lines on standard error that begin so, in their order.
fn lines<'a>(said: &'a Said, start: &str) -> Vec<&'a str> {
    said.err.lines().filter(|line| line.starts_with(start)).collect()
}

#[tokio::test]
async fn a_canary_that_is_halted_fails_the_job_with_its_reason() {
    let workshop = Workshop::open();
    let halted = json!({"state": "halted", "step": 2, "halt_reason": HALTED, "counts": counts(1, 0, 2)});
    let server = Rollouts::start(vec![
        // A rollout of another version, and one of the same precedence, are none of this one's.
        list(&[rollout(3, "1.1.0", &json!({})), rollout(4, "1.2.0+other", &json!({}))]),
        list(&[rollout(3, "1.1.0", &json!({"state": "done"}))]),
        list(&[rollout(3, "1.1.0", &json!({})), rollout(5, "1.2.0", &json!({"counts": counts(0, 1, 0)}))]),
        Answer::Status(502),
        Answer::Lost,
        list(&[rollout(5, "1.2.0", &json!({"state": "paused", "counts": counts(1, 0, 0)}))]),
        list(&[rollout(5, "1.2.0", &halted)]),
    ])
    .await;
    let said = publish(&server, &workshop, &["--wait"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("lamp 1.2.0 is published"), "{said:?}");
    let expected = [
        "rollout 5 is running, step 1: 0 of 3 devices succeeded, 1 in flight, 2 waiting.",
        "rollout 5 is paused, step 1: 1 of 3 devices succeeded, 2 waiting.",
        "rollout 5 is halted, step 2: 1 of 3 devices succeeded, 2 failed.",
    ];
    let lines_said: Vec<_> =
        lines(&said, "rollout").into_iter().filter(|line| !line.contains("last")).collect();
    assert_eq!(lines_said, expected, "{said:?}");
    assert!(
        said.err.starts_with("no rollout of lamp 1.2.0 has begun. Waiting for one, for at most 1h."),
        "{said:?}"
    );
    assert!(said.err.contains("502"), "{said:?}");
    let last = said.err.lines().last().unwrap();
    assert_eq!(
        last,
        format!(
            "updraft: lamp 1.2.0 is published, and rollout 5 was halted: {HALTED} (1 of 3 devices succeeded, 2 failed)."
        )
    );
    assert_eq!(server.uploads(), ["1.2.0"]);
}

#[tokio::test]
async fn a_canary_that_is_done_succeeds_and_says_so_to_programs() {
    let workshop = Workshop::open();
    let server = Rollouts::start(vec![
        list(&[]),
        list(&[rollout(1, "1.2.0", &json!({"state": "warming\u{1b}[2Jup", "counts": {"total": 3}}))]),
        Answer::Json(json!({"items": "none"})),
        Answer::Text("<html>Back soon</html>".to_owned()),
        list(&[rollout(1, "1.2.0", &json!({"state": "done", "counts": counts(3, 0, 0), "more": [1]}))]),
    ])
    .await;
    let said = publish(&server, &workshop, &["--wait", "1m", "--json"]).await.ok();
    let answer: Printed = said.json();
    assert_eq!(answer.decision, PublishDecision::Published, "{answer:?}");
    let expected = json!({"id": 1, "state": "done", "halt_reason": null, "counts": counts(3, 0, 0)});
    assert_eq!(answer.rollout, expected);
    assert!(
        said.err.contains("rollout 1 is warming [2Jup, step 1: "),
        "it is waited for, and named: {said:?}"
    );
    assert!(!said.err.contains('\u{1b}'), "{said:?}");
}

#[tokio::test]
async fn an_aborted_one_fails_and_so_does_one_without_a_verdict_in_time() {
    let workshop = Workshop::open();
    let running = list(&[rollout(1, "1.2.0", &json!({"state": "paused", "step": 2}))]);
    for (then, words) in [
        (
            list(&[rollout(1, "1.2.0", &json!({"state": "aborted"}))]),
            vec!["lamp 1.2.0 is published, and rollout 1 was aborted (0 of 3"],
        ),
        (running, vec!["no verdict after 3s: rollout 1 is paused, step 2: 0 of 3"]),
        (list(&[]), vec!["no verdict after 3s: no rollout of lamp 1.2.0 has begun"]),
        (Answer::Status(503), vec!["no verdict after 3s: no rollout", "answered 503"]),
        (Answer::Status(403), vec!["its rollouts cannot be seen", "answered 403"]),
    ] {
        let server = Rollouts::start(vec![list(&[]), then]).await;
        let said = publish(&server, &workshop, &["--wait=3s", "--json"]).await;
        let answer: Printed = said.json();
        assert_eq!(answer.decision, PublishDecision::Published, "{answer:?}");
        said.refused(&words);
    }
}

/// A job is run again after the verdict; or a person ended an old rollout and began another.
#[tokio::test]
async fn an_old_verdict_counts_only_for_what_was_there_and_if_there_is_no_newer_one() {
    let workshop = Workshop::open();
    let halted = rollout(4, "1.2.0", &json!({"state": "halted", "halt_reason": HALTED}));
    let done = rollout(6, "1.2.0", &json!({"state": "done"}));
    let server = Rollouts::start(vec![list(std::slice::from_ref(&halted))]).await;
    // Published just now, it has not been tried by anybody.
    publish(&server, &workshop, &["--wait", "1s"]).await.refused(&["no verdict after 1s: no rollout"]);
    publish(&server, &workshop, &["--wait", "1h"]).await.refused(&["rollout 4 was halted", HALTED]);
    // Lists may be in any order.
    for both in [[halted.clone(), done.clone()], [done, halted]] {
        let server = Rollouts::start(vec![list(&both)]).await.with_release("1.2.0");
        let said = publish(&server, &workshop, &["--wait"]).await.ok();
        assert!(said.err.contains("rollout 6 is done"), "{said:?}");
    }
}

#[tokio::test]
async fn a_server_without_rollouts_refuses_before_anything_is_written() {
    let workshop = Workshop::open();
    // A token of one product gets 403 for a path that the server does not know.
    for status in [404, 403] {
        let server = Rollouts::start(vec![Answer::Status(status)]).await.without_rollouts();
        let sentence = "This server has no rollouts, so there is no verdict to wait for: leave --wait out.";
        publish(&server, &workshop, &["--wait"]).await.refused(&[sentence]);
        assert!(server.uploads().is_empty());
    }
}

#[tokio::test]
async fn a_job_may_see_the_rollouts_of_its_product() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let more = format!(
        "[[trusted_publisher]]\nissuer = \"{}\"\nrepository = \"octo/blinky\"\nref = \"refs/heads/main\"\nproduct = \"lamp\"\n",
        issuer.url()
    );
    let server = Server::with(Setup { more, ..Setup::default() }).await;
    let image = workshop.image("1.2.0").display().to_string();
    let mut job = updraft(["publish", &image, "-p", "lamp", "--wait", "1s", "--json"]);
    job.env("UPDRAFT_SERVER", server.url("")).env("UPDRAFT_TOKEN", "").envs(issuer.job_environment());
    let sentence =
        "lamp 1.2.0 is published, and there is no verdict after 1s: no rollout of lamp 1.2.0 has begun.";
    Said::by(job).await.refused(&[sentence]);
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_a_mistake_in_the_command() {
    let (workshop, folder) = (Workshop::open(), tempfile::tempdir().unwrap());
    let image = workshop.image("1.2.0").display().to_string();
    let store = format!("file:{}", folder.path().display());
    let wrong = async |more: &[&str], words: &str| {
        let said = Said::by(updraft(["publish", &image, "-p", "lamp"].iter().chain(more))).await;
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    };
    wrong(&["--store", &store, "--wait"], "--wait").await;
    for duration in ["soon", "0s", "90"] {
        wrong(&["--server", "http://127.0.0.1:9", "--wait", duration], "such as 90m").await;
    }
    assert_eq!(content(folder.path()).len(), 0);
}

/// Half an hour is a token's life, and a wait is longer.
#[tokio::test]
async fn a_jobs_token_is_traded_anew_while_it_waits() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let running = |in_flight| list(&[rollout(1, "1.2.0", &json!({"counts": counts(0, in_flight, 0)}))]);
    let script = || {
        let done = list(&[rollout(1, "1.2.0", &json!({"state": "done"}))]);
        vec![list(&[]), list(&[]), running(1), running(2), done]
    };
    // One that says it ends at once; one that ends without a word after two requests.
    for (lifetime_s, requests) in [(30, usize::MAX), (1800, 2)] {
        let server = Rollouts::start(script()).await.with_tokens(lifetime_s, requests);
        let image = workshop.image("1.2.0").display().to_string();
        let mut job =
            updraft(["publish", &image, "-p", "lamp", "--wait", "--json", "--server", server.url()]);
        job.env("UPDRAFT_TOKEN", "").envs(issuer.job_environment());
        let said = Said::by(job).await.ok();
        assert_eq!(said.json::<Printed>().rollout["state"], "done", "{said:?}");
        assert!(server.trades() >= 3, "{} tokens: {said:?}", server.trades());
        assert_eq!(server.uploads(), ["1.2.0"]);
    }
}

#[tokio::test]
async fn a_list_without_an_end_and_an_answer_without_an_end_are_given_up() {
    let workshop = Workshop::open();
    let endless = json!({"items": [rollout(1, "1.2.0", &json!({}))], "next": "more"});
    let server = Rollouts::start(vec![Answer::Json(endless)]).await;
    publish(&server, &workshop, &["--wait"]).await.refused(&["nothing was published", "has no end"]);
    assert_eq!(server.uploads(), [""; 0]);
    let huge = Value::String("x".repeat(9 << 20));
    let server = Rollouts::start(vec![list(&[]), Answer::Json(huge)]).await;
    publish(&server, &workshop, &["--wait", "1s"]).await.refused(&["no verdict", "longer than 8 MiB"]);
}
