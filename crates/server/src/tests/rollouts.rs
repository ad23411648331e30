//! Rollouts on a whole server: real database, real store, devices over MQTT.

use api::{NewRollout, Rollout, RolloutDeviceQuery, RolloutState};
use contract::{ChannelName, ProductName, TopicKind};
use serde_json::{Value, json};

use super::rig::{Actor, BY, Rig, until};

/// Conclusions from absence are drawn soon.
pub(super) const QUICK: &str = "[mqtt]\noffline_after_s = 1\n";

pub(super) fn product() -> ProductName {
    "p".parse().expect("a product")
}

/// Devices that run 1.0.0, which is in production; 1.1.0 is published.
pub(super) async fn fleet(count: usize) -> (Rig, Vec<Actor>) {
    let rig = Rig::with(QUICK).await;
    rig.deploy("p", "1.0.0", json!({}));
    rig.release("p", "1.1.0", json!({}));
    let mut devices = Vec::new();
    for n in 0..count {
        devices.push(joins(&rig, &format!("d{n}")).await);
    }
    (rig, devices)
}

pub(super) async fn joins(rig: &Rig, name: &str) -> Actor {
    let device = rig.device(name, "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version(name, "1.0.0").await;
    device
}

pub(super) fn asked(more: Value) -> NewRollout {
    let mut asked = json!({"version": "1.1.0"});
    let (Some(all), Value::Object(more)) = (asked.as_object_mut(), more) else { panic!("objects") };
    all.extend(more);
    serde_json::from_value(asked).expect("a rollout")
}

pub(super) async fn start(rig: &Rig, more: Value) -> i64 {
    let rollout = rig.services().rollouts.start(&BY, &product(), &asked(more)).await.expect("begins");
    assert_eq!(rollout.state, RolloutState::Running);
    i64::try_from(rollout.id).expect("small")
}

pub(super) async fn show(rig: &Rig, id: i64) -> Rollout {
    rig.services().rollouts.show(id).await.expect("there")
}

pub(super) async fn until_state(rig: &Rig, id: i64, state: RolloutState) -> Rollout {
    until(state.as_str(), || async { show(rig, id).await.state == state }).await;
    show(rig, id).await
}

pub(super) fn triggered(devices: &[Actor]) -> Vec<usize> {
    (0..devices.len()).filter(|n| !devices[*n].triggers().is_empty()).collect()
}

pub(super) async fn until_triggered(devices: &[Actor], count: usize) -> Vec<usize> {
    until("so many are triggered", || async { triggered(devices).len() >= count }).await;
    triggered(devices)
}

/// Long enough for something that must not happen.
pub(super) async fn a_while() {
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
}

pub(super) async fn production(rig: &Rig) -> Option<String> {
    let store = rig.services().releases.store();
    let version = store.channel(&product(), &ChannelName::production()).await.expect("read");
    version.map(|version| version.to_string())
}

#[tokio::test]
async fn a_rollout_goes_step_by_step_and_is_promoted_at_its_end() {
    let (rig, devices) = fleet(4).await;
    let id = start(&rig, json!({"steps": [{"percent": 25, "soak_s": 1}, {"percent": 100}]})).await;
    let first = until_triggered(&devices, 1).await;
    a_while().await;
    assert_eq!(triggered(&devices), first, "one in four");
    assert_eq!(show(&rig, id).await.counts.waiting, 3);
    devices[first[0]].say(TopicKind::Version, "1.1.0").await;
    until("the step is watched", || async { show(&rig, id).await.soak_until.is_some() }).await;
    until_triggered(&devices, 4).await;
    for device in &devices {
        device.say(TopicKind::Version, "1.1.0").await;
    }
    let done = until_state(&rig, id, RolloutState::Done).await;
    assert_eq!((done.counts.total, done.counts.succeeded, done.step), (4, 4, Some(2)));
    assert_eq!(done.halt_reason, None);
    assert_eq!(production(&rig).await.as_deref(), Some("1.1.0"));
    assert!(devices.iter().all(|device| device.triggers().len() == 1), "each is offered it once");
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_release_that_fails_everywhere_stops_after_three_and_is_blocked() {
    let (rig, devices) = fleet(6).await;
    let id = start(&rig, json!({"max_in_flight": 3})).await;
    let first = until_triggered(&devices, 3).await;
    a_while().await;
    assert_eq!(triggered(&devices), first, "no more than three at once");
    for n in &first {
        devices[*n].say(TopicKind::Status, "FAILED no luck with it").await;
    }
    let halted = until_state(&rig, id, RolloutState::Halted).await;
    until("the version is blocked", || async { show(&rig, id).await.blocked }).await;
    let reason = halted.halt_reason.expect("a reason");
    assert!(reason.starts_with("1.1.0 failed on all 3 devices that tried it."), "{reason}");
    assert!(reason.contains("3 × \"no luck with it\"; before: 1.0.0; devices: d"), "{reason}");
    let listed = rig.services().releases.blocked(&product()).await.expect("read");
    let blocked = &listed.items[0];
    assert!(
        blocked.reason.as_deref().is_some_and(|why| why.contains("failed on all 3 devices")),
        "{blocked:?}"
    );
    a_while().await;
    assert_eq!(triggered(&devices), first, "nothing more is sent");
    assert_eq!(production(&rig).await.as_deref(), Some("1.0.0"));
    let failed =
        RolloutDeviceQuery { state: Some("not_succeeded".to_owned()), ..RolloutDeviceQuery::default() };
    let page = rig.services().rollouts.devices(id, &failed).await.expect("listed");
    assert_eq!(page.items.len(), 3);
    assert!(page.items.iter().all(|device| device.reason.as_deref() == Some("no luck with it")));
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn who_was_offline_gets_it_when_it_comes_and_holds_nobody_up() {
    let (rig, mut devices) = fleet(3).await;
    let away = devices.remove(2);
    let password = away.password.clone();
    drop(away);
    until("it is offline", || async { !rig.show("d2").await.online }).await;
    let id = start(&rig, json!({})).await;
    until_triggered(&devices, 2).await;
    for device in &devices {
        device.say(TopicKind::Version, "1.1.0").await;
    }
    let done = until_state(&rig, id, RolloutState::Done).await;
    assert_eq!((done.counts.succeeded, done.counts.waiting, done.counts.failed), (2, 1, 0));
    let back = rig.connect("d2", &password).await;
    back.until_triggers(1).await;
    back.say(TopicKind::Version, "1.1.0").await;
    until("all have it", || async { show(&rig, id).await.counts.succeeded == 3 }).await;
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn one_that_is_paused_or_aborted_sends_nothing_more() {
    let (rig, devices) = fleet(4).await;
    let rollouts = &rig.services().rollouts;
    let id = start(&rig, json!({"max_in_flight": 1})).await;
    let first = until_triggered(&devices, 1).await;
    assert_eq!(rollouts.pause(&BY, id).await.expect("paused").state, RolloutState::Paused);
    devices[first[0]].say(TopicKind::Version, "1.1.0").await;
    until("it has ended", || async { show(&rig, id).await.counts.succeeded == 1 }).await;
    a_while().await;
    assert_eq!(triggered(&devices), first);
    assert_eq!(rollouts.pause(&BY, id).await.expect("asked again").state, RolloutState::Paused);
    rollouts.resume(&BY, id).await.expect("goes on");
    let second = until_triggered(&devices, 2).await;
    let aborted = rollouts.abort(&BY, id, Some("changed my mind")).await.expect("ends");
    assert_eq!(aborted.state, RolloutState::Aborted);
    assert_eq!(aborted.halt_reason.as_deref(), Some("server aborted it: changed my mind"));
    for n in second {
        devices[n].say(TopicKind::Version, "1.1.0").await;
    }
    until("who was at work has finished", || async { show(&rig, id).await.counts.succeeded == 2 }).await;
    a_while().await;
    assert_eq!(triggered(&devices).len(), 2);
    let refused = rollouts.resume(&BY, id).await.expect_err("it is over").to_string();
    assert_eq!(refused, format!("Rollout {id} is aborted and cannot be resumed."));
    // Those that it had are free.
    let next = start(&rig, json!({})).await;
    until_triggered(&devices, 4).await;
    assert_eq!(show(&rig, next).await.counts.total, 2, "two run it");
    rig.running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_server_that_starts_again_goes_on_where_it_was() {
    let (rig, devices) = fleet(3).await;
    let id = start(&rig, json!({"max_in_flight": 1, "steps": [{"percent": 50}, {"percent": 100}]})).await;
    let first = until_triggered(&devices, 1).await[0];
    let passwords: Vec<String> = devices.iter().map(|device| device.password.clone()).collect();
    drop(devices);
    let rig = rig.restart().await;
    let mut devices = Vec::new();
    for (n, password) in passwords.iter().enumerate() {
        devices.push(rig.connect(&format!("d{n}"), password).await);
    }
    devices[first].say(TopicKind::Version, "1.1.0").await;
    until("it has it", || async { show_update(&rig, first).await.as_deref() == Some("succeeded") }).await;
    for _ in 0..2 {
        let is_open = async |n: usize| show_update(&rig, n).await.as_deref() == Some("offered");
        let mut next = None;
        until("the next one is offered it", || async {
            for n in 0..3 {
                if is_open(n).await && !devices[n].triggers().is_empty() {
                    return true;
                }
            }
            false
        })
        .await;
        for n in 0..3 {
            if is_open(n).await {
                next = Some(n);
            }
        }
        devices[next.expect("one")].say(TopicKind::Version, "1.1.0").await;
        let n = next.expect("one");
        until("it has it", || async { show_update(&rig, n).await.as_deref() == Some("succeeded") }).await;
    }
    assert_eq!(until_state(&rig, id, RolloutState::Done).await.counts.succeeded, 3);
    for n in 0..3 {
        let id = super::rig::id(&format!("d{n}"));
        let history = rig.services().updates.of_device(&id, None, 10).await.expect("listed");
        assert_eq!(history.items.len(), 1, "one update each");
    }
    rig.running.stop().await.expect("stops");
}

async fn show_update(rig: &Rig, n: usize) -> Option<String> {
    rig.show(&format!("d{n}")).await.update.map(|update| update.state.to_string())
}
