//! Bytes that this server serves: to whom, for how long, and what is learned of who fetches them.

use std::time::{Duration, Instant};

use contract::{Sha256, TopicKind};
use fleet::UpdateState;
use reqwest::StatusCode;
use serde_json::json;
use sha2::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::rig::{Actor, BY, Rig, until};

/// As [`super::ready`], with more of `updraft.toml`, and its trigger.
async fn offered(more: &str) -> (Rig, Actor, String) {
    let rig = Rig::with(more).await;
    rig.release("p", "1.0.0", json!({}));
    rig.deploy("p", "1.1.0", json!({}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    let url = device.triggers().remove(0);
    (rig, device, url)
}

#[tokio::test]
async fn the_url_of_a_cancelled_update_is_closed_and_a_new_one_is_not() {
    for more in ["", "[store]\nshort_urls = true"] {
        let (rig, device, url) = offered(more).await;
        let update = rig.show("d1").await.update.expect("made").id;
        assert_eq!(reqwest::get(&url).await.expect("answers").status(), StatusCode::OK);
        rig.services().updates.cancel(&BY, update).await.expect("cancelled");
        let answer = reqwest::get(&url).await.expect("answers");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(answer.text().await.expect("text"), "This update was cancelled.\n");
        assert_eq!(rig.decision("d1").await, "offered");
        device.until_triggers(2).await;
        let next = device.triggers().remove(1);
        assert_eq!(reqwest::get(&next).await.expect("answers").status(), StatusCode::OK);
        assert_eq!(reqwest::get(&url).await.expect("answers").status(), StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn what_a_url_is_for_cannot_be_changed() {
    let (_rig, _device, url) = offered("").await;
    let (before, signature) = url.split_once("signature=").expect("signed");
    assert_eq!(signature.len(), 72);
    for touched in [
        format!("{before}signature=00000009{}", &signature[8..]),
        format!("{before}signature={}", &signature[8..]),
        format!("{before}signature={}", signature.to_uppercase()),
        format!("{before}signature=00000000{signature}"),
    ] {
        assert_eq!(
            reqwest::get(&touched).await.expect("answers").status(),
            StatusCode::FORBIDDEN,
            "{touched}"
        );
    }
}

/// A slow reader: what lies in the buffers on the way it gets, and no more once its update was cancelled.
#[tokio::test]
async fn a_download_under_way_breaks_off_when_its_update_is_cancelled() {
    let (rig, _device, url) = offered("").await;
    let image = vec![7; 12 * 1024 * 1024];
    std::fs::write(rig.folder.path().join("store/p/releases/v1.1.0/firmware.bin"), &image).expect("written");
    let url: url::Url = url.parse().expect("a URL");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("small");
    let mut connection = socket.connect(rig.running.http_addr()).await.expect("connected");
    let request =
        format!("GET {}?{} HTTP/1.1\r\nhost: updraft\r\n\r\n", url.path(), url.query().expect("signed"));
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut read = vec![0; 100_000];
    connection.read_exact(&mut read).await.expect("it begins");
    assert!(String::from_utf8_lossy(&read).starts_with("HTTP/1.1 200 OK"));
    let update = rig.show("d1").await.update.expect("made").id;
    rig.services().updates.cancel(&BY, update).await.expect("cancelled");
    tokio::time::sleep(Duration::from_millis(5200)).await;
    let (mut total, begun) = (read.len(), Instant::now());
    while let Ok(more @ 1..) = connection.read(&mut read).await {
        total += more;
    }
    assert!(total < image.len(), "{total} bytes came");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn answers_carry_the_sums_of_the_file_whatever_part_is_asked_for() {
    let (rig, _device, url) = offered("").await;
    let file = rig.folder.path().join("store/p/releases/v1.1.0/firmware.bin");
    let http = reqwest::Client::new();
    for is_replaced in [false, true] {
        if is_replaced {
            std::fs::write(&file, b"other bytes").expect("written");
        }
        let bytes = std::fs::read(&file).expect("read");
        let (md5, sha256) =
            (hex::encode(md5::Md5::digest(&bytes)), hex::encode(sha2::Sha256::digest(&bytes)));
        for (range, status) in [(None, 200), (Some("bytes=0-4"), 206), (Some("bytes=-3"), 206)] {
            let mut request = http.get(&url);
            if let Some(range) = range {
                request = request.header("range", range);
            }
            let answer = request.send().await.expect("answers");
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()["x-md5"], md5.as_str());
            assert_eq!(answer.headers()["x-sha256"], sha256.as_str());
        }
    }
}

/// What `HTTPUpdate` of arduino-esp32 sends.
async fn http_update(url: &str, version: &str, sha256: &str, space: &str) {
    let mut request = reqwest::Client::new().get(url).header("user-agent", "ESP32-http-Update");
    for (name, value) in [
        ("x-ESP32-STA-MAC", "24:6F:28:00:00:00"),
        ("x-ESP32-free-space", space),
        ("x-ESP32-sketch-size", "853264"),
        ("x-ESP32-sketch-sha256", sha256),
        ("x-ESP32-chip-size", "4194304"),
        ("x-ESP32-sdk-version", "v4.4.7"),
        ("x-ESP32-mode", "sketch"),
        ("x-ESP32-version", version),
    ] {
        request = request.header(name, value);
    }
    assert_eq!(request.send().await.expect("answers").status(), StatusCode::OK);
}

#[tokio::test]
async fn what_http_update_says_counts_for_the_device_whose_url_it_came_by() {
    for more in ["", "[store]\nshort_urls = true"] {
        let (rig, device, url) = offered(more).await;
        let other = rig.device("d2", "p").await;
        other.say(TopicKind::Version, "1.0.0").await;
        rig.until_version("d2", "1.0.0").await;
        let running = "AB".repeat(32);
        http_update(&url, "v1.0.0", &running, "1310720").await;
        let shown = rig.show("d1").await;
        assert_eq!(shown.sha256, Sha256::from_hex(&running));
        assert_eq!(shown.version.as_deref(), Some("v1.0.0"));
        assert_eq!(rig.show("d2").await.sha256, None);
        // A bare version by MQTT takes nothing back of what it does not speak of.
        device.say(TopicKind::Version, "1.0.0").await;
        rig.until_version("d1", "1.0.0").await;
        assert_eq!(rig.show("d1").await.sha256, Sha256::from_hex(&running));
        // What is larger than its slot is not offered any more.
        let update = rig.show("d1").await.update.expect("made").id;
        http_update(&url, "1.0.0", &running, "4").await;
        rig.services().updates.cancel(&BY, update).await.expect("cancelled");
        assert_eq!(rig.decision("d1").await, "too_large");
        assert_eq!(rig.decision("d2").await, "offered");
    }
}

#[tokio::test]
async fn a_signed_url_that_names_no_update_says_nothing_of_any_device() {
    let (rig, _device, _url) = offered("").await;
    let store = rig.services().releases.store();
    let url = store.sign("p/releases/v1.1.0/firmware.bin", Duration::from_mins(1)).await.expect("signed");
    http_update(url.as_str(), "0.9.0", &"AB".repeat(32), "64").await;
    let shown = rig.show("d1").await;
    assert_eq!((shown.version.as_deref(), shown.sha256), (Some("1.0.0"), None));
}

#[tokio::test]
async fn a_device_that_reports_by_itself_is_taken_at_its_own_word() {
    let (rig, device, url) = offered("").await;
    device.say(TopicKind::Version, r#"{"version":"1.0.0","chip":"esp32s3","slot_bytes":1310720}"#).await;
    until("it is read", || async { rig.show("d1").await.report.is_some() }).await;
    http_update(&url, "0.9.0", &"AB".repeat(32), "64").await;
    let shown = rig.show("d1").await;
    assert_eq!((shown.version.as_deref(), shown.sha256), (Some("1.0.0"), None));
    assert_eq!(shown.report.expect("a report").slot_bytes, Some(1_310_720));
}

#[tokio::test]
async fn a_sketch_that_says_the_target_after_its_restart_has_succeeded() {
    let (rig, _device, url) = offered("").await;
    http_update(&url, "1.1.0", &"00".repeat(32), "1310720").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert_eq!(rig.show("d1").await.sha256, None);
}

#[tokio::test]
async fn a_trigger_that_fits_no_packet_carries_a_short_url() {
    // A topic of 14 bytes, 13 around it: what is left is the URL's.
    let (rig, _device, url) = offered("").await;
    assert!(url.contains("/firmware/p/releases/v1.1.0/firmware.bin?expires="), "{url}");
    drop(rig);
    let around = "devices/d1/ota".len() + 13;
    let long = url.len() + around;
    for (device_packet_bytes, is_short) in
        [(long + 1, false), (long - 2, true), (256, url.len() + around > 256)]
    {
        let (_rig, _device, url) =
            offered(&format!("[mqtt]\ndevice_packet_bytes = {device_packet_bytes}")).await;
        assert_eq!(url.contains("/d/"), is_short, "{device_packet_bytes}: {url}");
        assert!(url.len() + around <= device_packet_bytes, "{device_packet_bytes}: {url}");
    }
}

#[tokio::test]
async fn silence_of_a_device_that_stayed_connected_after_a_long_trigger_names_its_buffer() {
    let (rig, device, url) = offered("[fleet]\nupdate_timeout_s = 5").await;
    rig.until_state("d1", UpdateState::TimedOut).await;
    let reason = rig.show("d1").await.update.expect("made").reason.expect("a reason");
    let bytes = url.len() + "devices/d1/ota".len() + 13;
    assert!(reason.contains(&format!("the trigger was a packet of {bytes} bytes")), "{reason}");
    assert!(reason.contains("mqtt.device_packet_bytes"), "{reason}");
    // Who was away may just not have been there.
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(2).await;
    drop(device);
    until("it is gone", || async { !rig.show("d1").await.online }).await;
    rig.until_state("d1", UpdateState::TimedOut).await;
    let reason = rig.show("d1").await.update.expect("made").reason.expect("a reason");
    assert!(!reason.contains("packet"), "{reason}");
}

#[tokio::test]
async fn hosts_that_devices_may_not_reach_are_warned_of() {
    for (public_url, words) in [
        ("http://127.0.0.1:8080", Some("each machine's own name for itself")),
        ("http://localhost:8080", Some("of localhost")),
        ("http://[::1]:8080", Some("http.public_url")),
        ("http://0.0.0.0:8080", Some("each machine's own name for itself")),
        ("http://updraft:8080", Some("a name that only programs beside this server may know")),
        ("http://192.168.1.10:8080", None),
        ("https://ota.example.com", None),
        ("http://updraft.local", None),
    ] {
        let rig = Rig::with(&format!("[http]\npublic_url = \"{public_url}\"")).await;
        let ready =
            reqwest::get(format!("http://{}/readyz", rig.running.http_addr())).await.expect("answers");
        assert_eq!(ready.status(), StatusCode::OK);
        let health: api::Health =
            serde_json::from_slice(&ready.bytes().await.expect("a body")).expect("JSON");
        assert_eq!(
            health.warnings.len(),
            usize::from(words.is_some()),
            "{public_url}: {:?}",
            health.warnings
        );
        assert!(words.is_none_or(|words| health.warnings[0].contains(words)), "{:?}", health.warnings);
    }
}
