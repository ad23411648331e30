//! The gate as people and programs meet it: the real commands, a real server, a device that reports its slot.
use std::path::Path;

use api::{Finding, GateDecision, Judgement, Level, PublishDecision};
use contract::ChannelName;
use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use e2e::server::{Promote, Server};
use e2e::wait::until;
use serde::Deserialize;
use serde_json::{Value, json};

const PRODUCT: &str = "esp32s3";

fn words<'a>(command: &[&'a str], image: &'a Path, version: &'a str) -> Vec<&'a str> {
    let image = image.to_str().unwrap();
    [command, &[image, "-p", PRODUCT, "--version", version]].concat()
}

/// What `publish --json` prints of a release.
#[derive(Debug, Deserialize)]
struct Printed {
    decision: PublishDecision,
    url: String,
    promoted: Option<ChannelName>,
    findings: Vec<Finding>,
}

fn found(answer: &Judgement) -> Vec<(&str, Level, bool)> {
    assert!(answer.findings.iter().all(|finding| !finding.sentence.is_empty()), "{answer:?}");
    answer
        .findings
        .iter()
        .map(|finding| (finding.check.as_str(), *finding.level.known().expect("a level"), finding.allowed))
        .collect()
}

#[tokio::test]
async fn a_refusal_a_warning_and_what_overrules_them_look_the_same_with_and_without_a_server() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let store = format!("file:{}", server.folder().join("store").display());
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let lower = workshop.image("1.0.0");
    let through = async |arguments: Vec<&str>| Said::by(server.remote(arguments)).await;
    let straight = async |mut arguments: Vec<&str>| {
        arguments.extend(["--store", &store]);
        Said::by(updraft(arguments)).await
    };
    let mut answers = Vec::new();
    for is_straight in [false, true] {
        let run = async |arguments: Vec<&str>| {
            if is_straight { straight(arguments).await } else { through(arguments).await }
        };
        for command in [&["publish"][..], &["image", "check"]] {
            let said = run([&words(command, &lower, "1.0.0")[..], &["--json"]].concat()).await;
            assert_eq!(said.code, Some(1), "{said:?}");
            assert!(said.err.contains("production is 1.1.0 already, and 1.0.0 is lower"), "{said:?}");
            assert!(said.err.contains("--allow lower-version"), "{said:?}");
            let answer: Judgement = said.json();
            assert_eq!(answer.decision, GateDecision::Refused, "{answer:?}");
            assert_eq!(found(&answer), [("lower-version", Level::Refuse, false)]);
            answers.push(said.json::<Value>());
        }
        let said =
            run([&words(&["image", "check"], &lower, "1.0.0")[..], &["--allow", "lower-version", "--json"]]
                .concat());
        let answer: Judgement = said.await.ok().json();
        assert_eq!(answer.decision, GateDecision::Pass, "{answer:?}");
        assert_eq!(found(&answer), [("lower-version", Level::Refuse, true)]);
        // What the image says of itself is another version: a warning, on stderr, and it would be published.
        let said = run(words(&["image", "check"], &workshop.image("1.2.0"), "1.3.0")).await.ok();
        assert!(said.err.contains("warning: the image calls its version \"1.2.0\""), "{said:?}");
        assert!(!said.err.contains('\x1b'), "no colour where there is no terminal: {said:?}");
        assert!(said.out.contains("size in bytes: 1.1.0 ") && said.out.contains(" → 1.3.0 "), "{said:?}");
        // A name that there is not, and one that nobody may allow, are mistakes in the command.
        for name in ["rong", "wrong-chip"] {
            let said = run([&words(&["publish"], &lower, "1.0.0")[..], &["--allow", name]].concat()).await;
            assert_eq!(said.code, Some(2), "{said:?}");
            assert!(said.err.contains("secure-version, lower-version, same-bytes"), "{said:?}");
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");

    let command =
        [&words(&["publish"], &lower, "1.0.0")[..], &["--allow", "lower-version", "--json"]].concat();
    let published: Printed = through(command.clone()).await.ok().json();
    assert_eq!(published.decision, PublishDecision::Published, "{published:?}");
    let page = server.url("/releases/esp32s3#release-1.0.0");
    assert_eq!((published.url, published.promoted), (page, None));
    // Again, and nobody asks about lower versions any more.
    let again = straight([&words(&["publish"], &lower, "1.0.0")[..], &["--json"]].concat()).await.ok();
    let again: Printed = again.json();
    assert!(again.decision == PublishDecision::Unchanged && again.findings.is_empty(), "{again:?}");
    assert!(again.url.ends_with("/esp32s3/releases/v1.0.0/firmware.bin"), "{again:?}");
}

/// Also of what is refused for itself; and a file is called by the name that the person gave.
#[tokio::test]
async fn every_check_is_made_with_and_without_a_server() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let store = format!("file:{}", server.folder().join("store").display());
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let through = async |arguments: Vec<&str>| Said::by(server.remote(arguments)).await;
    let whole = std::fs::read(workshop.for_another_chip("1.0.0")).unwrap();
    let short = workshop.file("it is short.bin", &whole[..whole.len() / 2]);
    let flash = [vec![0xFF; 0x8000], partition_table(), vec![0xFF; 0x7400], whole].concat();
    let merged = workshop.file("it is merged.bin", &flash);
    let expected: [(&Path, &[&str]); 2] = [
        (&short, &["truncated", "wrong-chip", "lower-version"]),
        (&merged, &["merged-image", "lower-version"]),
    ];
    for (file, checks) in expected {
        for command in [&["publish"][..], &["image", "check"]] {
            let command = [&words(command, file, "1.0.0")[..], &["--json"]].concat();
            let (there, here) = (
                through(command.clone()).await,
                Said::by(updraft([&command[..], &["--store", &store]].concat())).await,
            );
            assert_eq!((there.code, there.json::<Value>()), (here.code, here.json()), "{there:?} {here:?}");
            assert!(there.err.contains(&here.err), "{there:?} {here:?}");
            let answer: Judgement = there.json();
            let found: Vec<&str> = answer.findings.iter().map(|one| one.check.as_str()).collect();
            assert!(checks.iter().all(|check| found.contains(check)), "{found:?}, not {checks:?}");
            let is_named = there.err.contains(&format!("'{}'", file.display()));
            assert_eq!(is_named, checks[0] == "merged-image", "{there:?}");
        }
    }
    // What cannot be sent is refused here, for what it is.
    let empty = workshop.file("empty.bin", &[]);
    let said = through(words(&["publish"], &empty, "1.0.0")).await;
    assert!(said.code == Some(1) && said.err.contains("it is empty"), "{said:?}");
}

#[tokio::test]
async fn what_is_published_and_cannot_be_promoted_is_said_to_be_published() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let store = format!("file:{}", server.folder().join("store").display());
    server.publish(PRODUCT, "1.0.0", &workshop.image("1.0.0"), Promote::Production).await;
    for (version, straight) in [("1.1.0", false), ("1.2.0", true)] {
        Said::by(server.remote(["block", version, "-p", PRODUCT, "--reason", "it loops"])).await.ok();
        let image = workshop.image(version);
        let command = [&words(&["publish"], &image, version)[..], &["--promote"]].concat();
        let said = if straight {
            Said::by(updraft([&command[..], &["--store", &store]].concat())).await
        } else {
            Said::by(server.remote(command)).await
        };
        assert_eq!(said.code, Some(1), "{said:?}");
        for words in [&format!("{version} is published, and was not promoted to production"), "it loops"] {
            assert!(said.err.contains(words), "{words}: {said:?}");
        }
        let mark = format!("store/{PRODUCT}/releases/v{version}/version.txt");
        assert!(server.folder().join(mark).is_file(), "{version} is not published");
    }
}

/// Of a flash chip with one application, at 0x10000.
fn partition_table() -> Vec<u8> {
    let mut entry = vec![0xAA, 0x50, 0, 0x10];
    entry.extend(0x0001_0000_u32.to_le_bytes());
    entry.extend(0x0010_0000_u32.to_le_bytes());
    entry.extend(*b"app0\0\0\0\0\0\0\0\0\0\0\0\0");
    entry.extend([0; 4]);
    entry.resize(0xC00, 0xFF);
    entry
}

#[tokio::test]
async fn the_smallest_slot_that_a_device_reports_counts_at_once_and_reaches_the_store() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    server.publish(PRODUCT, "1.0.0", &workshop.image("1.0.0"), Promote::Production).await;
    let device = server.register("small", PRODUCT).await;
    let report = r#"{"version":"1.0.0","slot_bytes":100000}"#;
    device.publish("devices/small/version", report, &[]).await.ok();
    server
        .device_when("small", "it reported its slot", |device| {
            device.report.as_ref().is_some_and(|report| report.slot_bytes == Some(100_000))
        })
        .await;
    let image = workshop.image("1.1.0");
    let said = Said::by(server.remote(words(&["publish"], &image, "1.1.0"))).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let sentence = "but the smallest slot of esp32s3 has 100,000 (the device small reports it)";
    assert!(said.err.contains(sentence), "{said:?}");
    // Who publishes without a server learns it from what the server recorded.
    let file = server.folder().join("store").join(PRODUCT).join("_slots.json");
    until("it is recorded", || async {
        let text = std::fs::read(&file).ok()?;
        let said: Value = serde_json::from_slice(&text).ok()?;
        Some(()).filter(|()| said["slot_bytes"] == 100_000)
    })
    .await;
    let store = format!("file:{}", server.folder().join("store").display());
    let command = [&words(&["publish"], &image, "1.1.0")[..], &["--store", &store]].concat();
    let said = Said::by(updraft(command)).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(sentence), "{said:?}");
}

#[tokio::test]
async fn what_git_knows_of_the_working_directory_is_published_with_the_image() {
    let workshop = Workshop::open();
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"]).args(arguments);
        let output = command.current_dir(folder.path()).output().expect("install git");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    std::fs::write(folder.path().join("main.rs"), "fn main() {}").unwrap();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "first"]);
    git(&["tag", "v1.0.0"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let store = format!("file:{}", folder.path().join("store").display());
    let metadata = async |version: &str, more: &[&str]| {
        let image = workshop.image(version);
        let command = [&words(&["publish"], &image, version)[..], &["--store", &store], more].concat();
        let mut command = updraft(command);
        Said::by({
            command.current_dir(folder.path());
            command
        })
        .await
        .ok();
        let file = folder.path().join(format!("store/{PRODUCT}/releases/v{version}/metadata.json"));
        serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap()
    };
    let clean = metadata("1.0.0", &[]).await;
    let known =
        |metadata: &Value| (metadata["commit"].clone(), metadata["tag"].clone(), metadata["dirty"].clone());
    assert_eq!(known(&clean), (json!(commit), json!("v1.0.0"), json!(false)));
    assert!(clean["published_at"].is_string() && clean["flash_mode"] == "dio", "{clean}");
    std::fs::write(folder.path().join("main.rs"), "fn main() { panic!() }").unwrap();
    assert_eq!(metadata("1.1.0", &[]).await["dirty"], true);
    let named = metadata("1.2.0", &["--commit", "abc123", "--tag", "v1.2.0"]).await;
    assert_eq!(
        known(&named),
        (json!("abc123"), json!("v1.2.0"), json!(null)),
        "of another commit Git says nothing"
    );
}
