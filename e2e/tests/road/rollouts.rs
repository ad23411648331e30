//! Rollouts with real devices: a bad release stops by itself, and a server that is killed again and again loses nobody.
use std::collections::BTreeMap;
use std::time::Duration;

use api::{Device, Page, Rollout, RolloutDevice, RolloutState};
use e2e::browser::Browser;
use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use e2e::process::Process;
use e2e::server::{Promote, Server};
use e2e::wait::{until, until_within};
use image::Behaviour;
use serde_json::json;

const PRODUCT: &str = "lamp";

/// Light devices of one process, registered by themselves, with the first release.
struct Fleet {
    _process: Process,
    _folder: tempfile::TempDir,
}

async fn fleet(server: &Server, workshop: &Workshop, count: usize) -> Fleet {
    server.publish(PRODUCT, "1.0.0", &workshop.image("1.0.0"), Promote::Production).await;
    let folder = tempfile::tempdir().unwrap();
    let (image, count_text) = (workshop.image("1.0.0").display().to_string(), count.to_string());
    let (url, broker) = (server.url(""), server.broker("", "").address());
    let arguments = ["virtual-device", "--count", &count_text, "--id", "lamp", "-p", PRODUCT];
    let more = ["--image", &image, "--version", "1.0.0", "--broker", &broker, "--server", &url];
    let mut command = updraft(arguments.into_iter().chain(more).chain(["--token", server.token()]));
    let process = Process::start("the fleet", &mut command, folder.path());
    until_within(Duration::from_secs(60), "all report", || async {
        let devices: Vec<Device> = server.list("/api/v1/devices?limit=500").await;
        let ready = devices.iter().filter(|device| device.online && device.version.is_some()).count();
        (ready == count).then_some(())
    })
    .await;
    Fleet { _process: process, _folder: folder }
}

#[tokio::test]
async fn a_bad_release_halts_at_its_first_step_and_everybody_says_why() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let _fleet = fleet(&server, &workshop, 8).await;
    server
        .publish(PRODUCT, "1.1.0", &workshop.behaving("1.1.0", Behaviour::CrashesAtBoot), Promote::No)
        .await;
    let preview = ["rollout", "start", "1.1.0", "-p", PRODUCT, "--steps", "50:10m,100", "--dry-run"];
    let preview = Said::by(server.remote(preview)).await.ok();
    assert!(preview.out.contains("8 devices would take part, of which 8 are online now."), "{}", preview.out);
    let watched = ["rollout", "start", "1.1.0", "-p", PRODUCT, "--steps", "50:10m,100", "--watch", "--json"];
    let said = Said::by(server.remote(watched)).await;
    assert_eq!(said.code, Some(1), "{} {}", said.out, said.err);
    assert!(said.err.contains("rollout 1 was halted: 1.1.0 failed on all "), "{}", said.err);
    let last: Rollout = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!((last.state, last.step), (RolloutState::Halted, Some(1)));
    assert!(last.counts.waiting == 4 && last.counts.rolled_back >= 3, "{:?}", last.counts);
    until("it is blocked", || async {
        server.get::<Rollout>("/api/v1/rollouts/1").await.blocked.then_some(())
    })
    .await;
    server.check("lamp-1").await;
    Said::by(server.remote(["promote", "1.1.0", "-p", PRODUCT])).await.refused(&["blocked"]);

    let browser = Browser::start().await;
    browser.sign_in(&server).await;
    browser.open(&server.url("/rollouts")).await;
    browser.shows("Halted").await;
    browser.open(&server.url("/rollouts/1")).await;
    browser.shows("failed on all").await;
    browser.shows("is blocked since").await;
    browser.shows("Why it failed").await;
}

#[tokio::test]
async fn a_person_previews_starts_pauses_and_aborts_a_rollout_in_the_browser() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let _fleet = fleet(&server, &workshop, 3).await;
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::No).await;
    let browser = Browser::start().await;
    browser.sign_in(&server).await;
    browser.open(&server.url("/releases/lamp/rollout?version=1.1.0")).await;
    browser.control("Preview").await.click().await.unwrap();
    browser.shows("It would give the version to 3 devices, of which 3 online now (step 1: 1, step 2: 0, step 3: 2).").await;
    browser.control("Start rollout").await.click().await.unwrap();
    browser.shows("Rollout 1 runs.").await;
    until("the first step is watched", || async {
        server.get::<Rollout>("/api/v1/rollouts/1").await.soak_until
    })
    .await;
    browser.shows("until ").await;
    browser.mark().await;
    browser.control("Pause").await.click().await.unwrap();
    browser.shows("Paused").await;
    browser.control("Resume").await.click().await.unwrap();
    browser.shows("It goes on").await;
    browser.control("Abort").await.click().await.unwrap();
    browser.shows("It was aborted").await;
    assert!(browser.is_same_page().await, "all this without a reload");
    let rollout: Rollout = server.get("/api/v1/rollouts/1").await;
    assert_eq!(
        (rollout.state, rollout.counts.succeeded, rollout.counts.waiting),
        (RolloutState::Aborted, 1, 2)
    );
}

#[tokio::test]
async fn whatever_is_killed_in_mid_rollout_everybody_is_confirmed_exactly_once() {
    const DEVICES: usize = 40;
    const KILLS: u64 = 10;
    let seed =
        std::env::var("UPDRAFT_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_201_u64);
    eprintln!("UPDRAFT_TEST_SEED={seed}");
    let (workshop, mut server) = (Workshop::open(), Server::start().await);
    let _fleet = fleet(&server, &workshop, DEVICES).await;
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::No).await;
    let asked = json!({"version": "1.1.0", "steps": [{"percent": 10, "soak_s": 1}, {"percent": 100}], "max_in_flight": 3});
    let path = format!("/api/v1/products/{PRODUCT}/rollouts");
    let begun = server.request(reqwest::Method::POST, &path).json(&asked).send().await.unwrap();
    assert_eq!(begun.status(), 201);
    let mut random = seed;
    for _ in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(200 + (random >> 33) % 1_500)).await;
        server.kill();
        server.start_again().await;
    }
    let done = until_within(Duration::from_secs(180), "the rollout is done, and all have it", || async {
        let rollout: Rollout = server.get("/api/v1/rollouts/1").await;
        (rollout.state == RolloutState::Done && rollout.counts.succeeded == DEVICES as u64).then_some(rollout)
    })
    .await;
    assert_eq!(done.halt_reason, None);
    let members: Page<RolloutDevice> = server.get("/api/v1/rollouts/1/devices?limit=500").await;
    assert_eq!(members.items.len(), DEVICES);
    let mut ends = BTreeMap::<String, usize>::new();
    for member in &members.items {
        let history = server.history(member.device.as_str()).await;
        assert_eq!(history.len(), 1, "{}: an update is never made twice", member.device);
        *ends.entry(history[0].state.to_string()).or_default() += 1;
        assert_eq!(server.device(member.device.as_str()).await.version.as_deref(), Some("1.1.0"));
    }
    assert_eq!(ends, [("succeeded".to_owned(), DEVICES)].into());
}

#[tokio::test]
async fn a_job_that_publishes_and_waits_has_the_verdict_of_the_rollout() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let _fleet = fleet(&server, &workshop, 2).await;
    let publish = async |version: &str, behaviour| {
        let image = workshop.behaving(version, behaviour).display().to_string();
        let arguments = ["publish", &image, "-p", PRODUCT, "--version", version, "--wait", "2m"];
        Said::by(server.remote(arguments)).await
    };
    let roll_out = async |version: &'static str| {
        until("it is published", || async {
            let start = ["rollout", "start", version, "-p", PRODUCT, "--json"];
            let started = Said::by(server.remote(start)).await;
            (started.code == Some(0)).then_some(())
        })
        .await;
    };
    let (good, ()) = tokio::join!(publish("1.1.0", Behaviour::Healthy), roll_out("1.1.0"));
    let good = good.ok();
    assert!(good.err.contains("rollout 1 is done"), "{good:?}");
    let (bad, ()) = tokio::join!(publish("1.2.0", Behaviour::CrashesAtBoot), roll_out("1.2.0"));
    bad.refused(&[
        "1.2.0 is published",
        "rollout 2 was halted",
        "1.2.0 runs on none of the devices of step 1",
    ]);
}
