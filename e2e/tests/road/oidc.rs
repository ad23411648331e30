//! A workflow publishes without a secret: the real command in a job's environment, the real server, real signatures.
use std::process::Command;

use api::AuditEntry;
use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use e2e::server::{Server, Setup};
use serde_json::json;

use crate::issuer::Issuer;

async fn trusting(issuer: &Issuer, more: &str) -> Server {
    let more = format!(
        "[[trusted_publisher]]\nissuer = \"{}\"\nrepository = \"octo/blinky\"\nref = \"refs/heads/main\"\n\
         product = \"blinky\"\n{more}\n",
        issuer.url()
    );
    Server::with(Setup { more, ..Setup::default() }).await
}

/// A command in a job of GitHub's, which knows the server's address and no secret.
fn in_a_job(issuer: &Issuer, server: &str, arguments: &[&str]) -> Command {
    let mut command = updraft(arguments);
    // A workflow that names a secret which does not exist gets an empty text.
    command.env("UPDRAFT_SERVER", server).env("UPDRAFT_TOKEN", "").envs(issuer.job_environment());
    command
}

#[tokio::test]
async fn a_job_publishes_and_promotes_without_a_secret() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer, "may_promote = true").await;
    let image = workshop.image("1.0.0").display().to_string();
    let publish = ["publish", &image, "-p", "blinky", "--promote"];
    Said::by(in_a_job(&issuer, &server.url(""), &publish)).await.ok();
    assert_eq!(issuer.audiences(), [server.url("")], "asked once, for the address that was given");
    let production = server.folder().join("store/blinky/production/version.txt");
    assert_eq!(std::fs::read_to_string(production).unwrap(), "1.0.0\n");
    Said::by(in_a_job(&issuer, &server.url("/"), &["releases", "-p", "blinky"])).await.ok();
    Said::by(in_a_job(&issuer, &server.url(""), &["block", "1.0.0", "-p", "blinky", "--reason", "x"]))
        .await
        .refused(&["octo/blinky@refs/heads/main run 123 is a trusted publisher", "nothing else"]);
    let entries: Vec<AuditEntry> = server.list("/api/v1/audit?action=channel.promote").await;
    let by = |entry: &AuditEntry| entry.actor.contains("octo/blinky@refs/heads/main run 123");
    assert!(!entries.is_empty() && entries.iter().all(by), "the audit says who: {entries:?}");
}

#[tokio::test]
async fn a_job_that_is_not_trusted_is_told_why() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer, "").await;
    let image = workshop.image("1.0.0").display().to_string();
    let publish = |more: &[&'static str]| {
        let mut arguments = vec!["publish", image.as_str(), "-p", "blinky"];
        arguments.extend(more);
        Said::by(in_a_job(&issuer, &server.url(""), &arguments))
    };
    publish(&["--promote"])
        .await
        .refused(&["trusted to publish blinky, and not to promote it", "may_promote"]);
    for (claims, words) in [
        (json!({"repository": "mallory/fork"}), ["\"mallory/fork\"", "no [[trusted_publisher]]"]),
        (json!({"ref": "refs/heads/try"}), ["ref is \"refs/heads/try\"", "expects \"refs/heads/main\""]),
        (json!({"event_name": "pull_request_target"}), ["\"pull_request_target\"", "caused from outside"]),
    ] {
        issuer.set_job(claims);
        publish(&[]).await.refused(&words);
    }
    issuer.set_job(json!({}));
    let other = Said::by(in_a_job(&issuer, &server.url(""), &["publish", &image, "-p", "lamp"])).await;
    other.refused(&["trusted with blinky, and not with lamp"]);
    assert!(!server.folder().join("store/blinky").exists(), "nothing was published");
    assert!(!server.folder().join("store/lamp").exists());
}

/// What its entry lists, and nothing else, however the job asks.
#[tokio::test]
async fn a_job_overrules_what_its_entry_lists() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer, "allow = [\"same-bytes\"]").await;
    let image = workshop.image("1.0.0").display().to_string();
    let publish = async |more: &[&'static str]| {
        let mut arguments = vec!["publish", image.as_str(), "-p", "blinky"];
        arguments.extend(more);
        Said::by(in_a_job(&issuer, &server.url(""), &arguments)).await
    };
    publish(&["--version", "1.0.0"]).await.ok();
    let again = ["--version", "1.0.1"];
    publish(&again).await.refused(&["--allow same-bytes overrules this"]);
    publish(&["--version", "1.0.1", "--allow", "same-bytes,lower-version"])
        .await
        .refused(&["not to overrule lower-version", "does not list it in allow"]);
    let release = server.folder().join("store/blinky/releases/v1.0.1");
    assert!(!release.exists(), "nothing was published");
    publish(&["--version", "1.0.1", "--allow", "same-bytes"]).await.ok();
    assert!(release.exists());
}

#[tokio::test]
async fn the_tokens_of_jobs_are_listed_and_revoked_on_the_server() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer, "").await;
    let image = workshop.image("1.0.0").display().to_string();
    Said::by(in_a_job(&issuer, &server.url(""), &["publish", &image, "-p", "blinky"])).await.ok();
    let name = "octo/blinky@refs/heads/main run 123";
    let listed = Said::by(server.local(["token", "list"])).await.ok();
    let row = listed.out.lines().find(|line| line.contains(name)).expect("a row");
    assert!(row.contains("publisher") && row.contains("blinky"), "{row}");
    let revoked = Said::by(server.local(["token", "revoke", name])).await.ok();
    assert!(revoked.out.contains("is ended"), "{revoked:?}");
    assert!(!Said::by(server.local(["token", "list"])).await.ok().out.contains(name));
    Said::by(server.local(["token", "revoke", name])).await.refused(&["There is no token named"]);
}

/// The server that is spoken to gets a token for its own address, whatever it would like better.
#[tokio::test]
async fn a_token_for_one_server_is_worth_nothing_at_another() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer, "").await;
    let image = workshop.image("1.0.0").display().to_string();
    let elsewhere = server.url("").replace("127.0.0.1", "localhost");
    let said = Said::by(in_a_job(&issuer, &elsewhere, &["publish", &image, "-p", "blinky"])).await;
    assert_eq!(issuer.audiences(), [elsewhere.as_str()]);
    said.refused(&[&format!("takes tokens for {} only", server.url("")), &elsewhere]);
}

#[tokio::test]
async fn a_job_without_the_permission_is_told_which() {
    let mut command = updraft(["releases", "-p", "blinky", "--server", "http://127.0.0.1:9"]);
    command.env("GITHUB_ACTIONS", "true");
    command.env_remove("ACTIONS_ID_TOKEN_REQUEST_URL").env_remove("ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    let said = Said::by(command).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("permissions: id-token: write"), "{said:?}");
}
