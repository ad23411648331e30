//! The App end to end: real database, real store folder, real embedded broker.

mod decided;
mod external;
mod held;
mod rig;
mod said;

use std::time::Duration;

use contract::TopicKind;
use fleet::UpdateState;
use object_store::ObjectStore;
use serde_json::json;

use super::*;
use crate::config::Admit;
use crate::db::update;
use crate::model::{DeviceQuery, Event};
use crate::mqtt::{Handler, Message};
use crate::run::{StartOptions, start};
use crate::tick::Clock;
use rig::{Rig, config, id};

fn message(device: &str, kind: TopicKind, payload: &str) -> Message {
    Message { kind, device: id(device), payload: payload.to_owned().into(), retained: false }
}

/// A device of product `p` that runs 1.0.0 and is connected, with 1.1.0 in production.
async fn ready() -> (Rig, rig::Actor) {
    let rig = Rig::start().await;
    rig.release("p", "1.0.0", json!({}));
    rig.deploy("p", "1.1.0", json!({}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    (rig, device)
}

#[tokio::test]
async fn a_check_offers_once_and_a_plain_success_completes_it() {
    let (rig, device) = ready().await;
    let answer = rig.app().check_update(&id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "offered", "{}", answer.reason);
    device.until_triggers(1).await;
    let url = &device.triggers()[0];
    assert!(url.starts_with(rig.app().public_url().as_str()), "{url}");
    assert!(url.contains("p/releases/v1.1.0/firmware.bin?"), "{url}");
    assert_eq!(rig.decision("d1").await, "in_progress");
    device.say(TopicKind::Status, "SUCCESS").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert_eq!(rig.decision("d1").await, "up_to_date");
    let history = rig.app().updates(&id("d1"), None, 10).await.expect("listed");
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
    let answer = rig.app().check_update(&id("d1"), false).await.expect("decides");
    assert_eq!((answer.decision.as_str(), answer.version.expect("a version").as_str()), ("blocked", "1.2.0"));
    assert!(answer.reason.contains("Boot loop after OTA"), "{}", answer.reason);
    rig.block("p", "not JSON");
    assert_eq!(rig.decision("d1").await, "blocked");
    rig.block("p", r#"{"blocked_versions":[],"reason":{}}"#);
    drop(device);
    rig::until("it is offline", || async { !rig.show("d1").await.online }).await;
    assert_eq!(rig.decision("d1").await, "offline");
    assert!(rig.show("d1").await.update.is_none());
    let forced = rig.app().check_update(&id("d1"), true).await.expect("decides");
    assert_eq!(forced.decision, "offered");
    let store = rig.folder.path().join("store");
    rig.app().cancel_update(forced.update.expect("made").id).await.expect("cancels");
    std::fs::remove_dir_all(store).expect("removed");
    let answer = rig.app().check_update(&id("d1"), false).await.expect("decides");
    assert_eq!(answer.decision, "store_unavailable", "{answer:?}");
}

#[tokio::test]
async fn two_checks_at_once_make_one_update() {
    let (rig, device) = ready().await;
    let (left, right) = (id("d1"), id("d1"));
    let (left, right) =
        tokio::join!(rig.app().check_update(&left, false), rig.app().check_update(&right, false));
    let mut decisions = [left.expect("decides").decision, right.expect("decides").decision];
    decisions.sort();
    assert_eq!(decisions, ["in_progress", "offered"]);
    device.until_triggers(1).await;
    assert_eq!(rig.app().updates(&id("d1"), None, 10).await.expect("listed").items.len(), 1);
}

#[tokio::test]
async fn killed_between_insert_and_trigger_the_next_start_sends_it_once() {
    let (rig, device) = ready().await;
    let first = rig.app().check_update(&id("d1"), false).await.expect("decides").update.expect("made").id;
    device.until_triggers(1).await;
    // As if the process had died after the insert.
    let write = rig.app().db().write().await.expect("writes");
    let mut row = update::by_id(&write, first).await.expect("read").expect("there");
    row.triggered_at = None;
    write.save_update(&row).await.expect("saved");
    write.commit().await.expect("committed");
    let password = device.password.clone();
    drop(device);
    let rig = rig.restart().await;
    // Nothing is sent while nobody is there, and nobody is found silent at once.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(update::untriggered(rig.app().db(), 0, 10).await.expect("read").len(), 1);
    let device = rig.connect("d1", &password).await;
    device.until_triggers(1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(device.triggers().len(), 1);
    device.say(TopicKind::Status, "SUCCESS").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert_eq!(rig.app().updates(&id("d1"), None, 10).await.expect("listed").items.len(), 1);
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
        let updates = update::untriggered(rig.app().db(), 0, 10).await.expect("read");
        let newest = rig.show("d1").await.update.expect("made");
        let row = update::by_id(rig.app().db(), newest.id).await.expect("read").expect("there");
        updates.is_empty() && row.url_requests == 2
    })
    .await;
    assert_eq!(device.triggers().len(), 2);
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
    let key = rig.app().resolve_short(token).await.expect("resolves");
    assert_eq!(key, "p/releases/v1.1.0/firmware.bin");
    for touched in [&token[1..], &format!("{token}A"), &token.to_ascii_lowercase(), "", "%%%"] {
        let refused = rig.app().resolve_short(touched).await;
        assert!(matches!(refused, Err(AppError::Forbidden(_))), "{touched}: {refused:?}");
    }
    let update = rig.show("d1").await.update.expect("made").id;
    rig.app().cancel_update(update).await.expect("cancels");
    assert!(matches!(rig.app().resolve_short(token).await, Err(AppError::Forbidden(_))));
    assert!(matches!(rig.app().cancel_update(update).await, Err(AppError::Refused(_))));
}

#[tokio::test]
async fn silence_times_out_and_the_clock_stands_still_while_the_server_is_down() {
    let (rig, _device) = ready().await;
    assert_eq!(rig.decision("d1").await, "offered");
    let made = rig.show("d1").await.update.expect("made");
    let app = rig.app();
    let begun = update::by_id(app.db(), made.id).await.expect("read").expect("there").heard_at;
    let mut clock = Clock::default();
    clock.tick(app, begun + 1_000, true).await.expect("ticks");
    // The link is down for an hour: nobody is late for it.
    for minute in 1..60 {
        clock.tick(app, begun + minute * 60_000, false).await.expect("ticks");
    }
    clock.tick(app, begun + 3_601_000, true).await.expect("ticks");
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
    // The process dies, and another starts an hour later: the heartbeat is in the database.
    let mut next = Clock::default();
    next.tick(app, begun + 7_201_000, true).await.expect("ticks");
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
    let mut at = begun + 7_201_000;
    while at < begun + 7_201_000 + 880_000 {
        at += 10_000;
        next.tick(app, at, true).await.expect("ticks");
    }
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
    for _ in 0..3 {
        at += 10_000;
        next.tick(app, at, true).await.expect("ticks");
    }
    let update = rig.show("d1").await.update.expect("made");
    assert_eq!(update.state, UpdateState::TimedOut);
    assert!(update.reason.expect("a reason").contains("nothing was heard"));
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
    rig.app().clear_quarantine(&id("d1")).await.expect("cleared");
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
    let answer = rig.app().check_update(&id("d1"), false).await.expect("decides");
    assert_eq!((answer.decision.as_str(), answer.version.expect("a step").as_str()), ("offered", "1.5.0"));
}

#[tokio::test]
async fn fifty_checks_at_once_make_one_update() {
    let (rig, device) = ready().await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let app = rig.app().clone();
        asked.spawn(async move { app.check_update(&id("d1"), false).await.expect("decides") });
    }
    let answers = asked.join_all().await;
    let count = |word| answers.iter().filter(|answer| answer.decision == word).count();
    assert_eq!((count("offered"), count("in_progress")), (1, 49));
    device.until_triggers(1).await;
    let made: HashSet<_> = answers.iter().map(|answer| answer.update.as_ref().expect("named").id).collect();
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn a_fresh_url_asked_for_while_the_last_is_being_sent_is_still_sent() {
    let (rig, device) = ready().await;
    let made = rig.app().check_update(&id("d1"), false).await.expect("decides").update.expect("made").id;
    device.until_triggers(1).await;
    device.say(TopicKind::Request, "url_expired").await;
    device.until_triggers(2).await;
    let write = rig.app().db().write().await.expect("writes");
    let mut row = update::by_id(&write, made).await.expect("read").expect("there");
    // As if the device had asked again between the sending and the note that it was sent.
    row.triggered_at = None;
    row.url_requests = 2;
    write.save_update(&row).await.expect("saved");
    write.set_triggered(made, 1, row.heard_at).await.expect("noted");
    write.commit().await.expect("committed");
    device.until_triggers(3).await;
}

#[tokio::test]
async fn what_was_offered_while_the_clock_stood_still_is_not_late() {
    let (rig, _device) = ready().await;
    let app = rig.app();
    let mut clock = Clock::default();
    let begun = now_ms() - 7_200_000;
    clock.tick(app, begun, true).await.expect("ticks");
    // The link goes down for two hours, and in the middle of it something is offered by force.
    let made = app.check_update(&id("d1"), true).await.expect("decides").update.expect("made").id;
    let write = app.db().write().await.expect("writes");
    let mut row = update::by_id(&write, made).await.expect("read").expect("there");
    row.heard_at = begun + 3_600_000;
    write.save_update(&row).await.expect("saved");
    write.commit().await.expect("committed");
    clock.tick(app, begun + 7_200_000, true).await.expect("ticks");
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
}

#[tokio::test]
async fn a_removed_device_is_gone_and_leaves_nothing_behind() {
    let (rig, device) = ready().await;
    device.leave(TopicKind::Version, "1.0.0").await;
    device.leave(TopicKind::Presence, "online").await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    rig.app().remove_device(&id("d1")).await.expect("removed");
    assert!(matches!(rig.app().device(&id("d1")).await, Err(AppError::NotFound(_))));
    rig::until("it is disconnected", || async { device.task_ended() }).await;
    assert!(matches!(rig.app().remove_device(&id("d1")).await, Err(AppError::NotFound(_))));
    let again = rig.device("d1", "p").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(rig.show("d1").await.version.is_none(), "what it left would have come back");
    drop(again);
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let (rig, _device) = ready().await;
    for number in 0..5 {
        let name = format!("x{number}");
        rig.app().register_device(&id(&name), Some(&"p".parse().expect("a name"))).await.expect("registers");
    }
    let tags = ["lab".to_owned(), " lab ".to_owned()];
    let tagged = rig.app().change_device(&id("x3"), None, Some(&tags)).await.expect("changes");
    assert_eq!(tagged.tags, ["lab"]);
    let app = rig.app();
    let names = async |query: DeviceQuery| {
        let page = app.devices(&query).await.expect("listed");
        let names: Vec<String> = page.items.iter().map(|device| device.id.to_string()).collect();
        (names.join(" "), page.next)
    };
    let query = DeviceQuery::default;
    let page = DeviceQuery { limit: Some(4), ..query() };
    assert_eq!(names(page).await, ("d1 x0 x1 x2".to_owned(), Some("x2".to_owned())));
    let page = DeviceQuery { cursor: Some("x2".to_owned()), limit: Some(4), ..query() };
    assert_eq!(names(page).await, ("x3 x4".to_owned(), None));
    assert_eq!(names(DeviceQuery { tag: Some("lab".into()), ..query() }).await.0, "x3");
    assert_eq!(names(DeviceQuery { q: Some("X".into()), ..query() }).await.0, "x0 x1 x2 x3 x4");
    assert_eq!(names(DeviceQuery { q: Some("%".into()), ..query() }).await.0, "");
    assert_eq!(names(DeviceQuery { state: Some("online".into()), ..query() }).await.0, "d1");
    let offline = DeviceQuery { state: Some("offline".into()), limit: Some(2), ..query() };
    assert_eq!(names(offline).await, ("x0 x1".to_owned(), Some("x1".to_owned())));
    assert_eq!(names(DeviceQuery { state: Some("offered".into()), ..query() }).await.0, "");
    assert_eq!(rig.decision("d1").await, "offered");
    assert_eq!(names(DeviceQuery { state: Some("offered".into()), ..query() }).await.0, "d1");
    let bad = rig.app().devices(&DeviceQuery { state: Some("odd".into()), ..query() }).await;
    assert!(matches!(bad, Err(AppError::Invalid(_))));
    let counts = rig.app().counts(Some(&"p".parse().expect("a name"))).await.expect("counted");
    assert_eq!((counts.devices, counts.online, counts.newest[&UpdateState::Offered]), (6, 1, 1));
}

#[tokio::test]
async fn a_change_by_another_program_is_seen_and_told() {
    let (rig, _device) = ready().await;
    let product: contract::ProductName = "p".parse().expect("a name");
    rig::until("the catalog was read", || async {
        let channels = rig.app().channels(&product).await.expect("listed");
        channels.iter().any(|channel| channel.version.as_ref().is_some_and(|v| v.as_str() == "1.1.0"))
    })
    .await;
    let mut events = rig.app().events();
    rig.deploy("p", "1.2.0", json!({}));
    let told = async {
        while events.recv().await.expect("an event") != (Event::Product { product: product.clone() }) {}
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("told in time");
    rig::until("it is shown", || async {
        rig.app()
            .releases(&product)
            .await
            .expect("listed")
            .first()
            .is_some_and(|r| r.version.as_str() == "1.2.0")
    })
    .await;
    assert!(matches!(
        rig.app().releases(&"unknown".parse().expect("a name")).await,
        Err(AppError::NotFound(_))
    ));
    assert!(rig.app().problems().await.is_empty());
}

#[tokio::test]
async fn what_is_published_promoted_and_blocked_here_is_shown_at_once() {
    let (rig, _device) = ready().await;
    let (app, product) = (rig.app(), "p".parse::<contract::ProductName>().expect("a name"));
    let version = |text: &str| text.parse::<contract::Version>().expect("a version");
    let image = |text: &str| image::build::Build::new(image::Chip::Esp32S3, text).bytes();
    let (channel, two) = (contract::ChannelName::production(), version("2.0.0"));
    let publish = async |promote: Option<&contract::ChannelName>, bytes: Vec<u8>| {
        let notes = Some("new".to_owned());
        let upload =
            Upload { version: Some(two.clone()), notes, promote: promote.cloned(), ..Default::default() };
        app.publish(&product, &upload, bytes.into()).await
    };
    let release = publish(Some(&channel), image("2.0.0")).await.expect("published").release;
    assert_eq!(
        (release.channels.as_slice(), release.notes.as_deref()),
        (&[channel.clone()][..], Some("new"))
    );
    let again = publish(None, image("2.0.0")).await.expect("the same bytes again");
    assert_eq!(again.decision, api::PublishDecision::Unchanged);
    for (bytes, check) in [(image("2.0.1"), "version-taken"), (b"hello".to_vec(), "not-an-image")] {
        let refused = publish(None, bytes).await.expect_err("refused");
        let AppError::Gate { error, judgement } = refused else { panic!("{refused:?}") };
        assert_eq!(judgement.decision, api::GateDecision::Refused);
        assert_eq!(judgement.findings[0].check, check);
        assert_eq!(matches!(*error, AppError::Invalid(_)), check == "not-an-image", "{error:?}");
    }
    assert_eq!(rig.decision("d1").await, "offered");
    app.block(&product, &two, "Boot loop").await.expect("blocked");
    let release = app.release(&product, &two).await.expect("there");
    assert_eq!((release.blocked, release.reason.as_deref()), (true, Some("Boot loop")));
    assert_eq!(app.blocked(&product).await.expect("listed").items.len(), 1);
    assert!(matches!(app.promote(&product, &two, &channel).await, Err(AppError::Refused(_))));
    app.unblock(&product, &two).await.expect("unblocked");
    app.promote(&product, &version("1.1.0"), &channel).await.expect("promoted");
    let nowhere = "nowhere".parse().expect("a name");
    assert!(matches!(app.block(&nowhere, &two, "why").await, Err(AppError::NotFound(_))));
    let products = app.products().await.expect("listed");
    assert_eq!((products.len(), products[0].devices), (1, 1));
    assert_eq!(products[0].production, Some(version("1.1.0")));
}

#[tokio::test]
async fn tokens_links_and_sessions_open_the_door_and_end() {
    let rig = Rig::start().await;
    let app = rig.app();
    let hour = Duration::from_hours(1);
    let first = rig.running.first_login().expect("the first start").clone();
    assert!(!format!("{first:?}").contains(&first.password));
    let session = app.login(&first.user, &first.password, hour).await.expect("asked").expect("let in");
    assert_eq!(app.authenticate(&session).await.expect("asked").expect("known").role, Role::Admin);
    app.logout(&session).await.expect("ended");
    assert!(app.authenticate(&session).await.expect("asked").is_none());
    assert!(app.login(&first.user, "wrong", hour).await.expect("asked").is_none());
    assert!(app.login("nobody", &first.password, hour).await.expect("asked").is_none());
    let link = rig.running.login_link().expect("made").query_pairs().next().expect("a key").1.into_owned();
    assert!(app.authenticate(&link).await.expect("asked").is_none(), "a link is no token");
    assert!(app.login_with_link(&link, hour).await.expect("asked").is_some());
    // As `updraft token new` does, beside the running server.
    let beside = Auth::open(&config(rig.folder.path(), "")).await.expect("opens");
    let token = beside.create_token("ci", Role::Ci, None).await.expect("made");
    assert!(matches!(beside.create_token("ci", Role::Ci, None).await, Err(AppError::Refused(_))));
    assert_eq!(app.authenticate(&token).await.expect("asked").expect("known").name, "ci");
    let session = app.login("any", &token, hour).await.expect("asked").expect("let in");
    assert_eq!(beside.tokens().await.expect("listed").len(), 1);
    beside.revoke_token("ci").await.expect("revoked");
    assert!(app.authenticate(&token).await.expect("asked").is_none());
    assert!(app.authenticate(&session).await.expect("asked").is_none(), "it ended with its token");
    let short = beside.create_token("short", Role::Viewer, Some(Duration::ZERO)).await.expect("made");
    assert!(app.authenticate(&short).await.expect("asked").is_none());
    let rig = rig.restart().await;
    assert!(rig.running.first_login().is_none() && rig.running.login_link().is_none());
}

#[tokio::test]
async fn a_port_in_use_says_which_and_how_to_change_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    for (section, key) in [("http", "UPDRAFT_HTTP__LISTEN"), ("mqtt", "UPDRAFT_MQTT__LISTEN")] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(folder.path(), "");
        match section {
            "http" => config.http.listen = address,
            _ => config.mqtt.listen = address,
        }
        let refusal = match start(config, StartOptions::default()).await {
            Ok(_) => panic!("it started"),
            Err(error) => format!("{error:#}"),
        };
        for part in [&address.to_string(), key, &format!("{section}.listen")] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let rig = Rig::start().await;
    let refusal = match start(config(rig.folder.path(), ""), StartOptions::default()).await {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    };
    assert!(refusal.contains("another Updraft server") && refusal.contains("database.url"), "{refusal}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            std::fs::metadata(rig.folder.path().join("updraft.db")).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "others on this machine can read the database");
    }
}

/// An App of its own, without broker: what an external one would send is handed to it.
async fn handed(more: &str) -> (tempfile::TempDir, App) {
    handed_through(more, |objects| objects).await
}

/// The same, with something between it and its store.
async fn handed_through(
    more: &str,
    wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
) -> (tempfile::TempDir, App) {
    let folder = tempfile::tempdir().expect("a folder");
    let more = format!("[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n{more}");
    let config = config(folder.path(), &more);
    let db = Db::open(&config.database.url).await.expect("opens");
    std::fs::create_dir_all(folder.path().join("store")).expect("made");
    let public_url: Url = "http://127.0.0.1:1".parse().expect("a URL");
    let options = store::Options {
        public_url: Some(public_url.clone()),
        signing_key: Some([1; 32]),
        ..store::Options::default()
    };
    let store = Store::open(&config.store.url, options).await.expect("opens").through(wrap);
    (folder, App::new(Parts { config, public_url, db, store, url_key: [1; 32] }))
}

#[tokio::test]
async fn on_an_external_broker_a_valid_report_makes_a_device_known() {
    let (_folder, app) = handed("[fleet]\nmax_devices = 2\ndefault_product = \"p\"").await;
    assert_eq!(app.config().fleet.admit, Admit::Reported);
    let batch = [
        message("a", TopicKind::Presence, "online"),
        message("a", TopicKind::Status, "SUCCESS"),
        message("a", TopicKind::Version, "nonsense"),
        message("a", TopicKind::Version, "1.0.0"),
        message("b", TopicKind::Version, r#"{"version":"2.0.0","product":"q"}"#),
        message("c", TopicKind::Version, "1.0.0"),
    ];
    app.messages(&batch).await.expect("taken");
    let a = app.device(&id("a")).await.expect("known");
    assert!(a.online && !a.registered && a.unreadable.is_none());
    assert_eq!(a.product.as_deref(), Some("p"));
    assert_eq!(app.device(&id("b")).await.expect("known").product.as_deref(), Some("q"));
    assert!(matches!(app.device(&id("c")).await, Err(AppError::NotFound(_))), "there is room for two");
    app.messages(&[message("a", TopicKind::Presence, "offline")]).await.expect("taken");
    assert!(!app.device(&id("a")).await.expect("known").online);
    assert!(app.device(&id("b")).await.expect("known").online, "heard just now");
    let later = now_ms() - 121_000;
    app.take(&[message("b", TopicKind::Version, "2.0.0")], later).await.expect("taken");
    assert!(!app.device(&id("b")).await.expect("known").online);
    let online = DeviceQuery { state: Some("offline".into()), ..DeviceQuery::default() };
    assert_eq!(app.devices(&online).await.expect("listed").items.len(), 2);
}

#[tokio::test]
async fn where_only_registered_devices_are_admitted_a_report_is_not_enough() {
    let (_folder, app) = handed("[fleet]\nadmit = \"registered\"").await;
    app.messages(&[message("a", TopicKind::Version, "1.0.0")]).await.expect("taken");
    assert!(matches!(app.device(&id("a")).await, Err(AppError::NotFound(_))));
    app.register_device(&id("a"), Some(&"p".parse().expect("a name"))).await.expect("registers");
    app.messages(&[message("a", TopicKind::Version, "1.0.0")]).await.expect("taken");
    assert!(app.device(&id("a")).await.expect("known").version.is_some());
    let nameless = app.register_device(&id("b"), None).await;
    assert!(matches!(nameless, Err(AppError::Invalid(_))));
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_one_transaction() {
    let (_folder, app) = handed("").await;
    let batch: Vec<Message> =
        (0..1000).map(|n| message(&format!("d{}", n % 700), TopicKind::Version, "1.0.0")).collect();
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        app.messages(&batch).await.expect("taken");
    }
    println!("5000 reports in {:?}", begun.elapsed());
    assert_eq!(app.counts(None).await.expect("counted").devices, 700);
    assert_eq!(app.counts(None).await.expect("counted").messages, 5000);
}
