//! When an update times out, and when the clock of silence stands still.

use fleet::UpdateState;

use super::ready;
use super::rig::{self, Actor, BY, id};
use crate::clock::now_ms;
use crate::db::{meta, update};
use crate::tick::Tick;

#[tokio::test]
async fn silence_times_out_and_the_clock_stands_still_while_the_server_is_down() {
    let (rig, _device) = ready().await;
    assert_eq!(rig.decision("d1").await, "offered");
    let made = rig.show("d1").await.update.expect("made");
    let begun = update::by_id(&rig.running.db, made.id).await.expect("read").expect("there").heard_at;
    let mut tick = Tick::new(rig.services());
    tick.tick(begun + 1_000, true).await.expect("ticks");
    // The link is down for an hour: nobody is late for it.
    for minute in 1..60 {
        tick.tick(begun + minute * 60_000, false).await.expect("ticks");
    }
    tick.tick(begun + 3_601_000, true).await.expect("ticks");
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
    // The process dies, and another starts an hour later: the heartbeat is in the database.
    let mut next = Tick::new(rig.services());
    next.tick(begun + 7_201_000, true).await.expect("ticks");
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
    let mut at = begun + 7_201_000;
    while at < begun + 7_201_000 + 880_000 {
        at += 10_000;
        next.tick(at, true).await.expect("ticks");
    }
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
    for _ in 0..3 {
        at += 10_000;
        next.tick(at, true).await.expect("ticks");
    }
    let update = rig.show("d1").await.update.expect("made");
    assert_eq!(update.state, UpdateState::TimedOut);
    assert!(update.reason.expect("a reason").contains("the device did not begin after the trigger was sent"));
}

#[tokio::test]
async fn a_clock_that_was_set_back_lets_no_update_wait_for_longer() {
    let (rig, _device) = ready().await;
    assert_eq!(rig.decision("d1").await, "offered");
    let made = rig.show("d1").await.update.expect("made");
    let begun = update::by_id(&rig.running.db, made.id).await.expect("read").expect("there").heard_at;
    for is_restarted in [false, true] {
        // Heard while the clock was an hour ahead.
        let ahead = begun + 3_600_000;
        rig.change_update(made.id, |row| (row.state, row.heard_at) = (UpdateState::Offered.into(), ahead))
            .await;
        let mut tick = Tick::new(rig.services());
        if !is_restarted {
            tick.tick(ahead + 1_000, true).await.expect("ticks");
        }
        for second in (0..=890).step_by(10) {
            tick.tick(begun + second * 1000, true).await.expect("ticks");
        }
        assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
        for second in (900..=930).step_by(10) {
            tick.tick(begun + second * 1000, true).await.expect("ticks");
        }
        assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::TimedOut);
    }
}

#[tokio::test]
async fn what_was_offered_while_the_clock_stood_still_is_not_late() {
    let (rig, _device) = ready().await;
    let mut tick = Tick::new(rig.services());
    let begun = now_ms() - 7_200_000;
    tick.tick(begun, true).await.expect("ticks");
    // The link goes down for two hours, and in the middle of it something is offered by force.
    let made =
        rig.services().updates.check(&BY, &id("d1"), true).await.expect("decides").update.expect("made").id;
    rig.change_update(made, |row| row.heard_at = begun + 3_600_000).await;
    // The server's own clock goes on meanwhile, and would tell this one that somebody was alive.
    let write = rig.running.db.write(&BY).await.expect("writes");
    write.set_meta(meta::ALIVE_AT, &begun.to_string()).await.expect("set");
    write.commit().await.expect("committed");
    tick.tick(begun + 7_200_000, true).await.expect("ticks");
    assert_eq!(rig.show("d1").await.update.expect("made").state, UpdateState::Offered);
}

#[tokio::test]
async fn an_update_whose_trigger_was_never_sent_ends_and_says_so() {
    let (rig, device) = ready().await;
    let password = device.password.clone();
    drop(device);
    rig::until("it is offline", || async { !rig.show("d1").await.online }).await;
    // Connected, and not listening: nothing is sent.
    let _device = Actor::open(rig.mqtt_port(), "d1", &password);
    rig::until("it is online", || async { rig.show("d1").await.online }).await;
    assert_eq!(rig.decision("d1").await, "offered");
    let made = rig.show("d1").await.update.expect("made");
    let begun = update::by_id(&rig.running.db, made.id).await.expect("read").expect("there").heard_at;
    let mut tick = Tick::new(rig.services());
    for second in (0..=910).step_by(10) {
        tick.tick(begun + second * 1000, true).await.expect("ticks");
    }
    let update = rig.show("d1").await.update.expect("made");
    assert_eq!(update.state, UpdateState::TimedOut);
    assert_eq!(update.cause.expect("found out here").code, "trigger_not_sent");
    assert_eq!(rig.running.waiting(&[id("d1")]).await.expect("read"), 0, "it is not sent any more");
}
