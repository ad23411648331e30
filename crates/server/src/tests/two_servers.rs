//! The services of two servers on one database, though it is one server's: it is the database that decides, and neither
//! undoes what the other wrote.

use std::sync::Arc;

use contract::{ProductName, TopicKind};
use fleet::UpdateState;
use serde_json::json;

use super::message;
use super::rig::{BY, id, put, until};
use super::without_broker::{Handed, handed};
use crate::clock::now_ms;
use crate::db::{device, update};
use crate::tick::Tick;

fn product(name: &str) -> ProductName {
    name.parse().expect("a product")
}

/// Two servers, each with its own connections, with a device that runs 1.0.0 and a release 1.1.0 in production.
async fn two() -> (tempfile::TempDir, Handed, Handed) {
    let (folder, one) = handed("").await;
    let store = folder.path().join("store/p");
    put(&store.join("releases/v1.1.0"), "1.1.0", "p", json!({}));
    put(&store.join("production"), "1.1.0", "p", json!({}));
    let report = message("d1", TopicKind::Version, r#"{"version":"1.0.0","product":"p"}"#);
    one.messages.take(&[report], now_ms()).await.expect("taken");
    let other = one.beside().await;
    (folder, one, other)
}

#[tokio::test]
async fn what_a_person_sets_on_one_is_not_undone_by_messages_to_the_other() {
    let (_folder, one, other) = two().await;
    let person = async {
        for n in 0..40 {
            let tags = [format!("tag{n}")];
            let set = product(&format!("p{n}"));
            let shown = one
                .devices
                .change(
                    &BY,
                    &id("d1"),
                    &api::DeviceChange {
                        product: Some(set.clone()),
                        tags: Some(tags.to_vec()),
                        ..Default::default()
                    },
                )
                .await
                .expect("changed");
            assert_eq!((shown.product, shown.tags), (Some(set), tags.to_vec()));
        }
    };
    let messages = async {
        for n in 0..40 {
            let report = format!(r#"{{"version":"1.0.{n}","product":"reported"}}"#);
            other
                .messages
                .take(&[message("d1", TopicKind::Version, &report)], now_ms())
                .await
                .expect("taken");
        }
    };
    tokio::join!(person, messages);
    for server in [&one, &other] {
        let shown = server.devices.show(&id("d1")).await.expect("known");
        assert_eq!(shown.product, Some(product("p39")));
        assert_eq!(shown.version.expect("a version"), "1.0.39");
    }
}

#[tokio::test]
async fn devices_that_report_to_both_become_known_once() {
    let (_folder, one, other) = two().await;
    let batch = |from: i32| {
        let names = (0..120).map(move |n| format!("n{}", (n + from) % 120));
        names.map(|name| message(&name, TopicKind::Version, "1.0.0")).collect::<Vec<_>>()
    };
    for round in 0..4 {
        let (first, second) = (batch(round), batch(round + 60));
        let taken = async |server: &Handed, batch: &[_]| {
            server.messages.take(batch, now_ms()).await.expect("neither waits for the other for ever");
        };
        tokio::join!(taken(&one, &first), taken(&other, &second));
    }
    for server in [&one, &other] {
        until("all are counted", || async {
            let counts = server.devices.counts(None).await.expect("counted");
            (counts.devices, counts.online) == (121, 121)
        })
        .await;
    }
}

#[tokio::test]
async fn a_device_is_offered_one_update_however_many_ask() {
    let (_folder, one, other) = two().await;
    let (one, other) = (Arc::new(one), Arc::new(other));
    let asked = (0..8).map(|n| {
        let server = Arc::clone(if n % 2 == 0 { &one } else { &other });
        tokio::spawn(
            async move { server.updates.check(&BY, &id("d1"), true).await.expect("decides").decision },
        )
    });
    let mut decisions = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        decisions.push(answer.await.expect("answered"));
    }
    assert_eq!(decisions.iter().filter(|decision| *decision == "offered").count(), 1, "{decisions:?}");
    assert!(decisions.iter().all(|decision| ["offered", "in_progress"].contains(&decision.as_str())));
    assert_eq!(one.updates.of_device(&id("d1"), None, 10).await.expect("listed").items.len(), 1);
}

#[tokio::test]
async fn a_device_has_the_state_of_its_newest_update_whoever_wrote_it() {
    let (_folder, one, other) = two().await;
    for round in 0..12 {
        let made = one.updates.check(&BY, &id("d1"), true).await.expect("decides").update.expect("made").id;
        let progress = message("d1", TopicKind::Progress, r#"{"phase":"download","done":1}"#);
        let ((), cancelled) = tokio::join!(
            async { other.messages.take(&[progress], now_ms()).await.expect("taken") },
            one.updates.cancel(&BY, made)
        );
        cancelled.expect("cancelled");
        let device = device::by_id(&one.db, &id("d1")).await.expect("read").expect("there");
        let newest = update::by_id(&other.db, made).await.expect("read").expect("there");
        assert_eq!((device.update_id, device.update_state), (Some(made), Some(newest.state)), "{round}");
        assert_eq!(newest.state, UpdateState::Cancelled);
    }
}

#[tokio::test]
async fn a_standstill_of_both_is_added_once() {
    let (_folder, one, other) = two().await;
    let begun = now_ms();
    let (mut first, mut second) = (Tick::new(&one), Tick::new(&other));
    first.tick(begun, true).await.expect("ticks");
    second.tick(begun, true).await.expect("ticks");
    let made = one.updates.check(&BY, &id("d1"), true).await.expect("decides").update.expect("made").id;
    let heard_at = update::by_id(&one.db, made).await.expect("read").expect("there").heard_at;
    first.tick(begun + 3_600_000, true).await.expect("ticks");
    second.tick(begun + 3_600_500, true).await.expect("ticks");
    let row = update::by_id(&other.db, made).await.expect("read").expect("there");
    assert!(row.heard_at <= heard_at + 3_600_000, "{} after {heard_at}", row.heard_at);
}

#[tokio::test]
async fn what_one_publishes_promotes_and_blocks_the_other_shows() {
    let (_folder, one, other) = two().await;
    let version = |text: &str| text.parse::<contract::Version>().expect("a version");
    let lamp = product("lamp");
    let image: bytes::Bytes = image::build::Build::new(image::Chip::Esp32S3, "1.0.0").bytes().into();
    let publication =
        store::Publication { version: Some(version("1.0.0")), ..store::Publication::new(lamp.clone()) };
    let production = contract::ChannelName::production();
    one.releases.publish(&BY, publication, Some(production), image).await.expect("published");
    assert_eq!(other.releases.channels(&lamp).await.expect("known")[0].version, Some(version("1.0.0")));
    other.releases.block(&BY, &lamp, &version("1.0.0"), "it loops").await.expect("blocked");
    assert!(one.releases.show(&lamp, &version("1.0.0")).await.expect("known").blocked);
    let minute = std::time::Duration::from_mins(1);
    let passes = tokio::join!(
        one.releases.mirror().refresh_all_after(minute),
        other.releases.mirror().refresh_all_after(minute)
    );
    let passes = [passes.0.expect("read"), passes.1.expect("read")];
    assert_eq!(passes.iter().flatten().count(), 1, "one of them reads for both");
    for server in [&one, &other] {
        let products = server.releases.products().await.expect("listed");
        let names: Vec<_> = products.iter().map(|product| product.name.as_str()).collect();
        assert_eq!(names, ["lamp", "p"]);
    }
}
