//! The action in a job that keeps no secret: GitHub's proof for a server, AWS's credentials for a bucket.
use e2e::bucket::Bucket;
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::job::Job;
use e2e::server::{Server, Setup};
use serde_json::json;

use super::publishes::building;
use crate::issuer::Issuer;

async fn trusting(issuer: &Issuer) -> Server {
    let more = format!(
        "[[trusted_publisher]]\nissuer = \"{}\"\nrepository = \"octo/lamp\"\nenvironment = \"production\"\n\
         product = \"lamp\"\nmay_promote = true\n",
        issuer.url()
    );
    Server::with(Setup { more, ..Setup::default() }).await
}

fn job(issuer: &Issuer, server: &Server, workshop: &Workshop, version: &str) -> Job {
    let job = building(&workshop.image(version)).with("version", version).with("server", server.url(""));
    issuer.job_environment().into_iter().fold(job, |job, (name, value)| job.env(name, &value))
}

#[tokio::test]
async fn a_job_without_a_secret_publishes_and_a_device_updates_to_it() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer).await;
    issuer.set_job(json!({"repository": "octo/lamp", "environment": "production"}));
    // As derived from a commit after a tag: the + goes through URLs and object names.
    let version = "1.0.1-dev.5+gabc1234";
    let job = job(&issuer, &server, &workshop, version).with("promote", "production");
    let report = job.run().await.ok();
    assert_eq!(report.output("decision"), "published");
    assert!(!report.log.contains(crate::issuer::REQUEST_TOKEN), "{report:#?}");
    let broker = server.register("one", "lamp").await;
    let old = workshop.image("1.0.0");
    let _device = VirtualDevice::with("one", "lamp", &broker, &old, "1.0.0", &[]);
    server.device_runs("one", "1.0.0").await;
    server.offer("one", version).await;
    // The folder that its URL names has no build metadata; the image says its own version.
    server.device_runs("one", version).await;
}

#[tokio::test]
async fn a_job_of_another_repository_or_environment_is_refused_in_its_log() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer).await;
    for (claims, words) in [
        (
            json!({"repository": "mallory/lamp", "environment": "production"}),
            ["mallory/lamp", "trusted_publisher"],
        ),
        (json!({"repository": "octo/lamp", "environment": "try"}), ["try", "production"]),
    ] {
        issuer.set_job(claims);
        let report = job(&issuer, &server, &workshop, "1.0.0").run().await.failed(&words);
        assert!(report.log.contains(words[0]) && report.summary.contains("was not published"), "{report:#?}");
        assert_eq!(report.output("decision"), "failed");
    }
    assert!(!server.folder().join("store/lamp").exists(), "nothing was published");
}

#[tokio::test]
async fn a_job_without_the_permission_is_told_which() {
    let (workshop, issuer) = (Workshop::open(), Issuer::start().await);
    let server = trusting(&issuer).await;
    let job = building(&workshop.image("1.0.0")).with("version", "1.0.0").with("server", server.url(""));
    job.run().await.failed(&["id-token: write"]);
}

#[tokio::test]
async fn a_bucket_takes_it_with_the_credentials_of_a_role() {
    let (workshop, bucket) = (Workshop::open(), Bucket::start().await);
    let job = building(&workshop.image("1.0.0"))
        .with("version", "1.0.0-dev.1+gabc1234")
        .with("store", bucket.url());
    // What aws-actions/configure-aws-credentials leaves behind.
    let job = bucket.env().into_iter().fold(job, |job, (name, value)| job.env(&name, &value));
    let report = job.with("promote", "production").run().await.ok();
    assert_eq!(report.output("decision"), "published");
    assert!(report.output("url").starts_with("s3://"), "{report:#?}");
    assert!(report.output("url").ends_with("/lamp/releases/v1.0.0-dev.1/firmware.bin"), "{report:#?}");
}
