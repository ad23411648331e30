//! What a device says, and what comes of it: in the history, in the API, on the dashboard, for its next trigger.

use ::image::Chip;
use ::image::build::Build;
use contract::TopicKind;
use fleet::UpdateState;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rig::{self, BY, Rig, id};
use crate::access::Role;

/// A JSON report of 1.0.0.
const OLD: &str = r#"{"version":"1.0.0","state":"valid"}"#;
const NEW: &str = r#"{"version":"1.1.0","state":"valid"}"#;
/// The target was confirmed, crashed again and again, and was left.
const FALLEN: &str = r#"{"version":"1.0.0","state":"valid","last":{"to":"1.1.0","result":"FAILED","reason":"rolled back: it crashed 5 times after it was confirmed [crash_loop]"}}"#;

/// A device of product `p` that reports in JSON, with 1.1.0 in production.
async fn reporting(report: &str) -> (Rig, rig::Actor) {
    let rig = Rig::with("[store]\nshort_urls = true").await;
    rig.release("p", "1.0.0", json!({}));
    rig.deploy("p", "1.1.0", json!({}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, report).await;
    rig.until_version("d1", "1.0.0").await;
    (rig, device)
}

/// Pages and documents, as somebody sees them who may do everything.
struct Reader {
    base: String,
    token: String,
}

impl Reader {
    async fn of(rig: &Rig) -> Self {
        let token =
            rig.services().access.create_token(&BY, "reader", Role::Viewer, None).await.expect("made");
        Self { base: format!("http://{}", rig.running.http_addr()), token }
    }

    async fn text(&self, path: &str) -> String {
        let request = reqwest::Client::new().get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let answer = request.send().await.expect("answers");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.expect("text")
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).expect("JSON")
    }
}

#[tokio::test]
async fn a_code_is_shown_beside_the_words_and_never_in_them() {
    let (rig, device) = reporting(OLD).await;
    assert_eq!(rig.decision("d1").await, "offered");
    let words = "the image is for esp32c3, this device is esp32s3";
    device.say(TopicKind::Status, &format!("FAILED {words} [wrong_chip]")).await;
    rig.until_state("d1", UpdateState::Failed).await;
    let reader = Reader::of(&rig).await;
    for update in [
        reader.json("/api/v1/devices/d1").await["update"].clone(),
        reader.json("/api/v1/devices/d1/updates").await["items"][0].clone(),
    ] {
        assert_eq!((&update["reason"], &update["code"]), (&json!(words), &json!("wrong_chip")), "{update}");
    }
    let page = reader.text("/devices/d1").await;
    assert!(page.contains(">wrong_chip</code>") && !page.contains("[wrong_chip]"), "{page}");
    let metrics = reader.text("/metrics").await;
    assert!(metrics.contains("updraft_devices_by_newest_update_code{code=\"wrong_chip\"} 1\n"), "{metrics}");

    // A code that nobody knows stays where the device wrote it.
    assert_eq!(rig.decision("d1").await, "offered", "another chip's image is not at fault");
    device.say(TopicKind::Status, "FAILED it was eaten [gremlins]").await;
    rig.until_state("d1", UpdateState::Failed).await;
    let update = reader.json("/api/v1/devices/d1").await["update"].clone();
    assert_eq!((&update["reason"], &update["code"]), (&json!("it was eaten [gremlins]"), &Value::Null));
    assert!(!reader.text("/metrics").await.contains("gremlins"));
}

#[tokio::test]
async fn a_slot_that_no_flash_has_is_marked_on_the_device_s_page() {
    let (rig, device) = reporting(r#"{"version":"1.0.0","slot_bytes":1}"#).await;
    let (reader, marked) = (Reader::of(&rig).await, "so this is passed over");
    assert!(reader.text("/devices/d1").await.contains(marked));
    device.say(TopicKind::Version, r#"{"version":"1.0.0","slot_bytes":1310720}"#).await;
    rig::until("it says another slot", || async {
        rig.show("d1").await.report.is_some_and(|report| report.slot_bytes == Some(1_310_720))
    })
    .await;
    assert!(!reader.text("/devices/d1").await.contains(marked));
}

#[tokio::test]
async fn what_a_device_lacks_is_shown_as_a_warning_until_it_lacks_it_no_more() {
    let report = r#"{"version":"1.0.0","lacks":["signatures","crash_loops","gravity"]}"#;
    let (rig, device) = reporting(report).await;
    let reader = Reader::of(&rig).await;
    let shown = reader.json("/api/v1/devices/d1").await;
    assert_eq!(shown["lacks"], json!(["signatures", "crash_loops", "gravity"]));
    let page = reader.text("/devices/d1").await;
    for sentence in ["Takes unsigned images: no trusted keys", "Does not see crash loops", "gravity."] {
        assert!(page.contains(sentence), "{sentence}: {page}");
    }
    assert!(page.contains("notice bad"), "unsigned images are said loudly");
    assert!(reader.text("/").await.contains("takes unsigned"));
    device.say(TopicKind::Version, OLD).await;
    rig::until("nothing is lacking", || async { rig.show("d1").await.lacks.is_empty() }).await;
    assert_eq!(reader.json("/api/v1/devices/d1").await["lacks"], json!([]));
    assert!(!reader.text("/devices/d1").await.contains("Takes unsigned images"));
    assert!(!reader.text("/").await.contains("takes unsigned"));
}

#[tokio::test]
async fn a_crash_loop_after_success_is_a_roll_back_and_the_second_one_quarantines() {
    let (rig, device) = reporting(OLD).await;
    for round in 1..=2 {
        assert_eq!(rig.decision("d1").await, "offered", "round {round}");
        device.say(TopicKind::Version, NEW).await;
        rig.until_state("d1", UpdateState::Succeeded).await;
        device.say(TopicKind::Status, "FAILED rolled back: it crashed 5 times [crash_loop]").await;
        device.say(TopicKind::Version, FALLEN).await;
        rig.until_state("d1", UpdateState::RolledBack).await;
        let update = rig.show("d1").await.update.expect("made");
        assert_eq!(update.code.as_deref(), Some("crash_loop"));
        assert_eq!(update.reason.as_deref(), Some("rolled back: it crashed 5 times after it was confirmed"));
        // It says so again at each connect.
        device.say(TopicKind::Version, FALLEN).await;
    }
    assert_eq!(rig.decision("d1").await, "quarantined");
    let history = rig.services().updates.of_device(&id("d1"), None, 10).await.expect("listed").items;
    assert!(history.len() == 2 && history.iter().all(|update| update.state == UpdateState::RolledBack));
}

#[tokio::test]
async fn a_way_back_that_was_offered_is_an_update_of_its_own() {
    let (rig, device) = reporting(OLD).await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.say(TopicKind::Version, NEW).await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    rig.block("p", r#"{"blocked_versions":["1.1.0"],"reason":{}}"#);
    rig.deploy("p", "1.0.0", json!({}));
    assert_eq!(rig.decision("d1").await, "offered");
    device.say(TopicKind::Version, OLD).await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    let history = rig.services().updates.of_device(&id("d1"), None, 10).await.expect("listed").items;
    assert!(history.len() == 2 && history.iter().all(|update| update.state == UpdateState::Succeeded));
}

#[tokio::test]
async fn a_device_that_restarted_in_mid_download_gets_a_fresh_url_for_the_same_artifact() {
    let (rig, mut device) = reporting(OLD).await;
    let made =
        rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides").update.expect("made").id;
    device.until_triggers(1).await;
    for state in [UpdateState::Offered, UpdateState::Downloading] {
        if state == UpdateState::Downloading {
            device.say(TopicKind::Progress, r#"{"phase":"download","done":9,"total":19}"#).await;
        }
        rig.until_state("d1", state).await;
        let password = device.password.clone();
        drop(device);
        rig::until("it is gone", || async { !rig.show("d1").await.online }).await;
        device = rig.connect("d1", &password).await;
        device.say(TopicKind::Version, OLD).await;
        device.say(TopicKind::Request, "url_expired").await;
        device.until_triggers(1).await;
        let update = rig.show("d1").await.update.expect("made");
        assert_eq!((update.id, update.state), (made, state.into()), "the same attempt goes on");
        let token = device.triggers()[0].rsplit('/').next().expect("a token").to_owned();
        assert_eq!(
            rig.services().updates.resolve_short(&token).await.expect("resolves").key,
            "p/releases/v1.1.0/firmware.bin"
        );
    }
    device.say(TopicKind::Version, NEW).await;
    rig.until_state("d1", UpdateState::Succeeded).await;
}

/// One request on a connection that stays open: the head in lower case, and the body.
async fn get(connection: &mut TcpStream, path: &str, headers: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: updraft\r\n{headers}\r\n");
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    connection.read_exact(&mut body).await.expect("a body");
    (head, body)
}

#[tokio::test]
async fn a_short_url_serves_the_head_and_the_tail_on_one_connection() {
    let (rig, device) = reporting(OLD).await;
    let image = Build { size_bytes: 40_000, ..Build::new(Chip::Esp32S3, "1.1.0") }.bytes();
    let file = rig.folder.path().join("store/p/releases/v1.1.0/firmware.bin");
    let production = rig.folder.path().join("store/p/production/firmware.bin");
    let metadata = json!({"sha256": null, "size": image.len()});
    rig.deploy("p", "1.1.0", metadata);
    for file in [file, production] {
        std::fs::write(file, &image).expect("written");
    }
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    let url: url::Url = device.triggers()[0].parse().expect("a URL");
    let (size, path) = (image.len(), url.path());
    assert!(path.starts_with("/d/"), "{path}");
    let mut connection = TcpStream::connect(rig.running.http_addr()).await.expect("connected");
    let (head, body) = get(&mut connection, path, "range: bytes=0-\r\n").await;
    assert!(head.starts_with("http/1.1 206 ") && body == image, "{head}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an ETag").to_owned();
    for (range, from, to) in [
        ("bytes=-4128", size - 4128, size),
        ("bytes=-99999999", 0, size),
        ("bytes=0-287", 0, 288),
        ("bytes=4096-", 4096, size),
    ] {
        let headers = format!("range: {range}\r\nif-range: {etag}\r\n");
        let (head, body) = get(&mut connection, path, &headers).await;
        assert!(head.starts_with("http/1.1 206 "), "{range}: {head}");
        assert!(head.contains(&format!("content-range: bytes {from}-{}/{size}\r\n", to - 1)), "{head}");
        assert!(body == image[from..to], "{range}");
    }
    let changed = "range: bytes=-4128\r\nif-range: \"other\"\r\n";
    let (head, body) = get(&mut connection, path, changed).await;
    assert!(head.starts_with("http/1.1 200 ") && body == image, "{head}");
}

#[test]
fn operators_read_what_to_do_for_every_code_and_every_lack() {
    let page = include_str!("../../../../docs/operate.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let codes = contract::Code::ALL.iter().map(|code| code.as_str());
    for word in codes.chain(contract::Lack::ALL.map(contract::Lack::as_str)) {
        let named = rows.iter().filter(|row| row.contains(&format!("`{word}`"))).count();
        assert_eq!(named, 1, "{word} in docs/operate.md");
    }
}
