//! Who has stolen something, and what they get with it. What is tried here stands as a table in docs/security.md, which this test
//! makes: a device runs nothing that it must not, and nothing is shown falsely for longer than until its next report.
mod site;
mod table;

use std::path::Path;

use e2e::command::Said;
use e2e::server::Promote;
use e2e::wait::until;

use self::site::{PRODUCT, Site, digest};
use self::table::{
    Attempt::{self, *},
    Delivery, Outcome, Signature,
    Thief::{self, *},
    expected, new_code,
};

/// What came of an attempt is what the table says; and afterwards the device runs and is shown as before.
async fn came_to(site: &mut Site, thief: Thief, attempt: Attempt, outcome: Outcome) {
    assert_eq!(outcome, expected(thief, attempt), "{thief:?}: {attempt:?}");
    site.runs_production().await;
}

async fn new_code_came_to(site: &mut Site, delivery: Delivery, signature: Signature, outcome: Outcome) {
    assert_eq!(outcome, new_code(delivery, signature), "{delivery:?}: {signature:?}");
    site.runs_production().await;
}

#[tokio::test]
async fn with_the_broker() {
    let mut site = Site::open().await;
    for (signature, image) in [
        (Signature::None, site.image("9.0.0", 9, PRODUCT, &[]).await),
        (Signature::OneKey, site.image("9.0.1", 9, PRODUCT, &["a"]).await),
    ] {
        let outcome = site.send("9.0.0", &image).await;
        new_code_came_to(&mut site, Delivery::Trigger, signature, outcome).await;
    }
    for (attempt, named, image) in [
        (OldSignedCode, "0.9.0", site.path("0.9.0")),
        (BlockedCode, "1.0.0", site.path("1.0.0")),
        (RelabelledCode, "1.1.0", site.path("1.0.9")),
        (OtherProduct, "2.2.0", site.image("2.2.0", 2, "door", &["a", "b"]).await),
    ] {
        let outcome = site.send(named, &image).await;
        came_to(&mut site, Broker, attempt, outcome).await;
    }
    let trigger = site.first_trigger().await;
    site.publish("ota", &trigger).await;
    came_to(&mut site, Broker, ReplayedTrigger, Outcome::NamesWhatRuns).await;
    let report = site.first_report().await;
    site.publish("version", &report).await;
    site.server
        .device_when(site::DEVICE, "shown as before", |device| device.version.as_deref() == Some("1.0.0"))
        .await;
    came_to(&mut site, Broker, ReplayedReport, Outcome::UntilNextReport).await;
    site.publish("version", r#"{"version":"1.1.0","state":"valid"}"#).await;
    assert_eq!(site.server.check(site::DEVICE).await.decision, "up_to_date");
}

/// The attacks by name: production's name on a blocked image, and a name higher than production's.
#[tokio::test]
async fn a_blocked_signed_image_under_productions_or_a_higher_name_is_not_installed() {
    let mut site = Site::open().await;
    for named in ["1.1.0", "9.9.8"] {
        for image in ["1.0.0", "1.0.9"] {
            let outcome = site.send(named, &site.path(image)).await;
            assert_eq!(outcome, Outcome::Device("wrong_version"), "{image} as {named}");
            site.runs_production().await;
        }
    }
}

#[tokio::test]
async fn with_the_bucket() {
    let mut site = Site::open().await;
    for (signature, image) in [
        (Signature::None, site.image("9.0.0", 9, PRODUCT, &[]).await),
        (Signature::OneKey, site.image("9.0.1", 9, PRODUCT, &["b"]).await),
    ] {
        let version = if signature == Signature::None { "9.0.0" } else { "9.0.1" };
        let outcome = site.put(version, &image).await;
        new_code_came_to(&mut site, Delivery::Release, signature, outcome).await;
    }
    for (attempt, version, image) in [
        (OldSignedCode, "0.9.0", site.path("0.9.0")),
        (BlockedCode, "2.0.0", site.path("1.0.0")),
        (RelabelledCode, "2.1.0", site.path("1.0.9")),
        (OtherProduct, "2.2.0", site.image("2.2.0", 2, "door", &["a", "b"]).await),
    ] {
        let outcome = site.put(version, &image).await;
        came_to(&mut site, Bucket, attempt, outcome).await;
    }
    // Who can write the bucket can unblock, too; the device knows better.
    std::fs::remove_file(site.store().join("rollback/blocked_versions.json")).expect("it was there");
    let image = site.path("1.0.0");
    let outcome = until("the block is forgotten", || async {
        Some(site.put("2.3.0", &image).await).filter(|outcome| *outcome != Outcome::Decision("blocked"))
    })
    .await;
    assert_eq!(outcome, Outcome::Decision("store_unavailable"));
    site.runs_production().await;
}

#[tokio::test]
async fn with_a_token_of_ci() {
    let mut site = Site::open().await;
    for (signature, image) in [
        (Signature::None, site.image("9.0.0", 9, PRODUCT, &[]).await),
        (Signature::OneKey, site.image("9.0.1", 9, PRODUCT, &["a"]).await),
    ] {
        let outcome = site.ci_publishes("9.0.0", &image).await;
        new_code_came_to(&mut site, Delivery::Publish, signature, outcome).await;
    }
    for (attempt, version, image) in [
        (OldSignedCode, "3.0.0", site.path("0.9.0")),
        (BlockedCode, "3.1.0", site.path("1.0.0")),
        (RelabelledCode, "3.2.0", site.path("1.0.9")),
        (OtherProduct, "3.3.0", site.image("3.3.0", 2, "door", &["a", "b"]).await),
    ] {
        let outcome = site.ci_publishes(version, &image).await;
        came_to(&mut site, CiToken, attempt, outcome).await;
    }
}

#[tokio::test]
async fn with_the_database() {
    let mut site = Site::open().await;
    for (attempt, version) in [(OldSignedCode, "0.9.0"), (BlockedCode, "1.0.0")] {
        let outcome =
            site.write_update(version, &format!("{PRODUCT}/releases/v{version}/firmware.bin")).await;
        came_to(&mut site, Database, attempt, outcome).await;
    }
    let door = site.image("2.2.0", 2, "door", &["a", "b"]).await;
    site.server.publish("door", "2.2.0", &door, Promote::No).await;
    let outcome = site.write_update("2.2.0", "door/releases/v2.2.0/firmware.bin").await;
    came_to(&mut site, Database, OtherProduct, outcome).await;
    let outcome = site.write_update("2.0.0", &format!("{PRODUCT}/releases/v1.0.9/firmware.bin")).await;
    assert_eq!(outcome, expected(Database, RelabelledCode));
    assert_eq!(site.server.device(site::DEVICE).await.identity.to_string(), "release");
    site.server.offer_soon(site::DEVICE, "1.1.0").await;
    site.server.update_is(site::DEVICE, api::UpdateState::Succeeded).await;
    site.runs_production().await;
    site.sql("UPDATE devices SET version = '9.9.9', sha256 = NULL").await;
    assert_eq!(site.server.device(site::DEVICE).await.version.as_deref(), Some("9.9.9"));
    came_to(&mut site, Database, ReplayedReport, Outcome::UntilNextReport).await;
}

/// A device's password is good for that device alone.
#[tokio::test]
async fn with_a_devices_password() {
    let server = e2e::server::Server::start().await;
    let (thief, _other) = (server.register("d1", PRODUCT).await, server.register("d2", PRODUCT).await);
    for topic in ["devices/d2/version", "devices/d2/ota/status", "devices/d2/ota", "devices/d1/ota"] {
        thief.publish(topic, "9.9.9", &[]).await;
    }
    let said = thief.publish("devices/d1/version", "1.2.3", &[]).await;
    Said::ok(said);
    server
        .device_when("d1", "what it says of itself", |device| device.version.as_deref() == Some("1.2.3"))
        .await;
    assert_eq!(server.device("d2").await.version, None);
}

#[test]
fn the_table_in_the_documentation_is_what_was_tried() {
    let (page, table) = (e2e::workspace().join("docs/security.md"), table::table());
    let text = std::fs::read_to_string(&page).expect("the page is there");
    let (begin, end) = ("<!-- theft: begin -->\n", "<!-- theft: end -->");
    let (before, rest) = text.split_once(begin).expect("the table has its place");
    let (now, after) = rest.split_once(end).expect("the table has its end");
    if now != table && std::env::var_os("UPDRAFT_WRITE_TABLES").is_some() {
        std::fs::write(&page, format!("{before}{begin}{table}{end}{after}")).expect("written");
        return;
    }
    assert_eq!(now, table, "run this test with UPDRAFT_WRITE_TABLES=1 to write it");
    assert!(digest(Path::new("/dev/null")).starts_with("e3b0c442"));
}
