//! What the action publishes, checks and says, against a folder store and a real server.
use std::path::{Path, PathBuf};

use e2e::command::{Said, binary, updraft};
use e2e::folder::content;
use e2e::images::Workshop;
use e2e::job::{Checkout, Job, Report};
use e2e::server::Server;
use image::Chip;
use image::build::Build;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder store, and images for it.
struct Shop {
    store: TempDir,
    workshop: Workshop,
}

impl Shop {
    fn open() -> Self {
        Self { store: tempfile::tempdir().unwrap(), workshop: Workshop::open() }
    }

    fn url(&self) -> String {
        format!("file:{}", self.store.path().display())
    }

    /// A job whose build left the image of this version.
    fn job(&self, version: &str) -> Job {
        building(&self.workshop.image(version)).with("version", version).with("store", self.url())
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.store.path().join(path)).unwrap_or_default().trim().to_owned()
    }
}

/// A job whose build left this image; it has no target yet.
pub(super) fn building(image: &Path) -> Job {
    let job = Job::new().with("binary", binary().to_str().unwrap()).with("product", "lamp");
    let folder = job.workspace().join(".pio/build/lamp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(image, folder.join("firmware.bin")).unwrap();
    job.with("image", ".pio/build/*/firmware.bin")
}

fn warnings(report: &Report) -> Vec<&String> {
    report.annotations.iter().filter(|one| one.starts_with("warning ")).collect()
}

#[tokio::test]
async fn an_image_is_published_promoted_and_summed_up() {
    let shop = Shop::open();
    let job = shop.job("1.2.0").with("promote", "production").with("notes", "Warmer white");
    let report = job.run().await.ok();
    assert_eq!((report.output("decision"), report.output("version")), ("published", "1.2.0"));
    assert!(report.output("url").starts_with("file:"), "{report:#?}");
    let metadata: Value = serde_json::from_str(&shop.text("lamp/releases/v1.2.0/metadata.json")).unwrap();
    assert_eq!(
        (&metadata["sha256"], &metadata["notes"]),
        (&json!(report.output("sha256")), &json!("Warmer white"))
    );
    assert_eq!(shop.text("lamp/production/version.txt"), "1.2.0");
    for words in
        ["### `lamp` `1.2.0` is published, and `production` points to it", "119,920 bytes", "esp32s3"]
    {
        assert!(report.summary.contains(words), "{words}: {}", report.summary);
    }
    // The same again, as a person who runs the job again has it.
    let again = job.run().await.ok();
    assert_eq!(again.output("decision"), "unchanged");
    assert_eq!(again.output("sha256"), report.output("sha256"));
}

/// In a workflow `yes` is a text, and a channel of that name is what nobody wants.
#[tokio::test]
async fn a_yes_is_no_channel() {
    let shop = Shop::open();
    for word in ["yes", "No", "on", "1"] {
        let report = shop.job("1.2.0").with("promote", word).run().await.failed(&["promote is", word]);
        assert_eq!(report.output("decision"), "failed", "{report:#?}");
        assert!(content(shop.store.path()).is_empty(), "something was published");
    }
    shop.job("1.2.0").with("promote", "TRUE").run().await.ok();
    assert_eq!(shop.text("lamp/production/version.txt"), "1.2.0");
}

#[tokio::test]
async fn the_version_and_the_commit_come_from_git() {
    let shop = Shop::open();
    let job = building(&shop.workshop.image("1.3.1")).with("store", shop.url());
    let checkout = Checkout::init(&job.workspace()).await;
    std::fs::write(job.workspace().join(".gitignore"), ".pio\n").unwrap();
    checkout.commit("first").await;
    checkout.tag("v1.3.0").await;
    checkout.commit("second").await;
    let head = checkout.git(&["rev-parse", "HEAD"]).await;
    // As GitHub says it: in a job nothing else is believed of the commit.
    let job = job.github("sha", &head);
    let report = job.run().await.ok();
    let version = format!("1.3.1-dev.1+{}", checkout.short().await);
    assert_eq!(report.output("version"), version);
    let metadata: Value =
        serde_json::from_str(&shop.text("lamp/releases/v1.3.1-dev.1/metadata.json")).unwrap();
    assert_eq!((&metadata["commit"], &metadata["version"]), (&head.into(), &version.into()));
    // A job that only fetched the image has no checkout.
    let sha = "0123456789abcdef0123456789abcdef01234567";
    shop.job("1.4.0").github("sha", sha).run().await.ok();
    let metadata: Value = serde_json::from_str(&shop.text("lamp/releases/v1.4.0/metadata.json")).unwrap();
    assert_eq!(metadata["commit"], sha, "{metadata}");
}

#[tokio::test]
async fn a_refusal_fails_the_job_with_its_sentence_and_writes_nothing() {
    let shop = Shop::open();
    shop.job("1.0.0").run().await.ok();
    let before = content(shop.store.path());
    let other = building(&shop.workshop.for_another_chip("1.1.0")).with("version", "1.1.0");
    let report = other.with("store", shop.url()).run().await.failed(&["esp32c3", "esp32s3"]);
    assert_eq!(report.output("decision"), "refused");
    assert!(report.summary.contains("is refused") && report.summary.contains("`wrong-chip`"), "{report:#?}");
    assert_eq!(content(shop.store.path()), before);
}

#[tokio::test]
async fn a_person_may_overrule_what_the_gate_lets_them() {
    let shop = Shop::open();
    shop.job("2.0.0").with("promote", "true").run().await.ok();
    let job = shop.job("1.5.0");
    let report = job.run().await.failed(&["2.0.0"]);
    assert!(report.annotations[0].starts_with("error updraft lower-version"), "{report:#?}");
    let report = job.with("allow", "lower-version, same-bytes").run().await.ok();
    assert_eq!(report.output("decision"), "published");
    assert!(report.summary.contains("allowed"), "{report:#?}");
    assert_eq!(warnings(&report).len(), 1, "{report:#?}");
}

#[tokio::test]
async fn a_pull_request_is_checked_and_nothing_is_written() {
    let shop = Shop::open();
    shop.job("1.0.0").run().await.ok();
    let before = content(shop.store.path());
    let report = shop.job("1.1.0").with("check-only", "true").with("promote", "production").run().await.ok();
    assert_eq!(report.output("decision"), "pass");
    assert!(
        report.summary.contains("would be published") && report.summary.contains("**Size**"),
        "{report:#?}"
    );
    let broken = shop.workshop.file("broken.bin", b"not firmware");
    let job = building(&broken).with("version", "1.1.0").with("store", shop.url()).with("check-only", "true");
    let report = job.run().await.failed(&["image"]);
    assert_eq!(report.output("decision"), "refused");
    // A fork's pull request has no right to ask anybody: what is wrong with the image itself is said nevertheless.
    let alone = |image: &Path| building(image).with("version", "1.1.0").with("check-only", "true");
    assert_eq!(alone(&shop.workshop.image("1.1.0")).run().await.ok().output("decision"), "pass");
    alone(&broken).run().await.failed(&["image"]);
    shop.job("1.1.0").with("check-only", "yes").run().await.failed(&["check-only is yes", "true or false"]);
    assert_eq!(content(shop.store.path()), before);
}

async fn key() -> (TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("release.pem");
    Said::by(updraft(["key", "new", key.to_str().unwrap(), "--type", "p256"])).await.ok();
    let digest = updraft(["key", "digest", folder.path().join("release.pub.pem").to_str().unwrap()]);
    let digest = Said::by(digest).await.ok().out.trim().to_owned();
    let pem = std::fs::read_to_string(key).unwrap();
    (folder, pem, digest)
}

/// No line of the key's text, in the log or in what is left on the runner's disk.
#[track_caller]
fn assert_no_trace(pem: &str, job: &Job, report: &Report) {
    let secrets: Vec<_> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(!secrets.is_empty());
    for secret in secrets {
        assert!(!report.log.contains(secret) && !report.summary.contains(secret), "{report:#?}");
        for (path, bytes) in content(&job.temp()) {
            assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn an_image_is_signed_and_the_key_leaves_no_trace() {
    let shop = Shop::open();
    let (_folder, pem, digest) = key().await;
    std::fs::create_dir_all(shop.store.path().join("lamp")).unwrap();
    let trusted = json!({ "trusted_keys": [digest] }).to_string();
    std::fs::write(shop.store.path().join("lamp/product.json"), trusted).unwrap();
    let report = shop.job("1.0.0").run().await.failed(&["signed"]);
    assert_eq!(report.output("decision"), "refused");
    let job = shop.job("1.0.0").with("sign-key", &pem);
    let report = job.run().await.ok();
    assert_eq!(report.output("decision"), "published");
    assert_no_trace(&pem, &job, &report);
    let metadata: Value = serde_json::from_str(&shop.text("lamp/releases/v1.0.0/metadata.json")).unwrap();
    assert_eq!(metadata["signed_by"], json!([digest]));
    // Cut short, as a secret that was pasted without its end.
    let cut = pem.lines().take(2).collect::<Vec<_>>().join("\n");
    let job = shop.job("1.1.0").with("sign-key", &cut);
    let report = job.run().await.failed(&["not signed", "nothing was published", "PEM"]);
    assert_eq!(report.output("decision"), "failed");
    assert_no_trace(&cut, &job, &report);
}

#[tokio::test]
async fn an_image_is_stamped_before_it_is_signed() {
    let shop = Shop::open();
    let (_folder, pem, _) = key().await;
    // What the workshop builds is of a project of its own, which a stamp does not replace.
    let job = shop.job("1.0.0").with("stamp", "true").with("sign-key", &pem);
    job.run().await.failed(&["not stamped", "of which project", "nothing was published"]);
    let library =
        Build { project_name: "arduino-lib-builder".into(), ..Build::new(Chip::Esp32S3, "esp-idf: v4.4.3") };
    std::fs::write(job.workspace().join("arduino.bin"), library.bytes()).unwrap();
    let job = job.with("image", "arduino.bin").with("secure-version", "3");
    let report = job.run().await.ok();
    assert_eq!(report.output("decision"), "published");
    let metadata: Value = serde_json::from_str(&shop.text("lamp/releases/v1.0.0/metadata.json")).unwrap();
    assert_eq!((&metadata["project_name"], &metadata["secure_version"]), (&json!("lamp"), &json!(3)));
    assert_eq!(metadata["signed_by"].as_array().map(Vec::len), Some(1));
    shop.job("1.0.1").with("secure-version", "3").run().await.failed(&["stamp is not true"]);
}

#[tokio::test]
async fn an_image_must_be_one_file() {
    let shop = Shop::open();
    let job = shop.job("1.0.0").with("image", "build/*.bin");
    job.run().await.failed(&["build/*.bin", "no such file", "Did the build end"]);
    std::fs::create_dir(job.workspace().join("build")).unwrap();
    for name in ["one.bin", "other one.bin"] {
        std::fs::copy(shop.workshop.image("1.0.0"), job.workspace().join("build").join(name)).unwrap();
    }
    job.run().await.failed(&["2 files", "one.bin", "Name one of them"]);
    let report = job.with("image", "build/other *.bin").run().await.ok();
    assert_eq!(report.output("decision"), "published");
}

#[tokio::test]
async fn what_contradicts_itself_is_said_before_anything_is_done() {
    let shop = Shop::open();
    shop.job("1.0.0")
        .with("server", "http://127.0.0.1:1")
        .run()
        .await
        .failed(&["server and store are both set"]);
    shop.job("1.0.0").with("store", "").run().await.failed(&["Neither server nor store"]);
    shop.job("1.0.0").with("product", "").run().await.failed(&["product is empty"]);
    let job = shop.job("1.0.0").with("notes-file", "NEWS");
    job.run().await.failed(&["NEWS", "no such file"]);
    std::fs::write(job.workspace().join("NEWS"), "From a file\n").unwrap();
    job.run().await.ok();
    let metadata: Value = serde_json::from_str(&shop.text("lamp/releases/v1.0.0/metadata.json")).unwrap();
    assert_eq!(metadata["notes"], "From a file");
    job.with("notes", "and text").run().await.failed(&["notes and notes-file"]);
}

/// Whoever writes a commit message or names a branch chooses these texts.
#[tokio::test]
async fn no_input_is_run_or_read_as_an_option() {
    let shop = Shop::open();
    let marks = [
        "$(touch hit)",
        "`touch hit`",
        "; touch hit #",
        "\"; touch hit; \"",
        "--promote",
        "' -e ; touch hit",
    ];
    for (number, text) in marks.iter().enumerate() {
        let version = format!("1.0.{number}");
        let job = shop.job(&version).with("notes", *text);
        job.run().await.ok();
        let metadata = shop.text(&format!("lamp/releases/v{version}/metadata.json"));
        assert_eq!(serde_json::from_str::<Value>(&metadata).unwrap()["notes"], *text);
        for input in ["product", "promote", "requires", "allow", "store", "version"] {
            let report = shop.job("2.0.0").with(input, *text).run().await;
            assert!(!report.ok, "{input}={text}: {report:#?}");
            assert!(!job.workspace().join("hit").exists());
        }
    }
    assert_eq!(shop.text("lamp/production/version.txt"), "");
}

#[tokio::test]
async fn it_publishes_through_a_server_with_a_token_that_nobody_sees() {
    let server = Server::start().await;
    let workshop = Workshop::open();
    let token = server.new_token("ci", "ci").await;
    let job = building(&workshop.image("1.0.0")).with("version", "1.0.0").with("server", server.url(""));
    let report = job.run().await.failed(&["token"]);
    assert_eq!(report.output("decision"), "failed");
    let job = job.with("token", &token).with("promote", "production");
    let report = job.run().await.ok();
    assert_eq!(report.output("decision"), "published");
    assert!(report.output("url").starts_with(&server.url("")), "{report:#?}");
    assert!(report.summary.contains(report.output("url")), "{report:#?}");
    assert!(!report.log.contains(&token), "{report:#?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_the_job_with_a_sentence() {
    let workshop = Workshop::open();
    let job = building(&workshop.image("1.0.0")).with("version", "1.0.0").with("token", "t");
    let report = job.with("server", "http://127.0.0.1:1").run().await.failed(&["127.0.0.1:1"]);
    assert_eq!(report.output("decision"), "failed");
    assert!(report.summary.contains("was not published"), "{report:#?}");
}

/// A program that answers as `updraft` does, with texts that somebody chose to do harm.
fn saying(said: &Value, errors: &str, code: u8) -> (TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("updraft");
    std::fs::write(folder.path().join("said"), said.to_string()).unwrap();
    std::fs::write(folder.path().join("errors"), errors).unwrap();
    let script = format!(
        "#!/usr/bin/env bash\n[[ $1 == --version ]] && exit\ncd \"$(dirname \"$0\")\"\ncat said\ncat errors >&2\nexit {code}\n"
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, program)
}

#[tokio::test]
async fn what_others_wrote_is_text_wherever_it_goes() {
    let evil = "100%\n::warning::no | <b>b</b> [x](http://y)\r@someone `code`";
    let said = json!({
        "decision": "refused", "product": "lamp", "version": "1.0.0\nsha256=forged", "size": 900_000, "slot_bytes": 1_000_000,
        "url": "javascript:alert(1)", "chip": "a|b", "promoted": null,
        "findings": [
            {"check": "flash-mode", "level": "warn", "allowed": false, "sentence": evil},
            {"check": "wrong-chip", "level": "refuse", "allowed": false, "sentence": evil},
        ],
        "trend": [{"version": "0.9.0", "size": 800_000}, {"version": "1.0.0", "size": 900_000}],
    });
    let errors = "::add-path::/evil\n::error::not mine\n";
    let (_folder, program) = saying(&said, errors, 1);
    let shop = Shop::open();
    let job = shop.job("1.0.0").with("binary", program.to_str().unwrap());
    let report = job.run().await;
    assert!(!report.ok);
    // Two findings, two annotations, each with the whole text; none from what the program wrote.
    let expected =
        [format!("warning updraft flash-mode: {evil}"), format!("error updraft wrong-chip: {evil}")];
    assert_eq!(report.annotations, expected);
    assert_eq!(report.output("version"), "1.0.0sha256=forged");
    assert_eq!((report.output("sha256"), report.output("decision")), ("", "refused"));
    for raw in ["<b>", "](http", "@someone", "\n::", "a|b", "<javascript"] {
        assert!(!report.summary.contains(raw), "{raw:?}: {}", report.summary);
    }
    for words in
        ["90.0 % of the smallest slot (1,000,000 bytes)", "▁█", "+100,000", "❌ refused", "⚠️ warning"]
    {
        assert!(report.summary.contains(words), "{words:?}: {}", report.summary);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_fails_the_job() {
    for (code, said) in [(0, json!([])), (0, json!("published")), (101, json!(null))] {
        let (_folder, program) = saying(&said, "It stopped.\n", code);
        let job = Shop::open().job("1.0.0").with("binary", program.to_str().unwrap());
        let report = job.run().await.failed(&["It stopped."]);
        assert_eq!(report.output("decision"), "failed");
    }
}
