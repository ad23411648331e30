//! A device on a real Mosquitto and a real HTTP server that misbehaves on demand.

mod scene;

use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::Outcome;
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, sign};
use image::{Behaviour, Chip};
use rumqttc::{PublishOptions, QoS};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use updraft_virtual_device::{NotNow, Notice, Observer, Options, PowerSwitch, Rollback, run};

use scene::{Broker, Scene, Serving, TIMEOUT, firmware, serve, subscribe, until};

#[tokio::test]
async fn a_good_image_is_confirmed_and_lies_in_the_slot_byte_for_byte() {
    let mut scene = Scene::new(|_| {}).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, requests) = serve(new.clone(), Serving::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?signature=x")).await;
    let report = scene.report("1.2.0").await;
    assert_eq!(report.state.as_deref(), Some("valid"));
    assert_eq!(report.slot.as_deref(), Some("ota_1"));
    assert_eq!(report.rollback, Some(true));
    assert_eq!(report.last.expect("an outcome").result, Outcome::Success);
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(requests.load(Ordering::SeqCst), 2, "the end of the file, then all of it");
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn a_bootloader_without_rollback_is_reported() {
    let mut scene = Scene::new(|options| options.rollback = Rollback::Off).await;
    let (server, _) = serve(firmware("1.2.0", Behaviour::Healthy), Serving::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
    let report = scene.report("1.2.0").await;
    assert_eq!(report.rollback, Some(false));
    assert_eq!(scene.status().await, "SUCCESS");
}

#[tokio::test]
async fn an_image_that_crashes_is_rolled_back_and_the_device_says_so() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::CrashesAtBoot), Serving::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    let report = scene.report("1.0.0").await;
    let last = report.last.expect("an outcome");
    assert_eq!(last.to.expect("known").as_str(), "1.1.0");
    assert!(last.reason.expect("one").as_str().starts_with("rolled back: "));
    assert!(scene.status().await.starts_with("FAILED rolled back: "));
}

#[tokio::test]
async fn an_image_that_failed_twice_is_refused_until_the_quarantine_is_cleared() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::CrashesAtBoot), Serving::Well).await;
    let url = format!("{server}/p/releases/v1.1.0/firmware.bin");
    for expected in ["FAILED rolled back: ", "FAILED rolled back: ", "FAILED quarantined: "] {
        scene.trigger(&url).await;
        let status = scene.status().await;
        assert!(status.starts_with(expected), "{status} instead of {expected}");
    }
    let options = PublishOptions::new(QoS::AtLeastOnce);
    scene.client.publish("devices/dev-1/ota/control", "clear_quarantine", options).await.expect("queued");
    scene.trigger(&url).await;
    assert!(scene.status().await.starts_with("FAILED rolled back: "));
}

fn busy(seconds: u64, downloads: bool) -> NotNow {
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
    NotNow { until, reason: "the lamp is lit".to_owned(), downloads }
}

#[tokio::test]
async fn a_device_in_use_puts_an_update_off_unless_it_is_forced() {
    let mut scene = Scene::new(|options| options.not_now = Some(busy(3600, false))).await;
    let (server, requests) = serve(firmware("1.2.0", Behaviour::Healthy), Serving::Well).await;
    let url = format!("{server}/p/releases/v1.2.0/firmware.bin");
    scene.trigger(&url).await;
    let said = scene.status().await;
    let seconds: u32 = said
        .strip_prefix("DEFERRED ")
        .and_then(|rest| rest.strip_suffix(" the lamp is lit"))
        .expect("put off")
        .parse()
        .expect("seconds");
    assert!((3590..=3600).contains(&seconds), "{said}");
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    let options = PublishOptions::new(QoS::AtLeastOnce);
    scene.client.publish("devices/dev-1/ota/control", "force", options).await.expect("queued");
    scene.trigger(&url).await;
    assert_eq!(scene.status().await, "SUCCESS");
}

#[tokio::test]
async fn an_update_is_downloaded_and_verified_now_and_installed_later_power_cuts_included() {
    let power = PowerSwitch::default();
    let mut scene = Scene::new(|options| {
        (options.not_now, options.power) = (Some(busy(8, true)), power.clone());
    })
    .await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, requests) = serve(new.clone(), Serving::Well).await;
    let url = format!("{server}/p/releases/v1.2.0/firmware.bin");
    scene.trigger(&url).await;
    assert!(scene.status().await.ends_with(" the lamp is lit"));
    let before = requests.load(Ordering::SeqCst);
    assert_eq!(before, 2, "the end of the file, then all of it");
    power.cut();
    assert_eq!(scene.message("ota/request").await, b"url_expired");
    scene.trigger(&url).await;
    assert!(scene.status().await.ends_with(" the lamp is lit"), "it is kept again");
    assert_eq!(
        scene.message("ota/request").await,
        b"url_expired",
        "whether it still holds is the server's to say"
    );
    scene.trigger(&url).await;
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn an_image_that_never_reaches_the_broker_gives_up_and_the_old_one_says_so() {
    let mut scene = Scene::new(|options| options.self_test = Duration::from_millis(200)).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::NeverReachesNetwork), Serving::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    let expected = "FAILED rolled back: the broker was not reached within 1 s [broker_not_reached]";
    assert_eq!(scene.status().await, expected);
}

#[tokio::test]
async fn a_lost_connection_goes_on_where_it_was() {
    let mut scene = Scene::new(|_| {}).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, requests) = serve(new.clone(), Serving::ResetAt(70_000, 2)).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_appends_nothing() {
    let mut scene = Scene::new(|_| {}).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, _) = serve(new.clone(), Serving::IgnoresRange).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn connections_lost_for_good_end_as_failed_with_the_old_image_running() {
    let mut scene = Scene::new(|_| {}).await;
    let old = scene.options.firmware.clone();
    let (server, _) = serve(firmware("1.2.0", Behaviour::Healthy), Serving::ResetAt(1000, 100)).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?signature=secret")).await;
    let status = scene.status().await;
    assert!(status.starts_with("FAILED given up after 6 tries: the connection closed too early"), "{status}");
    assert!(!status.contains("secret") && !status.contains("http:"), "{status}");
    assert_eq!(scene.slot(0, old.len()).await, *old);
}

#[tokio::test]
async fn an_expired_url_is_asked_for_again() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.2.0", Behaviour::Healthy), Serving::ExpiredOnce).await;
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?old")).await;
    assert_eq!(scene.message("ota/request").await, b"url_expired");
    scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin?fresh")).await;
    assert_eq!(scene.status().await, "SUCCESS");
}

#[tokio::test]
async fn bad_images_and_answers_are_refused_in_words() {
    let mut scene = Scene::new(|_| {}).await;
    let good = firmware("1.2.0", Behaviour::Healthy);
    let mut corrupt = good.clone();
    corrupt[good.len() / 2] ^= 1;
    let mut other = Build::new(Chip::Esp32C3, "1.2.0");
    other.size_bytes = 64 * 1024;
    let cases = [
        (corrupt, Serving::Well, "FAILED the image is damaged"),
        (good[..good.len() - 5000].to_vec(), Serving::Well, "FAILED the image is cut short"),
        (other.bytes(), Serving::Well, "FAILED wrong chip: the image is for esp32c3, this device is esp32s3"),
        (b"<html>not here</html>".repeat(100), Serving::Well, "FAILED not an ESP32 image"),
        (vec![0xE9; 2_000_000], Serving::Well, "FAILED the image is too large: 2000000 bytes"),
        (good.clone(), Serving::Answers(404), "FAILED the server answered 404"),
    ];
    for (bytes, serving, expected) in cases {
        let (server, _) = serve(bytes, serving).await;
        scene.trigger(&format!("{server}/p/releases/v1.2.0/firmware.bin")).await;
        let status = scene.status().await;
        assert!(status.starts_with(expected), "{status} instead of {expected}");
    }
    let restarted = std::iter::from_fn(|| scene.notices.try_recv().ok())
        .any(|(_, notice)| matches!(notice, Notice::Restarting));
    assert!(!restarted);
}

#[tokio::test]
async fn a_trigger_that_the_broker_kept_is_not_obeyed_at_every_connect() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, requests) = serve(firmware("1.2.0", Behaviour::Healthy), Serving::Well).await;
    let old = format!("{server}/p/releases/v1.2.0/firmware.bin?old");
    let kept = PublishOptions::new(QoS::AtLeastOnce).retain(true);
    let (options, slot) = (scene.options.clone(), scene.folder.path().join("flash.bin"));
    scene.stop.cancel();
    timeout(TIMEOUT, &mut scene.device).await.expect("stops").expect("no panic").expect("no error");
    scene.client.publish("devices/dev-1/ota", old, kept).await.expect("queued");
    scene.message("ota").await;
    let (observer, notices) = Observer::new();
    (scene.stop, scene.notices) = (CancellationToken::new(), notices);
    scene.device =
        tokio::spawn(run(Options { flash_path: Some(slot), ..options }, scene.stop.clone(), observer));
    // The subscription is made before the report is sent, so what was kept comes before the answer to this.
    scene.report("1.0.0").await;
    scene.trigger("not a URL").await;
    assert!(scene.status().await.starts_with("FAILED the trigger is not"));
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_download_goes_on_after_a_power_cut() {
    let mut scene = Scene::new(|options| options.pace.bytes_per_s = Some(100_000)).await;
    let new = firmware("1.2.0", Behaviour::Healthy);
    let (server, _) = serve(new.clone(), Serving::Well).await;
    let url = format!("{server}/p/releases/v1.2.0/firmware.bin");
    scene.trigger(&url).await;
    while scene.progress().await.done < 70_000 {}
    scene.options.power.cut();
    // The URL is a secret that the device does not keep.
    assert_eq!(scene.message("ota/request").await, b"url_expired");
    scene.trigger(&url).await;
    assert!(scene.progress().await.done >= 64 * 1024, "it began again");
    assert_eq!(scene.status().await, "SUCCESS");
    assert_eq!(scene.slot(1, new.len()).await, new);
}

#[tokio::test]
async fn a_device_that_stops_says_offline() {
    let mut scene = Scene::new(|_| {}).await;
    scene.stop.cancel();
    loop {
        if scene.message("presence").await == b"offline" {
            break;
        }
    }
}

#[tokio::test]
async fn an_image_that_crashes_after_it_was_confirmed_is_left_for_the_one_before() {
    let mut scene = Scene::new(|_| {}).await;
    let (server, _) = serve(firmware("1.1.0", Behaviour::CrashesLater), Serving::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    assert_eq!(scene.status().await, "SUCCESS", "it looked well");
    let report = scene.report("1.0.0").await;
    let expected = "FAILED rolled back: the image crashed 5 times in a row [crash_loop]";
    assert_eq!(scene.status().await, expected);
    assert_eq!(report.state.as_deref(), Some("valid"));
    assert_eq!(report.last.expect("an outcome").to.expect("known").as_str(), "1.1.0");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_left_for_the_one_before() {
    let mut scene = Scene::new(|options| options.move_time = Duration::from_secs(1)).await;
    // Nobody listens there once the port was given back.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    scene.options.moves.move_to(format!("mqtt://{dead}").parse().expect("a URL"));
    let returned = scene.report("1.0.0").await.returned.expect("says why it is back");
    assert_eq!(returned.code(), Some(contract::Code::MoveFailed), "{returned}");
}

#[tokio::test]
async fn a_broker_that_answers_is_kept_through_restarts() {
    let mut scene = Scene::new(|_| {}).await;
    let other = Broker::start().await;
    let (_client, mut reports) = subscribe(other.port).await;
    let url: url::Url = format!("mqtt://127.0.0.1:{}", other.port).parse().expect("a URL");
    scene.options.moves.move_to(url);
    let address = format!("127.0.0.1:{}", other.port);
    scene.notice(|notice| *notice == Notice::Moving(address.clone())).await;
    scene.notice(|notice| *notice == Notice::Connected).await;
    until(&mut reports, "devices/dev-1/version").await;
    scene.options.power.cut();
    scene.notice(|notice| *notice == Notice::PowerCut).await;
    scene.notice(|notice| *notice == Notice::Connected).await;
    // It has reported, and what came to the old broker until then came before the marker.
    until(&mut reports, "devices/dev-1/version").await;
    scene.client.publish("devices/marker", "", PublishOptions::new(QoS::AtLeastOnce)).await.expect("queued");
    let sent = until(&mut scene.messages, "devices/marker").await;
    assert!(!sent.iter().any(|topic| topic == "devices/dev-1/version"), "reports where it left: {sent:?}");
}

#[tokio::test]
async fn a_device_that_trusts_keys_takes_only_what_they_signed() {
    let key = SigningKey::generate(Scheme::EcdsaP256).expect("a key");
    let other = SigningKey::generate(Scheme::EcdsaP256).expect("a key");
    let trusted = key.public().digest();
    let mut scene = Scene::new(|options| options.trusted_keys = vec![trusted]).await;
    let plain = firmware("1.1.0", Behaviour::Healthy);
    let by_other = sign(&plain, &other).expect("signed");
    for (image, code) in [(plain.clone(), "[unsigned]"), (by_other, "[untrusted_key]")] {
        let (server, _) = serve(image, Serving::Well).await;
        scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
        let status = scene.status().await;
        assert!(status.starts_with("FAILED ") && status.ends_with(code), "{status}");
    }
    let (server, _) = serve(sign(&plain, &key).expect("signed"), Serving::Well).await;
    scene.trigger(&format!("{server}/p/releases/v1.1.0/firmware.bin")).await;
    let report = scene.report("1.1.0").await;
    assert!(!report.lacks.iter().any(|lack| lack == "signatures"), "{:?}", report.lacks);
    assert_eq!(scene.status().await, "SUCCESS");
}
