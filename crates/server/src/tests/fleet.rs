//! Devices in lists, and gone from them; releases as they are shown.

use std::time::Duration;

use contract::TopicKind;
use fleet::UpdateState;
use serde_json::json;
use store::Publication;

use super::ready;
use super::rig::{self, BY, id};
use crate::error::Error;
use api::{DeviceQuery, Event};

#[tokio::test]
async fn a_removed_device_is_gone_and_leaves_nothing_behind() {
    let (rig, device) = ready().await;
    device.leave(TopicKind::Version, "1.0.0").await;
    device.leave(TopicKind::Presence, "online").await;
    assert_eq!(rig.decision("d1").await, "offered");
    device.until_triggers(1).await;
    rig.services().devices.remove(&BY, &id("d1")).await.expect("removed");
    assert!(matches!(rig.services().devices.show(&id("d1")).await, Err(Error::NotFound(_))));
    rig::until("it is disconnected", || async { device.task_ended() }).await;
    assert!(matches!(rig.services().devices.remove(&BY, &id("d1")).await, Err(Error::NotFound(_))));
    let again = rig.device("d1", "p").await;
    again.say(TopicKind::Presence, "a marker that cannot be read").await;
    rig::until("the marker came", || async { rig.show("d1").await.unreadable.is_some() }).await;
    assert!(rig.show("d1").await.version.is_none(), "what it left would have come back");
    drop(again);
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let (rig, _device) = ready().await;
    for number in 0..5 {
        let name = format!("x{number}");
        rig.services()
            .devices
            .register(&BY, &id(&name), Some(&"p".parse().expect("a name")))
            .await
            .expect("registers");
    }
    let tags = ["lab".to_owned(), " lab ".to_owned()];
    let tagged = rig
        .services()
        .devices
        .change(&BY, &id("x3"), &api::DeviceChange { tags: Some(tags.to_vec()), ..Default::default() })
        .await
        .expect("changes");
    assert_eq!(tagged.tags, ["lab"]);
    let app = rig.services();
    let names = async |query: DeviceQuery| {
        let page = app.devices.list(&query).await.expect("listed");
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
    let bad = rig.services().devices.list(&DeviceQuery { state: Some("odd".into()), ..query() }).await;
    assert!(matches!(bad, Err(Error::Invalid(_))));
    let counts = rig.services().devices.counts(Some(&"p".parse().expect("a name"))).await.expect("counted");
    assert_eq!((counts.devices, counts.online, counts.newest[&UpdateState::Offered]), (6, 1, 1));
}

#[tokio::test]
async fn nobody_is_online_after_a_start_until_they_connect() {
    let (rig, device) = ready().await;
    let online = DeviceQuery { state: Some("online".into()), ..DeviceQuery::default() };
    assert_eq!(rig.services().devices.list(&online).await.expect("listed").items.len(), 1);
    let password = device.password.clone();
    // As if the process had been killed: nobody says that it goes.
    let rig = rig.restart().await;
    drop(device);
    let shown = rig.show("d1").await;
    assert!(!shown.online, "its connection ended with the process");
    assert!(shown.last_seen.is_some());
    assert!(rig.services().devices.list(&online).await.expect("listed").items.is_empty());
    let _again = rig.connect("d1", &password).await;
    assert_eq!(rig.services().devices.list(&online).await.expect("listed").items.len(), 1);
    rig::until("it is counted", || async {
        rig.services().devices.counts(None).await.expect("counted").online == 1
    })
    .await;
}

#[tokio::test]
async fn a_change_by_another_program_is_seen_and_sent() {
    let (rig, _device) = ready().await;
    let product: contract::ProductName = "p".parse().expect("a name");
    rig::until("the catalog was read", || async {
        let channels = rig.services().releases.channels(&product).await.expect("listed");
        channels.iter().any(|channel| channel.version.as_ref().is_some_and(|v| v.as_str() == "1.1.0"))
    })
    .await;
    let mut events = rig.services().events.subscribe();
    rig.deploy("p", "1.2.0", json!({}));
    let sent = async {
        while events.recv().await.expect("an event") != (Event::Product { product: product.clone() }) {}
    };
    tokio::time::timeout(Duration::from_secs(10), sent).await.expect("sent in time");
    rig::until("it is shown", || async {
        rig.services()
            .releases
            .list(&product)
            .await
            .expect("listed")
            .first()
            .is_some_and(|r| r.version.as_str() == "1.2.0")
    })
    .await;
    assert!(matches!(
        rig.services().releases.list(&"unknown".parse().expect("a name")).await,
        Err(Error::NotFound(_))
    ));
    assert!(rig.services().health.problems().await.is_empty());
}

#[tokio::test]
async fn what_is_published_promoted_and_blocked_here_is_shown_at_once() {
    let (rig, _device) = ready().await;
    let (app, product) = (rig.services(), "p".parse::<contract::ProductName>().expect("a name"));
    let version = |text: &str| text.parse::<contract::Version>().expect("a version");
    let image = |text: &str| image::build::Build::new(image::Chip::Esp32S3, text).bytes();
    let (channel, two) = (contract::ChannelName::production(), version("2.0.0"));
    let publish = async |promote: Option<&contract::ChannelName>, bytes: Vec<u8>| {
        let notes = Some("new".to_owned());
        let publication =
            Publication { version: Some(two.clone()), notes, ..Publication::new(product.clone()) };
        app.releases.publish(&BY, publication, promote.cloned(), bytes.into()).await
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
        let Error::Gate { error, judgement } = refused else { panic!("{refused:?}") };
        assert_eq!(judgement.decision, api::GateDecision::Refused);
        assert_eq!(judgement.findings[0].check, check);
        assert_eq!(matches!(*error, Error::Invalid(_)), check == "not-an-image", "{error:?}");
    }
    assert_eq!(rig.decision("d1").await, "offered");
    app.releases.block(&BY, &product, &two, "Boot loop").await.expect("blocked");
    let release = app.releases.show(&product, &two).await.expect("there");
    assert_eq!((release.blocked, release.reason.as_deref()), (true, Some("Boot loop")));
    assert_eq!(app.releases.blocked(&product).await.expect("listed").items.len(), 1);
    assert!(matches!(app.releases.promote(&BY, &product, &two, &channel).await, Err(Error::Refused(_))));
    app.releases.unblock(&BY, &product, &two).await.expect("unblocked");
    app.releases.promote(&BY, &product, &version("1.1.0"), &channel).await.expect("promoted");
    let nowhere = "nowhere".parse().expect("a name");
    assert!(matches!(app.releases.block(&BY, &nowhere, &two, "why").await, Err(Error::NotFound(_))));
    let products = app.releases.products().await.expect("listed");
    assert_eq!((products.len(), products[0].devices), (1, 1));
    assert_eq!(products[0].production, Some(version("1.1.0")));
}
