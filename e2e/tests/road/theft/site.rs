//! A whole system with one device that trusts two keys and wants both, and what thieves do to it.
use std::path::{Path, PathBuf};
use std::process::Command;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use e2e::command::{Said, updraft};
use e2e::device::VirtualDevice;
use e2e::mosquitto::Mosquitto;
use e2e::mqtt::Subscription;
use e2e::server::{Promote, Server, Setup};
use e2e::wait::until;
use image::Chip;
use image::build::Build;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::table::Outcome;

/// Its name at the broker, too.
pub(super) const DEVICE: &str = "devices";
pub(super) const PRODUCT: &str = "lamp";
/// What the device and the gate may answer.
const CODES: [&str; 6] =
    ["unsigned", "too_few_signatures", "secure_version", "wrong_version", "wrong_project", "untrusted_key"];
const CHECKS: [&str; 4] = ["unsigned", "too-few-signatures", "blocked-bytes", "secure-floor"];
const DECISIONS: [&str; 3] = ["newer_than_channel", "blocked", "store_unavailable"];

pub(super) struct Site {
    pub(super) server: Server,
    device: VirtualDevice,
    messages: Subscription,
    ci: String,
    broker: Mosquitto,
    folder: TempDir,
}

pub(super) fn digest(image: &Path) -> String {
    contract::Sha256(Sha256::digest(std::fs::read(image).expect("read")).into()).to_string()
}

fn word(words: &[&'static str], said: &str) -> &'static str {
    words.iter().copied().find(|word| *word == said).unwrap_or_else(|| panic!("not expected: {said}"))
}

impl Site {
    /// 1.1.0 is in production and runs; it raised the device's secure version to 2. 1.0.0 is blocked since.
    pub(super) async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Mosquitto::start().await;
        let server = Server::with(Setup { broker: Some(broker.server()), ..Setup::default() }).await;
        let mut digests = Vec::new();
        for key in ["a", "b"] {
            let file = folder.path().join(format!("{key}.pem")).display().to_string();
            Said::by(updraft(["key", "new", &file, "--type", "p256"])).await.ok();
            let public = folder.path().join(format!("{key}.pub.pem")).display().to_string();
            digests.push(Said::by(updraft(["key", "digest", &public])).await.ok().out.trim().to_owned());
        }
        let settings = serde_json::json!({ "trusted_keys": digests, "signatures_required": 2 });
        let product = server.folder().join("store").join(PRODUCT);
        std::fs::create_dir_all(&product).expect("made");
        std::fs::write(product.join("product.json"), settings.to_string()).expect("written");
        let messages = broker.server().subscribe("listener", "devices/#", &[], folder.path()).await;
        let ci = server.new_token("ci", "ci").await;
        let image = make(folder.path(), "0.9.0", 1, PRODUCT, &["a", "b"]).await;
        server.publish(PRODUCT, "0.9.0", &image, Promote::No).await;
        let image = make(folder.path(), "1.0.0", 1, PRODUCT, &["a", "b"]).await;
        server.publish(PRODUCT, "1.0.0", &image, Promote::Production).await;
        let public = |key: &str| folder.path().join(format!("{key}.pub.pem")).display().to_string();
        let options =
            ["--trusted-key", &public("a"), "--trusted-key", &public("b"), "--signatures-required", "2"];
        let device = VirtualDevice::with(DEVICE, PRODUCT, &broker.devices(), &image, "1.0.0", &options);
        server.device_runs(DEVICE, "1.0.0").await;
        for (version, promote) in [("1.0.9", Promote::No), ("1.1.0", Promote::Production)] {
            let image = make(folder.path(), version, 2, PRODUCT, &["a", "b"]).await;
            server.publish(PRODUCT, version, &image, promote).await;
        }
        server.offer_soon(DEVICE, "1.1.0").await;
        server.update_is(DEVICE, api::UpdateState::Succeeded).await;
        let block = ["block", "1.0.0", "-p", PRODUCT, "--security", "--reason", "it lets anybody in"];
        Said::by(server.remote(block)).await.ok();
        let mut site = Self { server, device, messages, ci, broker, folder };
        site.runs_production().await;
        site
    }

    pub(super) fn store(&self) -> PathBuf {
        self.server.folder().join("store").join(PRODUCT)
    }

    /// One that was made.
    pub(super) fn path(&self, version: &str) -> PathBuf {
        self.folder.path().join(format!("{PRODUCT}-{version}.bin"))
    }

    /// Another one, signed by these keys.
    pub(super) async fn image(
        &self,
        version: &str,
        secure_version: u32,
        project: &str,
        keys: &[&str],
    ) -> PathBuf {
        make(self.folder.path(), version, secure_version, project, keys).await
    }

    /// After its next report, whatever was tried, the device runs and is shown as running production.
    pub(super) async fn runs_production(&mut self) {
        let version = format!("devices/{DEVICE}/version");
        let before = self.messages.payloads(&version).len();
        self.device.cut_power();
        self.device.power_on();
        let report = until("the device reports", || async {
            self.messages
                .payloads(&version)
                .into_iter()
                .skip(before)
                .find(|report| report.contains("\"valid\""))
        })
        .await;
        let sha256 = digest(&self.path("1.1.0"));
        assert!(report.contains(&sha256) && report.contains("\"1.1.0\""), "{report}");
        let wish = |device: &api::Device| {
            let shown = device.sha256.map(|sha256| sha256.to_string());
            device.version.as_deref() == Some("1.1.0") && shown == Some(sha256.clone()) && device.online
        };
        let shown = self.server.device_when(DEVICE, "shown as it is", wish).await;
        assert_eq!(shown.identity.to_string(), "release");
        let is_false = |update: &api::Update| {
            update.state == api::UpdateState::Succeeded && update.to.to_string() != "1.1.0"
        };
        assert!(!self.server.history(DEVICE).await.iter().any(is_false), "nothing else has succeeded");
    }

    /// What the device answered next.
    async fn refusal(&self, before: usize) -> Outcome {
        let topic = format!("devices/{DEVICE}/ota/status");
        let said =
            until("the device answers", || async { self.messages.payloads(&topic).into_iter().nth(before) })
                .await;
        let code = said.rsplit_once('[').and_then(|(_, code)| code.strip_suffix(']'));
        Outcome::Device(word(&CODES, code.unwrap_or(&said)))
    }

    fn answers(&self) -> usize {
        self.messages.payloads(&format!("devices/{DEVICE}/ota/status")).len()
    }

    pub(super) async fn publish(&self, topic: &str, payload: &str) {
        self.broker.server().publish(&format!("devices/{DEVICE}/{topic}"), payload, &[]).await.ok();
    }

    pub(super) async fn first_trigger(&self) -> String {
        self.messages.first(&format!("devices/{DEVICE}/ota")).await
    }

    pub(super) async fn first_report(&self) -> String {
        self.messages.first(&format!("devices/{DEVICE}/version")).await
    }

    /// Sends the device a URL of the thief's, which names a version and serves an image.
    pub(super) async fn send(&self, named: &str, image: &Path) -> Outcome {
        let bytes = Bytes::from(std::fs::read(image).expect("read"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = axum::Router::new().fallback(serve).with_state(bytes);
        let serving = tokio::spawn(async move { axum::serve(listener, service).await });
        let before = self.answers();
        let url = format!("http://{address}/{PRODUCT}/releases/v{named}/firmware.bin?once={before}");
        self.publish("ota", &url).await;
        let outcome = self.refusal(before).await;
        serving.abort();
        outcome
    }

    /// Writes a release and production into the bucket, and has the device checked.
    pub(super) async fn put(&self, version: &str, image: &Path) -> Outcome {
        for place in [format!("releases/v{version}"), "production".to_owned()] {
            let place = self.store().join(place);
            std::fs::create_dir_all(&place).expect("made");
            let _ = std::fs::remove_file(place.join("metadata.json"));
            std::fs::copy(image, place.join("firmware.bin")).expect("copied");
            std::fs::write(place.join("version.txt"), version).expect("written");
        }
        self.checked().await
    }

    async fn checked(&self) -> Outcome {
        let before = self.answers();
        let answer = until("the device is there", || async {
            Some(self.server.check(DEVICE).await).filter(|answer| answer.decision != "offline")
        })
        .await;
        if answer.decision == "offered" {
            return self.refusal(before).await;
        }
        Outcome::Decision(word(&DECISIONS, &answer.decision))
    }

    /// Publishes and promotes with a token of CI, and overrules what may be overruled.
    pub(super) async fn ci_publishes(&self, version: &str, image: &Path) -> Outcome {
        let image = image.display().to_string();
        let arguments = ["publish", &image, "-p", PRODUCT, "--version", version, "--promote", "--json"];
        let allow = ["--allow", "same-bytes", "--allow", "lower-version", "--allow", "secure-version"];
        let mut command = self.server.remote(arguments.into_iter().chain(allow));
        command.env("UPDRAFT_TOKEN", &self.ci);
        let said = Said::by(command).await;
        if said.code == Some(0) {
            return self.checked().await;
        }
        let findings = said.json::<serde_json::Value>()["findings"].as_array().cloned().unwrap_or_default();
        let refuses =
            |finding: &&serde_json::Value| finding["level"] == "refuse" && finding["allowed"] == false;
        let refusal = findings.iter().find(refuses).unwrap_or_else(|| panic!("{said:?}"));
        Outcome::Gate(word(&CHECKS, refusal["check"].as_str().expect("a name")))
    }

    /// Makes an update of the device to a version in the database.
    pub(super) async fn write_update(&mut self, version: &str, key: &str) -> Outcome {
        let before = self.answers();
        let newest = format!("(SELECT update_id FROM devices WHERE id = '{DEVICE}')");
        self.device.cut_power();
        self.sql(&format!(
            "UPDATE updates SET state = 'offered', to_version = '{version}', sha256 = NULL, triggered_at = NULL, finished_at = NULL, \
             object_key = '{key}' WHERE id = {newest}"
        ))
        .await;
        self.sql(&format!("UPDATE devices SET update_state = 'offered', waiting = 1 WHERE id = '{DEVICE}'"))
            .await;
        self.device.power_on();
        let outcome = until("it comes to something", || async {
            let device = self.server.device(DEVICE).await;
            let update = device.update.expect("an update");
            if update.state == api::UpdateState::Cancelled {
                return Some(Outcome::NotSigned);
            }
            let is_itself = device.version.as_deref() == Some("1.0.9") && !update.state.is_in_flight();
            let answers = self.messages.payloads(&format!("devices/{DEVICE}/ota/status"));
            let refused = answers.get(before).is_some_and(|answer| answer.starts_with("FAILED"));
            if is_itself { Some(Outcome::RunsAsItself) } else { refused.then_some(Outcome::NoWay) }
        })
        .await;
        if outcome != Outcome::NoWay {
            return outcome;
        }
        self.refusal(before).await
    }

    /// A statement, as whoever has the database writes it.
    pub(super) async fn sql(&self, statement: &str) {
        let config = std::fs::read_to_string(self.server.config()).expect("read");
        let url = config
            .split("[database]\nurl = \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a URL");
        let mut command;
        if let Some(file) = url.strip_prefix("sqlite:") {
            command = Command::new("python3");
            let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=30); db.execute(sys.argv[2]); db.commit()";
            command.args(["-c", script, file, statement]).current_dir(self.server.folder());
        } else {
            // The schema stands in a parameter that psql does not know.
            let (url, schema) = url.split_once("options[search_path]=").expect("each test has a schema");
            let url = url.trim_end_matches(['?', '&']);
            let schema = format!("SET search_path TO \"{schema}\"");
            command = Command::new("psql");
            command.args(["-v", "ON_ERROR_STOP=1", "-c", &schema, "-c", statement, url]);
        }
        Said::by(command).await.ok();
    }
}

async fn make(folder: &Path, version: &str, secure_version: u32, project: &str, keys: &[&str]) -> PathBuf {
    let path = folder.join(format!("{project}-{version}.bin"));
    let build = Build {
        secure_version,
        project_name: project.to_owned(),
        size_bytes: 80_000,
        ..Build::new(Chip::Esp32S3, version)
    };
    std::fs::write(&path, build.bytes()).expect("written");
    let (file, signed) = (path.display().to_string(), folder.join("signed.bin"));
    for (index, key) in keys.iter().enumerate() {
        let key = folder.join(format!("{key}.pem")).display().to_string();
        let append = (index > 0).then_some("--append");
        let output = signed.display().to_string();
        let arguments = ["image", "sign", &file, "--key", &key, "-o", &output].into_iter().chain(append);
        Said::by(updraft(arguments)).await.ok();
        std::fs::rename(&signed, &path).expect("renamed");
    }
    path
}

/// An image, or a part of it.
async fn serve(State(image): State<Bytes>, headers: HeaderMap) -> impl IntoResponse {
    let range = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let length = image.len();
    let (from, to) = match range {
        None => (0, length),
        Some(("", last)) => (length.saturating_sub(last.parse().unwrap_or(0)), length),
        Some((from, to)) => {
            (from.parse().unwrap_or(0), to.parse().map_or(length, |to: usize| to + 1).min(length))
        }
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let content_range = format!("bytes {from}-{}/{length}", to.saturating_sub(1));
    let headers = [(header::CONTENT_RANGE, content_range), (header::ETAG, "\"stolen\"".to_owned())];
    (status, headers, image.slice(from.min(to)..to))
}
