//! A person with a browser: logs in, clicks Check update, and watches it happen.
use e2e::browser::Browser;
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::server::{Promote, Server};
use e2e::wait::until;

#[tokio::test]
async fn a_click_shows_progress_and_the_new_version_without_a_reload() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.large("1.0.0");
    server.publish("esp32s3", "1.1.0", &workshop.large("1.1.0"), Promote::Production).await;
    let broker = server.register("office", "esp32s3").await;
    // As slow as a real one, so that progress can be seen.
    let slow = ["--pace", "visible"];
    let _device = VirtualDevice::with("office", "esp32s3", &broker, &old, "1.0.0", &slow);
    server.device_runs("office", "1.0.0").await;

    let browser = Browser::start().await;
    browser.sign_in(&server).await;
    browser.open(&server.url("/devices/office")).await;
    browser.shows("1.0.0").await;
    browser.mark().await;
    browser.control("Check update").await.click().await.unwrap();

    browser.shows("Update offered").await;
    browser.element("progress[value]").await;
    browser.shows(" %").await;
    browser.shows("Succeeded").await;
    browser.shows("1.1.0").await;
    until("the announcement gives way to the outcome", || async {
        (!browser.text().await.contains("Update offered")).then_some(())
    })
    .await;
    assert!(browser.is_same_page().await, "all this without a reload");
}

#[tokio::test]
async fn without_a_login_there_is_nothing_to_see() {
    let server = Server::start().await;
    server.register("office", "esp32s3").await;
    let browser = Browser::start().await;
    browser.open(&server.url("/devices/office")).await;
    browser.element("input[type=password]").await;
    assert!(!browser.text().await.contains("office"));
}
