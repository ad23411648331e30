//! What a check offers, and what is sent for it.

use std::collections::HashSet;

use contract::TopicKind;
use fleet::{Action, UpdateState};
use serde_json::json;

use super::ready;
use super::rig::{self, BY, Rig, id};
use crate::clock::now_ms;
use crate::db::update;
use crate::error::Error;
use crate::tick::Tick;
use crate::updates::Done;

#[tokio::test]
async fn a_check_offers_once_and_a_plain_success_completes_it() {
    let (rig, device) = ready().await;
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "offered", "{}", answer.reason);
    device.until_triggers(1).await;
    let url = &device.triggers()[0];
    assert!(url.starts_with(rig.running.public_url().as_str()), "{url}");
    assert!(url.contains("p/releases/v1.1.0/firmware.bin?"), "{url}");
    assert_eq!(rig.decision("d1").await, "in_progress");
    // Of an earlier update: nothing was fetched for this one.
    device.say(TopicKind::Status, "SUCCESS").await;
    device.say(TopicKind::Version, "1.0.1").await;
    rig.until_version("d1", "1.0.1").await;
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
    device.say(TopicKind::Version, "1.0.0").await;
    assert!(reqwest::get(url).await.expect("answers").status().is_success());
    device.say(TopicKind::Status, "SUCCESS").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert_eq!(rig.decision("d1").await, "up_to_date");
    let history = rig.services().updates.of_device(&id("d1"), None, 10).await.expect("listed");
    assert_eq!((history.items.len(), history.next), (1, None));
    assert_eq!(device.triggers().len(), 1);
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn each_reason_not_to_offer_is_answered() {
    let rig = Rig::start().await;
    let device = rig.device("d1", "p").await;
    assert_eq!(rig.decision("d1").await, "unknown_version");
    let report = r#"{"version":"1.0.0","chip":"esp32s3","slot_bytes":4096,"state":"valid"}"#;
    device.say(TopicKind::Version, report).await;
    rig.until_version("d1", "1.0.0").await;
    assert_eq!(rig.decision("d1").await, "no_release");
    rig.deploy("p", "1.0.0", json!({}));
    assert_eq!(rig.decision("d1").await, "up_to_date");
    rig.deploy("p", "0.9.0", json!({}));
    assert_eq!(rig.decision("d1").await, "newer_than_channel");
    rig.deploy("p", "1.1.0", json!({"chip": "esp32c3"}));
    assert_eq!(rig.decision("d1").await, "wrong_chip");
    rig.deploy("p", "1.2.0", json!({}));
    rig.block("p", r#"{"blocked_versions":["1.2.0"],"reason":{"1.2.0":"Boot loop after OTA"}}"#);
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!((answer.decision.as_str(), answer.version.expect("a version").as_str()), ("blocked", "1.2.0"));
    assert!(answer.reason.contains("Boot loop after OTA"), "{}", answer.reason);
    rig.block("p", "not JSON");
    assert_eq!(rig.decision("d1").await, "blocked");
    rig.block("p", r#"{"blocked_versions":[],"reason":{}}"#);
    drop(device);
    rig::until("it is offline", || async { !rig.show("d1").await.online }).await;
    assert_eq!(rig.decision("d1").await, "offline");
    assert!(rig.show("d1").await.update.is_none());
    let forced = rig.services().updates.check(&BY, &id("d1"), true).await.expect("decides");
    assert_eq!(forced.decision, "offered");
    let store = rig.folder.path().join("store");
    rig.services().updates.cancel(&BY, forced.update.expect("made").id).await.expect("cancels");
    std::fs::remove_dir_all(store).expect("removed");
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "store_unavailable", "{answer:?}");
}

#[tokio::test]
async fn two_checks_at_once_make_one_update() {
    let (rig, device) = ready().await;
    let (left, right) = (id("d1"), id("d1"));
    let (left, right) = tokio::join!(
        rig.services().updates.check(&BY, &left, false),
        rig.services().updates.check(&BY, &right, false)
    );
    let mut decisions = [left.expect("decides").decision, right.expect("decides").decision];
    decisions.sort();
    assert_eq!(decisions, ["in_progress", "offered"]);
    device.until_triggers(1).await;
    assert_eq!(rig.services().updates.of_device(&id("d1"), None, 10).await.expect("listed").items.len(), 1);
}

#[tokio::test]
async fn fifty_checks_at_once_make_one_update() {
    let (rig, device) = ready().await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let app = rig.services().clone();
        asked.spawn(async move { app.updates.check(&BY, &id("d1"), false).await.expect("decides") });
    }
    let answers = asked.join_all().await;
    let count = |word| answers.iter().filter(|answer| answer.decision == word).count();
    assert_eq!((count("offered"), count("in_progress")), (1, 49));
    device.until_triggers(1).await;
    let made: HashSet<_> = answers.iter().map(|answer| answer.update.as_ref().expect("named").id).collect();
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn killed_between_insert_and_trigger_the_next_start_sends_it_once() {
    let (rig, device) = ready().await;
    let first =
        rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides").update.expect("made").id;
    device.until_triggers(1).await;
    // As if the process had died after the insert.
    rig.change_update(first, |row| row.triggered_at = None).await;
    let password = device.password.clone();
    drop(device);
    let rig = rig.restart().await;
    // Nothing is sent while nobody is there, and nobody is found silent at once.
    rig.sweep().await;
    Tick::new(rig.services()).tick(now_ms(), true).await.expect("ticks");
    assert!(rig.waits("d1").await);
    let device = rig.connect("d1", &password).await;
    device.until_triggers(1).await;
    rig.until_sent("d1").await;
    rig.sweep().await;
    device.say(TopicKind::Status, "SUCCESS").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert_eq!(device.triggers().len(), 1);
    assert_eq!(rig.services().updates.of_device(&id("d1"), None, 10).await.expect("listed").items.len(), 1);
}

#[tokio::test]
async fn a_url_that_expired_is_signed_again_but_not_once_it_is_blocked() {
    let (rig, device) = ready().await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    device.say(TopicKind::Request, "url_expired").await;
    device.until_triggers(2).await;
    rig.block("p", r#"{"blocked_versions":["1.1.0"],"reason":{}}"#);
    device.say(TopicKind::Request, "url_expired").await;
    rig::until("the request was answered", || async {
        let newest = rig.show("d1").await.update.expect("made");
        let row = update::by_id(&rig.running.db, newest.id).await.expect("read").expect("there");
        row.triggered_at.is_some() && row.url_requests == 2
    })
    .await;
    assert_eq!(device.triggers().len(), 2);
}

#[tokio::test]
async fn a_fresh_url_asked_for_while_the_last_is_being_sent_is_still_sent() {
    let (rig, device) = ready().await;
    let made =
        rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides").update.expect("made").id;
    device.until_triggers(1).await;
    device.say(TopicKind::Request, "url_expired").await;
    device.until_triggers(2).await;
    // As if the device had asked again between the sending and the note that it was sent.
    rig.change_update(made, |row| {
        row.triggered_at = None;
        row.url_requests = 2;
    })
    .await;
    let row = update::by_id(&rig.running.db, made).await.expect("read").expect("there");
    let reach = rig.services().devices.presence().reach(&id("d1"), true, false);
    let then = Done {
        update: update::UpdateRow { url_requests: 1, ..row },
        what: Action::Send { update: made },
        sent_to: reach.expect("it listens"),
        refused: None,
    };
    let updates = &rig.services().updates;
    updates.note_done(&[then]).await.expect("noted");
    rig.sweep().await;
    device.until_triggers(3).await;
}

#[tokio::test]
async fn short_urls_name_the_object_until_they_expire_or_are_touched() {
    let rig = Rig::with("[store]\nshort_urls = true").await;
    rig.deploy("p", "1.1.0", json!({}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    let url = device.triggers().remove(0);
    assert!(url.len() < 128, "{url}");
    let token = url.rsplit('/').next().expect("a token");
    let key = rig.services().updates.resolve_short(token).await.expect("resolves").key;
    assert_eq!(key, "p/releases/v1.1.0/firmware.bin");
    for touched in [&token[1..], &format!("{token}A"), &token.to_ascii_lowercase(), "", "%%%"] {
        let refused = rig.services().updates.resolve_short(touched).await;
        assert!(matches!(refused, Err(Error::Forbidden(_))), "{touched}: {refused:?}");
    }
    let update = rig.show("d1").await.update.expect("made").id;
    rig.services().updates.cancel(&BY, update).await.expect("cancels");
    assert!(matches!(rig.services().updates.resolve_short(token).await, Err(Error::Forbidden(_))));
    assert!(matches!(rig.services().updates.cancel(&BY, update).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn an_image_that_failed_twice_is_quarantined_until_that_is_cleared() {
    let (rig, device) = ready().await;
    for _ in 0..2 {
        assert_eq!(rig.decision("d1").await, "offered");
        device.say(TopicKind::Progress, r#"{"phase":"restart"}"#).await;
        device.say(TopicKind::Status, "FAILED rolled back: it crashed").await;
        rig.until_state("d1", UpdateState::RolledBack).await;
    }
    assert_eq!(rig.decision("d1").await, "quarantined");
    rig.services().updates.clear_quarantine(&BY, &id("d1")).await.expect("cleared");
    assert_eq!(rig.decision("d1").await, "offered");
}

#[tokio::test]
async fn an_image_that_was_refused_three_times_for_a_reason_that_lasts_is_kept_back_until_that_is_cleared() {
    let (rig, device) = ready().await;
    for code in
        ["wrong_project", "connection_lost", "too_large", "wrong_project", "connection_lost", "wrong_project"]
    {
        assert_eq!(rig.decision("d1").await, "offered");
        device.say(TopicKind::Status, &format!("FAILED no [{code}]")).await;
        rig.until_state("d1", UpdateState::Failed).await;
    }
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "held");
    assert!(answer.reason.contains("wrong_project"), "{}", answer.reason);
    rig.deploy("p", "1.2.0", json!({}));
    assert_eq!(rig.decision("d1").await, "offered", "another image");
    device.say(TopicKind::Status, "FAILED no [wrong_project]").await;
    rig.until_state("d1", UpdateState::Failed).await;
    rig.deploy("p", "1.1.0", json!({}));
    assert_eq!(rig.decision("d1").await, "held");
    rig.services().updates.clear_quarantine(&BY, &id("d1")).await.expect("cleared");
    assert_eq!(rig.decision("d1").await, "offered");
}

#[tokio::test]
async fn an_image_that_failed_twice_is_quarantined_also_where_a_hand_filled_bucket_has_no_digest() {
    let rig = Rig::start().await;
    rig.deploy("p", "1.1.0", json!({"sha256": null}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    for _ in 0..2 {
        assert_eq!(rig.decision("d1").await, "offered");
        device.say(TopicKind::Status, "FAILED checksum mismatch").await;
        rig.until_state("d1", UpdateState::Failed).await;
    }
    assert_eq!(rig.decision("d1").await, "quarantined");
}

#[tokio::test]
async fn a_step_on_the_way_is_offered_whatever_else_lies_in_the_bucket() {
    let rig = Rig::start().await;
    rig.release("p", "0.5.0", json!({"requires": "nonsense"}));
    rig.release("p", "1.5.0", json!({}));
    rig.release("p", "1.6.0", json!({"requires": "1.5.0"}));
    rig.deploy("p", "2.0.0", json!({"requires": "1.5.0"}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!((answer.decision.as_str(), answer.version.expect("a step").as_str()), ("offered", "1.5.0"));
}
