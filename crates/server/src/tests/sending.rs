//! When triggers are sent, and that none is lost whatever is killed.

use std::pin::pin;
use std::task::Poll;

use contract::{DeviceId, ProductName, TopicKind};
use fleet::{Action, UpdateState};
use serde_json::json;
use store::testing::{Fate, FaultyStore, Kind};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::rig::{Actor, BY, Rig, id, put, until};
use super::without_broker::handed_through;
use super::{message, ready};
use crate::clock::now_ms;
use crate::db::update;
use crate::releases::STORE_TIMEOUT;
use crate::updates::{Done, Memory};

/// Polls it so often and drops it then, as a kill would. Answers whether it came to its end before.
async fn killed_after<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_trigger_is_sent_wherever_a_check_is_killed() {
    let (rig, device) = ready().await;
    let updates = &rig.services().updates;
    let device_id = id("d1");
    for polls in 0.. {
        let before = device.triggers().len();
        let is_over = killed_after(polls, updates.check(&BY, &device_id, false)).await;
        // What the next process does.
        rig.sweep().await;
        let made = rig.show("d1").await.update.filter(|update| update.state == UpdateState::Offered);
        assert!(made.is_some() || !is_over, "it was offered");
        if let Some(update) = made {
            device.until_triggers(before + 1).await;
            rig.until_sent("d1").await;
            updates.cancel(&BY, update.id).await.expect("cancelled");
        }
        if is_over {
            return;
        }
    }
}

#[tokio::test]
async fn a_trigger_is_sent_wherever_the_sender_is_killed() {
    let (rig, device) = ready().await;
    let updates = &rig.services().updates;
    let made = updates.check(&BY, &id("d1"), false).await.expect("decides").update.expect("made").id;
    rig.until_sent("d1").await;
    for polls in 0.. {
        let before = device.triggers().len();
        rig.change_update(made, |row| row.triggered_at = None).await;
        let is_over = killed_after(polls, updates.send_batch(&[made], &mut Memory::default())).await;
        if rig.waits("d1").await {
            assert!(!is_over, "it was noted");
            updates.send_batch(&[made], &mut Memory::default()).await.expect("sent");
        }
        assert!(!rig.waits("d1").await);
        device.until_triggers(before + 1).await;
        if is_over {
            return;
        }
    }
}

#[tokio::test]
async fn a_trigger_waits_until_the_device_listens_to_it() {
    let rig = Rig::start().await;
    rig.deploy("p", "1.1.0", json!({}));
    let product = "p".parse().expect("a product");
    let password = rig
        .services()
        .devices
        .register(&BY, &id("d1"), Some(&product))
        .await
        .expect("registers")
        .mqtt_password;
    let device = Actor::open(rig.mqtt_port(), "d1", &password);
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    rig.until_online("d1").await;
    let answer = rig.services().updates.check(&BY, &id("d1"), false).await.expect("decides");
    assert_eq!(answer.cause.expect("a cause").code, "offered_and_waiting");
    rig.sweep().await;
    assert!(rig.waits("d1").await && device.triggers().is_empty());
    device.subscribe().await;
    device.until_triggers(1).await;
    rig.until_sent("d1").await;
}

#[tokio::test]
async fn a_trigger_that_was_lost_with_its_connection_is_sent_again() {
    let (rig, device) = ready().await;
    let (updates, presence) = (&rig.services().updates, rig.services().devices.presence());
    let made = updates.check(&BY, &id("d1"), true).await.expect("decides").update.expect("made").id;
    device.until_triggers(1).await;
    rig.until_sent("d1").await;
    let sent_to = presence.reach(&id("d1"), true, true).expect("it listens");
    let password = device.password.clone();
    drop(device);
    let device = rig.connect("d1", &password).await;
    device.until_triggers(1).await;
    rig.until_sent("d1").await;
    // As if it had gone between the sending and the note that it was sent, and come back without listening yet.
    drop(device);
    until("it has gone", || async { !rig.show("d1").await.online }).await;
    let device = Actor::open(rig.mqtt_port(), "d1", &password);
    until("it is there and does not listen", || async { presence.reach(&id("d1"), true, true).is_none() })
        .await;
    rig.change_update(made, |row| row.triggered_at = None).await;
    let update = update::by_id(&rig.running.db, made).await.expect("read").expect("there");
    let done = Done { update, what: Action::Send { update: made }, sent_to, refused: None };
    updates.note_done(&[done]).await.expect("noted");
    rig.sweep().await;
    assert!(rig.waits("d1").await && device.triggers().is_empty());
    device.subscribe().await;
    device.until_triggers(1).await;
    rig.until_sent("d1").await;
    // Who is at work on it has it.
    device.say(TopicKind::Progress, r#"{"phase":"download"}"#).await;
    rig.until_state("d1", UpdateState::Downloading).await;
    drop(device);
    let device = rig.connect("d1", &password).await;
    updates.wake_subscribed().await.expect("looked");
    rig.sweep().await;
    device.say(TopicKind::Status, "SUCCESS").await;
    rig.until_state("d1", UpdateState::Succeeded).await;
    assert!(device.triggers().is_empty());
}

#[tokio::test]
async fn a_product_whose_store_hangs_holds_up_no_other() {
    let hangs = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&hangs);
    let (folder, app) = handed_through("", |objects| {
        FaultyStore::before(objects, move |operation| {
            let is_stuck = flag.load(Ordering::Relaxed) && operation.key.starts_with("p/");
            async move {
                if is_stuck {
                    std::future::pending::<()>().await;
                }
                Fate::Done
            }
        })
    })
    .await;
    for product in ["p", "q"] {
        let store = folder.path().join("store").join(product);
        put(&store.join("releases/v1.1.0"), "1.1.0", product, json!({}));
        put(&store.join("production"), "1.1.0", product, json!({}));
    }
    let report = |name, product| {
        message(name, TopicKind::Version, &format!(r#"{{"version":"1.0.0","product":"{product}"}}"#))
    };
    app.messages.take(&[report("d1", "p"), report("d2", "q")], now_ms()).await.expect("taken");
    let answers = app.updates.check_many(&BY, &[id("d1"), id("d2")], true).await.expect("decides");
    let made: Vec<i64> = answers.values().map(|answer| answer.update.as_ref().expect("made").id).collect();
    // There is no broker; that its version is blocked ends it without one.
    let blocked = folder.path().join("store/q/rollback");
    std::fs::create_dir_all(&blocked).expect("made");
    let list = r#"{"blocked_versions":["1.1.0"],"reason":{}}"#;
    std::fs::write(blocked.join("blocked_versions.json"), list).expect("written");
    hangs.store(true, Ordering::Relaxed);
    let (mut memory, begun) = (Memory::default(), Instant::now());
    let is_in = async |name, state: UpdateState| {
        app.devices.show(&id(name)).await.expect("known").update.is_some_and(|update| update.state == state)
    };
    let other = async {
        until("the other is done", || async { is_in("d2", UpdateState::Cancelled).await }).await;
        begun.elapsed()
    };
    let (sent, took) = tokio::join!(app.updates.send_batch(&made, &mut memory), other);
    sent.expect("one of them");
    assert!(took < STORE_TIMEOUT && begun.elapsed() >= STORE_TIMEOUT, "{took:?}");
    let again = app.updates.send_batch(&made, &mut memory);
    tokio::time::timeout(Duration::from_secs(2), again)
        .await
        .expect("it is left out")
        .expect("nothing to do");
    assert!(is_in("d1", UpdateState::Offered).await);
}

#[tokio::test]
async fn many_devices_are_offered_with_one_look_at_the_store_and_each_gets_what_is_its() {
    const DEVICES: usize = 700;
    let looks = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&looks);
    let (folder, app) = handed_through("", |objects| {
        FaultyStore::before(objects, move |operation| {
            let is_look = operation.kind == Kind::Get && operation.key.ends_with("/blocked_versions.json");
            counter.fetch_add(usize::from(is_look), Ordering::Relaxed);
            std::future::ready(Fate::Done)
        })
    })
    .await;
    for product in ["p", "q"] {
        let store = folder.path().join("store").join(product);
        for version in ["1.1.0", "1.2.0"] {
            let requires = if version == "1.2.0" { json!({"requires": "1.1.0"}) } else { json!({}) };
            put(&store.join(format!("releases/v{version}")), version, product, requires.clone());
            put(&store.join("production"), version, product, requires);
        }
    }
    let report = |n: usize| {
        let (version, product) = (["1.0.0", "1.1.0", "1.2.0"][n % 3], ["p", "q"][n % 2]);
        let report = format!(r#"{{"version":"{version}","product":"{product}"}}"#);
        message(&format!("d{n}"), TopicKind::Version, &report)
    };
    let reports: Vec<_> = (0..DEVICES).map(report).collect();
    app.messages.take(&reports, now_ms()).await.expect("taken");
    looks.store(0, Ordering::Relaxed);
    let ids: Vec<DeviceId> = (0..DEVICES).map(|n| id(&format!("d{n}"))).chain([id("unknown")]).collect();
    let answers = app.updates.check_many(&BY, &ids, true).await.expect("decides");
    assert_eq!(
        (answers.len(), looks.load(Ordering::Relaxed)),
        (DEVICES, 4),
        "two products, twice 500 devices"
    );
    for (n, device) in ids[..DEVICES].iter().enumerate() {
        let answer = &answers[device];
        let said = (answer.decision.as_str(), answer.version.as_ref().map(contract::Version::as_str));
        let expected =
            [("offered", Some("1.1.0")), ("offered", Some("1.2.0")), ("up_to_date", Some("1.2.0"))];
        assert_eq!(said, expected[n % 3], "{device}: {}", answer.reason);
        assert_eq!(answer.update.as_ref().map(|update| &update.device), (n % 3 < 2).then_some(device));
    }
    let again = app.updates.check_many(&BY, &ids, true).await.expect("decides");
    let count = |word| again.values().filter(|answer| answer.decision == word).count();
    assert_eq!((count("in_progress"), count("up_to_date")), (467, 233));
    assert!(app.updates.check(&BY, &id("unknown"), true).await.is_err());
}

#[tokio::test]
async fn a_corrupt_step_of_some_devices_is_no_reason_for_the_others() {
    let rig = Rig::start().await;
    rig.release("p", "1.1.0", json!({"requires": "nonsense"}));
    rig.deploy("p", "2.0.0", json!({"requires": "1.1.0"}));
    let product: ProductName = "p".parse().expect("a product");
    let mut devices = Vec::new();
    for (name, version) in [("behind", "1.0.0"), ("near", "1.5.0"), ("there", "2.0.0")] {
        let device = rig.device(name, product.as_str()).await;
        device.say(TopicKind::Version, version).await;
        rig.until_version(name, version).await;
        devices.push(device);
    }
    let ids = ["behind", "near", "there"].map(id);
    let answers = rig.services().updates.check_many(&BY, &ids, false).await.expect("decides");
    let words: Vec<&str> = answers.values().map(|answer| answer.decision.as_str()).collect();
    assert_eq!(words, ["no_release", "offered", "up_to_date"]);
    devices[1].until_triggers(1).await;
    until("nothing waits", || async { !rig.waits("near").await }).await;
}
