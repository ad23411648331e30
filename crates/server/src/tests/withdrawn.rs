//! What is blocked after it was offered.

use contract::TopicKind;
use fleet::UpdateState;
use reqwest::StatusCode;

use super::ready;
use super::rig::{BY, id};

#[tokio::test]
async fn an_update_that_was_offered_ends_when_its_version_is_blocked_and_its_url_is_closed() {
    let (rig, device) = ready().await;
    let (product, version) = ("p".parse().expect("a product"), "1.1.0".parse().expect("a version"));
    let releases = &rig.services().releases;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    let url = device.triggers().remove(0);
    let status = async || reqwest::get(&url).await.expect("answers").status();
    assert_eq!(status().await, StatusCode::OK);
    releases.block(&BY, &product, &version, "it hangs").await.expect("blocked");
    rig.until_state("d1", UpdateState::Cancelled).await;
    let update = rig.show("d1").await.update.expect("made");
    assert_eq!(update.cause.expect("a cause").code, "blocked_meanwhile");
    assert!(update.reason.expect("a reason").contains("it hangs"));
    assert_eq!(status().await, StatusCode::FORBIDDEN);
    let said = reqwest::get(&url).await.expect("answers").text().await.expect("text");
    assert!(said.contains("cancelled") && said.contains("it hangs"), "{said}");
    releases.unblock(&BY, &product, &version).await.expect("unblocked");
    rig.services().updates.withdraw_blocked().await.expect("looked at");
    assert_eq!(status().await, StatusCode::FORBIDDEN, "a URL does not outlive its update");
    // It had the image already, and what it reports is the truth.
    device.say(TopicKind::Version, "1.1.0").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
}

#[tokio::test]
async fn a_device_that_is_at_work_on_a_blocked_version_is_not_cut_off_in_the_history() {
    let (rig, device) = ready().await;
    let (product, version) = ("p".parse().expect("a product"), "1.1.0".parse().expect("a version"));
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    device.say(TopicKind::Progress, r#"{"phase":"download"}"#).await;
    rig.until_state("d1", UpdateState::Downloading).await;
    rig.services().releases.block(&BY, &product, &version, "it hangs").await.expect("blocked");
    rig.services().updates.withdraw_blocked().await.expect("withdrawn");
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Downloading);
    assert_eq!(
        reqwest::get(device.triggers().remove(0)).await.expect("answers").status(),
        StatusCode::FORBIDDEN
    );
    device.say(TopicKind::Status, "FAILED the server answered 403 [url_expired]").await;
    rig.until_state("d1", UpdateState::Failed).await;
    let history = rig.services().updates.of_device(&id("d1"), None, 10).await.expect("listed");
    assert_eq!(history.items.len(), 1);
}
