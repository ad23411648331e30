//! What runs is what its bytes say: no label makes anything else of them.

use api::{DeviceQuery, Identity};
use contract::{ProductName, TopicKind};
use fleet::UpdateState;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::rig::{Actor, BY, Rig, id, image_of, put, until};

/// The digest of what [`put`] writes as a version of a product.
fn digest(product: &str, version: &str) -> String {
    hex::encode(Sha256::digest(image_of(product, version, None)))
}

fn report(version: &str, sha256: &str) -> String {
    json!({ "version": version, "sha256": sha256, "state": "valid" }).to_string()
}

/// With 1.0.0, 1.1.0 in production, and a device that says that it runs a version, by the bytes of another.
async fn running(version: &str, of: &str) -> (Rig, Actor) {
    let rig = Rig::start().await;
    rig.release("p", "1.0.0", json!({}));
    rig.deploy("p", "1.1.0", json!({}));
    let device = rig.device("d1", "p").await;
    rig.services().releases.mirror().refresh_all().await.expect("read");
    device.say(TopicKind::Version, &report(version, &digest("p", of))).await;
    rig.until_version("d1", version).await;
    (rig, device)
}

impl Rig {
    async fn identity(&self, device: &str) -> String {
        let device = self.show(device).await;
        let is = device.image.map(|image| format!(" {} {}", image.product, image.version));
        format!("{}{}", device.identity, is.unwrap_or_default())
    }

    async fn with_identity(&self, identity: &str) -> Vec<String> {
        let query = DeviceQuery { identity: Some(identity.to_owned()), ..DeviceQuery::default() };
        let page = self.services().devices.list(&query).await.expect("listed");
        page.items.iter().map(|device| device.id.to_string()).collect()
    }

    /// Figures may be a moment old.
    async fn until_counted(&self, identity: Identity, devices: u64) {
        until("they are counted", || async {
            let counts = self.services().devices.counts(None).await.expect("counted");
            counts.identities.get(&identity).copied().unwrap_or_default() == devices
        })
        .await;
    }

    fn product(name: &str) -> ProductName {
        name.parse().expect("a product")
    }
}

#[tokio::test]
async fn a_blocked_image_that_calls_itself_production_is_seen_and_offered_production() {
    for claimed in ["1.1.0", "9.9.8"] {
        let (rig, device) = running(claimed, "1.0.0").await;
        let releases = &rig.services().releases;
        releases
            .block(&BY, &Rig::product("p"), &"1.0.0".parse().expect("a version"), "it hangs")
            .await
            .expect("blocked");
        assert_eq!(rig.identity("d1").await, "mislabelled p 1.0.0");
        assert_eq!(rig.with_identity("mislabelled").await, ["d1"]);
        rig.until_counted(Identity::Mislabelled, 1).await;
        assert!(rig.with_identity("release").await.is_empty());
        assert_eq!(rig.decision("d1").await, "offered", "{claimed}");
        device.until_triggers(1).await;
        // It installs what it has already, by another name.
        device.say(TopicKind::Progress, r#"{"phase":"restart"}"#).await;
        rig.until_state("d1", UpdateState::Restarting).await;
        device.say(TopicKind::Version, &report("1.1.0", &digest("p", "1.0.0"))).await;
        let ended = || async {
            let update = rig.show("d1").await.update.expect("made");
            !update.state.is_in_flight() && update.state != UpdateState::Succeeded
        };
        until("the update has ended, and not well", ended).await;
        assert_eq!(rig.decision("d1").await, "offered");
        device.until_triggers(2).await;
        device.say(TopicKind::Version, &report("1.1.0", &digest("p", "1.1.0"))).await;
        rig.until_state("d1", UpdateState::Succeeded).await;
        assert_eq!(rig.identity("d1").await, "release p 1.1.0");
        assert_eq!(rig.decision("d1").await, "up_to_date");
        rig.until_counted(Identity::Mislabelled, 0).await;
    }
}

#[tokio::test]
async fn bytes_of_no_release_are_foreign_whatever_they_call_themselves() {
    let (rig, device) = running("1.1.0", "7.7.7").await;
    until("all images were read", || async { rig.identity("d1").await == "foreign" }).await;
    assert_eq!(rig.with_identity("foreign").await, ["d1"]);
    rig.until_counted(Identity::Foreign, 1).await;
    assert_eq!(rig.decision("d1").await, "offered");
    let update = rig.show("d1").await.update.expect("made");
    rig.services().updates.cancel(&BY, update.id).await.expect("cancelled");
    device.say(TopicKind::Version, &report("9.9.9", &digest("p", "7.7.7"))).await;
    rig.until_version("d1", "9.9.9").await;
    assert_eq!(rig.decision("d1").await, "offered");
}

#[tokio::test]
async fn a_device_that_says_no_digest_or_zeros_is_as_it_says() {
    let (rig, device) = running("1.0.0", "1.0.0").await;
    assert_eq!(rig.identity("d1").await, "release p 1.0.0");
    for payload in ["1.1.0".to_owned(), report("1.1.0", &"0".repeat(64))] {
        device.say(TopicKind::Version, "1.0.0").await;
        rig.until_version("d1", "1.0.0").await;
        device.say(TopicKind::Version, &payload).await;
        rig.until_version("d1", "1.1.0").await;
        assert_eq!(rig.identity("d1").await, "unknown");
        assert_eq!(rig.with_identity("unknown").await, ["d1"]);
        assert_eq!(rig.decision("d1").await, "up_to_date");
    }
}

#[tokio::test]
async fn blocked_bytes_are_offered_under_no_name_and_in_no_product() {
    let rig = Rig::start().await;
    rig.release("p", "1.0.0", json!({}));
    // The bytes of p's 1.0.0, as another program may put them there.
    for (product, version) in [("p", "2.0.0"), ("q", "3.0.0")] {
        let image = image_of("p", "1.0.0", None);
        let more = json!({ "size": image.len(), "sha256": digest("p", "1.0.0") });
        rig.deploy(product, version, more);
        for place in [format!("releases/v{version}"), "production".to_owned()] {
            let path = rig.folder.path().join(format!("store/{product}/{place}/firmware.bin"));
            std::fs::write(path, &image).expect("written");
        }
    }
    let (services, block) = (rig.services(), "1.0.0".parse().expect("a version"));
    let mut devices = Vec::new();
    for (name, product) in [("d1", "p"), ("d2", "q")] {
        let device = rig.device(name, product).await;
        device.say(TopicKind::Version, "0.9.0").await;
        rig.until_version(name, "0.9.0").await;
        devices.push(device);
    }
    services.releases.mirror().refresh_all().await.expect("read");
    assert_eq!(rig.decision("d1").await, "offered");
    services.releases.block(&BY, &Rig::product("p"), &block, "it hangs").await.expect("blocked");
    // It is withdrawn from whom it was offered by another name.
    rig.until_state("d1", UpdateState::Cancelled).await;
    for (device, version) in [("d1", "2.0.0"), ("d2", "3.0.0")] {
        let answer = services.updates.check(&BY, &id(device), false).await.expect("decided");
        assert_eq!(answer.decision, "blocked", "{answer:?}");
        assert_eq!(answer.reason, format!("{version} has the bytes of p 1.0.0, which is blocked: it hangs"));
    }
    services.releases.unblock(&BY, &Rig::product("p"), &block).await.expect("unblocked");
    assert_eq!(rig.decision("d2").await, "offered");
}

#[tokio::test]
async fn what_lies_only_in_a_channel_is_a_release_too() {
    let rig = Rig::start().await;
    put(&rig.folder.path().join("store/p/production"), "1.1.0", "p", json!({ "sha256": null }));
    let device = rig.device("d1", "p").await;
    rig.services().releases.mirror().refresh_all().await.expect("read");
    device.say(TopicKind::Version, &report("1.1.0", &digest("p", "1.1.0"))).await;
    rig.until_version("d1", "1.1.0").await;
    // Nobody said its digest: it is read.
    until("the image was read", || async { rig.identity("d1").await == "release p 1.1.0" }).await;
    assert_eq!(rig.decision("d1").await, "up_to_date");
}
