//! A real image is published, a device takes it, and every place that speaks of it says so.
use api::UpdateState;
use e2e::browser::Browser;
use e2e::device::VirtualDevice;
use e2e::flash;
use e2e::images::pair;
use e2e::server::{Promote, Server};
use sha2::{Digest, Sha256};

async fn a_real_image_is_taken(name: &str, from: &str, to: &str) {
    let pair = pair(name);
    let server = Server::start().await;
    server.publish(pair.chip, from, &pair.old, Promote::Production).await;
    let broker = server.register("kitchen", pair.chip).await;
    let device = VirtualDevice::start("kitchen", pair.chip, &broker, &pair.old, from);
    server.device_runs("kitchen", from).await;
    assert_eq!(server.check("kitchen").await.decision, "up_to_date");

    server.publish(pair.chip, to, &pair.new, Promote::Production).await;
    let answer = server.offer("kitchen", to).await;
    let update = server.update_is("kitchen", UpdateState::Succeeded).await;

    let image = std::fs::read(&pair.new).unwrap();
    assert_eq!(flash::slot_with(&device.flash(), &image), Some(1), "the slot holds the file, byte for byte");
    let shown = server.device_runs("kitchen", to).await;
    assert_eq!(shown.sha256, Some(contract::Sha256(Sha256::digest(&image).into())));
    assert_eq!(Some(update.id), answer.update.map(|update| update.id));
    assert_eq!((update.from.unwrap(), update.to.to_string()), (from.to_owned(), to.to_owned()));
    assert_eq!(update.bytes, image.len() as u64);
    let history = server.history("kitchen").await;
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!(history[0].state, UpdateState::Succeeded);
    assert_eq!(server.check("kitchen").await.decision, "up_to_date");

    let browser = Browser::start().await;
    browser.sign_in(&server).await;
    browser.open(&server.url("/devices/kitchen")).await;
    browser.shows(to).await;
    browser.shows(from).await;
}

#[tokio::test]
async fn an_esp32c3_takes_its_next_patch() {
    a_real_image_is_taken("c3-patch", "0.14.3", "0.14.4").await;
}

#[tokio::test]
async fn an_esp32s3_takes_its_next_patch() {
    a_real_image_is_taken("s3-patch", "0.14.1", "0.14.2").await;
}

#[tokio::test]
async fn an_esp32_takes_its_next_minor_release() {
    a_real_image_is_taken("esp32-minor", "0.14.4", "0.15.0").await;
}
