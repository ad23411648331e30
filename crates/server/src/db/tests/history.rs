//! Who did what, and what happened to updates: written with the rest or not at all, and never changed. On both databases.

use api::AuditQuery;
use serde_json::json;

use super::super::update_event::{self, FORGOTTEN_MAX};
use super::*;
use crate::actor::{Actor, ActorKind};

async fn entries(db: &Db) -> Vec<AuditEntry> {
    entries_after(db, 0).await
}

async fn entries_after(db: &Db, id: i64) -> Vec<AuditEntry> {
    audit::page(db, &AuditQuery { after: Some(id), ..AuditQuery::default() }, 100).await.expect("read")
}

async fn events(db: &Db, update: i64) -> Vec<update_event::Model> {
    update_event::of_update(db, update, 0, 10_000).await.expect("read")
}

#[tokio::test]
async fn an_entry_is_written_with_what_it_is_about_or_not_at_all() {
    let (_folder, db) = open().await;
    let by = Actor {
        kind: ActorKind::Person,
        name: "alice".into(),
        address: Some("192.0.2.1".parse().expect("an address")),
    };
    let mut write = db.write(&by).await.expect("writes");
    let mut device = write.known(&id("d1")).await;
    write.audit(Action::DEVICE_REGISTER, &"d1", json!(null), json!({ "product": "p" }));
    let update = an_update(&device.id);
    let number = write.insert_update(&mut device, update.clone()).await.expect("inserted");
    drop(write);
    assert_eq!((entries(&db).await, events(&db, number).await), (vec![], vec![]));
    let mut write = db.write(&by).await.expect("writes");
    let mut device = write.known(&id("d1")).await;
    write.insert_update(&mut device, update.clone()).await.expect("inserted");
    write.commit().await.expect("committed");
    let mut write = db.write(&by).await.expect("writes");
    let mut device = write.lock_device(&id("d1")).await.expect("read").expect("there");
    let error = write.insert_update(&mut device, update).await.expect_err("one in flight");
    assert!(is_duplicate(&error), "{error}");
    drop(write);
    let entries = entries(&db).await;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((entry.actor.as_str(), entry.actor_kind.as_str()), ("alice", "person"));
    assert_eq!((entry.address.as_deref(), entry.subject.as_str()), (Some("192.0.2.1"), "d1"));
    assert_eq!(entry.after.as_deref(), Some(&json!({ "version": "1.1.0", "forced": false })));
}

#[tokio::test]
async fn entries_are_read_in_the_order_of_their_commits() {
    let (_folder, db) = open().await;
    let writers = (0..20).map(|number| {
        let db = db.clone();
        async move {
            let mut write = db.write(&BY).await.expect("writes");
            write.audit(Action::DEVICE_CHANGE, &number, json!(null), json!(null));
            write.commit().await.expect("committed");
        }
    });
    let written = tokio::spawn(futures_util::future::join_all(writers));
    let (mut read, mut above) = (0, 0);
    while read < 20 {
        for entry in entries_after(&db, above).await {
            assert!(entry.id > above);
            (read, above) = (read + 1, entry.id);
        }
    }
    written.await.expect("written");
    assert_eq!(entries(&db).await.len(), 20, "nobody came in below");
}

#[tokio::test]
async fn what_happened_to_updates_that_ended_long_ago_is_forgotten_and_they_are_not() {
    let (_folder, db) = open().await;
    let mut numbers = Vec::new();
    for (name, finished_at) in [("old", Some(100)), ("new", Some(900)), ("waits", None)] {
        let mut write = db.write(&BY).await.expect("writes");
        let mut device = write.known(&id(name)).await;
        let update = an_update(&device.id);
        let number = write.insert_update(&mut device, update).await.expect("inserted");
        write.commit().await.expect("committed");
        let write = db.write(&BY).await.expect("writes");
        let (mut device, mut update) = write.lock_update(number).await.expect("read").expect("there");
        update.finished_at = finished_at;
        update.note("cancel", 100);
        write.save_both(&mut device, &update).await;
        write.commit().await.expect("committed");
        numbers.push(number);
    }
    for left in [[0, 2, 2]; 2] {
        let write = db.write(&BY).await.expect("writes");
        assert!(write.forget_events(500).await.expect("forgotten") < FORGOTTEN_MAX);
        write.commit().await.expect("committed");
        for (number, left) in numbers.iter().zip(left) {
            assert_eq!(events(&db, *number).await.len(), left);
            assert!(update::by_id(&db, *number).await.expect("read").is_some());
        }
    }
    let write = db.write(&BY).await.expect("writes");
    let device = write.lock_device(&id("new")).await.expect("read").expect("there");
    write.remove_device(device).await.expect("removed");
    write.commit().await.expect("committed");
    assert!(events(&db, numbers[1]).await.is_empty(), "a device goes with its history");
}

#[tokio::test]
async fn old_updates_are_forgotten_but_the_newest_and_those_that_count_against_an_image() {
    let (_folder, db) = open().await;
    let mut numbers = Vec::new();
    for (name, created_at, is_at_fault) in [
        ("a", 1, false),
        ("a", 2, true),
        ("a", 3, false),
        ("b", 4, false),
        ("a", 5, false),
        ("a", 900, false),
        ("a", 901, false),
    ] {
        let mut write = db.write(&BY).await.expect("writes");
        let mut device = write.known(&id(name)).await;
        let update = UpdateRow {
            state: Text(UpdateState::Failed),
            image_at_fault: is_at_fault,
            finished_at: Some(created_at),
            created_at,
            ..an_update(&device.id)
        };
        numbers.push(write.insert_update(&mut device, update).await.expect("inserted"));
        write.commit().await.expect("committed");
    }
    let write = db.write(&BY).await.expect("writes");
    assert_eq!(write.forget_updates(500, 0).await.expect("forgotten"), Some(numbers[4]));
    assert_eq!(write.forget_updates(500, numbers[4]).await.expect("forgotten"), None);
    write.commit().await.expect("committed");
    let left = update::by_ids(&db, &numbers).await.expect("read");
    let mut left: Vec<i64> = left.iter().map(|update| update.created_at).collect();
    left.sort_unstable();
    assert_eq!(left, [2, 4, 900, 901]);
}
