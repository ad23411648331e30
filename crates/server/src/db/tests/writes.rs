//! What is written is read, and nothing else is written. On SQLite and on PostgreSQL.

use api::DeviceReport;
use contract::ProductName;

use super::*;
use crate::db::known_presence::KnownPresence;

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again_and_what_was_not_is_not() {
    let (folder, db) = open().await;
    let write = db.write(&BY).await.expect("writes");
    write.known(&id("d1")).await;
    write.commit().await.expect("committed");
    let write = db.write(&BY).await.expect("writes");
    let device = write.lock_device(&id("d1")).await.expect("read").expect("there");
    write.set_tags(&device, &["lost".to_owned()]).await.expect("set");
    drop(write);
    db.close().await.expect("closes");
    let db = Db::open(&config(database_url(folder.path()))).await.expect("opens");
    assert_eq!(device::by_id(&db, &id("d1")).await.expect("read").expect("there").created_at, 5);
    assert!(tag::of_devices(&db, &[id("d1")]).await.expect("read").is_empty());
}

#[tokio::test]
async fn every_column_of_a_device_and_an_update_is_read_as_it_was_written() {
    let (_folder, db) = open().await;
    let mut write = db.write(&BY).await.expect("writes");
    let mut row = write.known(&id("d2")).await;
    row.product = Some(Text("p".parse().expect("a product")));
    row.product_is_set = true;
    row.password_sha256 = Some("aa".into());
    row.version = Some(Text("1.0.0-rc.1+b".parse().expect("a version")));
    row.sha256 = Some(Text(contract::Sha256([9; 32])));
    let (chip, lacks) = (Some("esp32".into()), vec!["signatures".into()]);
    row.report = Some(Text(DeviceReport { chip, lacks, ..Default::default() }));
    row.report_digest = Some("digest".into());
    row.slot_bytes = Some(1_966_080);
    let failed = contract::LastOutcome { to: None, result: contract::Outcome::Failed, reason: None };
    row.last_outcome = Some(Text(failed));
    row.presence = Some(Text(KnownPresence::Offline));
    row.last_seen = Some(8);
    row.unreadable_count = 3;
    row.unreadable_last = Some("why".into());
    row.unreadable_at = Some(9);
    row.online_epoch = 4;
    let mut update = an_update(&row.id);
    update.outcome_before.clone_from(&row.last_outcome);
    let number = write.insert_update(&mut row, update).await.expect("inserted");
    write.commit().await.expect("committed");
    let write = db.write(&BY).await.expect("writes");
    let (mut device, mut update) = write.lock_update(number).await.expect("read").expect("there");
    assert_eq!((*device).clone(), (*row).clone());
    update.state = Text(UpdateState::Failed);
    update.phase = Some(Text(contract::Phase::Verify));
    update.set_why(Some(fleet::Why::Device("no".into())));
    update.image_at_fault = true;
    update.lasting_refusal = Some(Text(contract::Code::WrongProject));
    update.forced = true;
    update.finished_at = Some(99);
    update.triggered_at = Some(98);
    write.save_both(&mut device, &update).await;
    write.commit().await.expect("committed");
    assert_eq!(
        device.update_state,
        Some(Text(UpdateState::Failed)),
        "a device has its newest update's state"
    );
    assert_eq!(device::by_id(&db, &row.id).await.expect("read"), Some((*device).clone()));
    let written = update::by_id(&db, number).await.expect("read").expect("there");
    assert_eq!(written.why(), Some(fleet::Why::Device("no".into())));
    assert_eq!(written, *update);
}

#[tokio::test]
async fn only_what_changed_is_written() {
    let (_folder, db) = open().await;
    let write = db.write(&BY).await.expect("writes");
    write.insert_devices((0..900).map(|n| id(&format!("d{n}"))).collect(), 1).await.expect("inserted");
    write.commit().await.expect("committed");
    let ids: Vec<DeviceId> = (0..900).map(|n| id(&format!("d{n}"))).collect();
    let write = db.write(&BY).await.expect("writes");
    let mut devices = write.lock_devices(&ids).await.expect("locked");
    // Somebody else's write of another column, which on PostgreSQL would have had to wait for the lock.
    write.execute("UPDATE devices SET product = 'mine'", vec![]).await.expect("set");
    for (number, device) in devices.iter_mut().enumerate() {
        device.last_seen = Some(i64::try_from(number).expect("small"));
        device.unreadable_last = (number % 2 == 0).then(|| "odd".to_owned());
    }
    write.save(devices.iter_mut().map(|device| (device, None))).await.expect("saved");
    write.commit().await.expect("committed");
    for row in device::by_ids(&db, &ids).await.expect("read") {
        let saved = devices.iter().find(|device| device.id == row.id).expect("there");
        assert_eq!(row.product, Some(Text("mine".parse().expect("a product"))));
        assert_eq!((row.last_seen, &row.unreadable_last), (saved.last_seen, &saved.unreadable_last));
    }
}

#[tokio::test]
async fn a_device_has_one_update_in_flight_at_most() {
    let (_folder, db) = open().await;
    let mut write = db.write(&BY).await.expect("writes");
    let mut device = write.known(&id("d1")).await;
    let update = an_update(&device.id);
    let first = write.insert_update(&mut device, update.clone()).await.expect("inserted");
    write.commit().await.expect("committed");
    let mut write = db.write(&BY).await.expect("writes");
    let error = write.insert_update(&mut device, update.clone()).await.expect_err("refused");
    assert!(is_duplicate(&error), "{error}");
    drop(write);
    let mut write = db.write(&BY).await.expect("writes");
    let (mut device, mut ended) = write.lock_update(first).await.expect("read").expect("there");
    ended.state = Text(UpdateState::Cancelled);
    write.save_both(&mut device, &ended).await;
    let second = write.insert_update(&mut device, update).await.expect("inserted");
    assert!(second > first);
    write.commit().await.expect("committed");
    let write = db.write(&BY).await.expect("writes");
    let (mut device, mut older) = write.lock_update(first).await.expect("read").expect("there");
    older.state = Text(UpdateState::Failed);
    write.save_both(&mut device, &older).await;
    write.commit().await.expect("committed");
    let device = device::by_id(&db, &id("d1")).await.expect("read").expect("there");
    assert_eq!((device.update_id, device.update_state), (Some(second), Some(Text(UpdateState::Offered))));
}

#[tokio::test]
async fn a_device_waits_while_its_newest_update_is_in_flight_without_a_trigger() {
    let (_folder, db) = open().await;
    let ids: Vec<DeviceId> = (0..900).map(|n| id(&format!("d{n}"))).collect();
    let mut write = db.write(&BY).await.expect("writes");
    write.insert_devices(ids.clone(), 1).await.expect("inserted");
    let mut devices = write.lock_devices(&ids).await.expect("locked");
    let mut new: Vec<_> = devices
        .iter_mut()
        .map(|device| {
            let update = an_update(&device.id);
            (device, update)
        })
        .collect();
    new[1].1.forced = true;
    let made = write.insert_updates(&mut new).await.expect("inserted");
    write.commit().await.expect("committed");
    for (device, number) in devices.iter().zip(&made) {
        let update = update::by_id(&db, *number).await.expect("read").expect("there");
        assert_eq!((&update.device, device.update_id), (&device.id, Some(*number)), "each has its own");
    }
    assert_eq!(waiting::updates_of(&db, &ids).await.expect("read").len(), 900);
    for (state, triggered_at, expected) in [
        (UpdateState::Offered, Some(9), 0),
        (UpdateState::Downloading, None, 1),
        (UpdateState::Cancelled, None, 0),
    ] {
        let write = db.write(&BY).await.expect("writes");
        let (mut device, mut update) = write.lock_update(made[0]).await.expect("read").expect("there");
        (update.state, update.triggered_at) = (Text(state), triggered_at);
        write.save_both(&mut device, &update).await;
        write.commit().await.expect("committed");
        assert_eq!(device.waiting, expected, "{state}");
    }
    assert_eq!(device::by_id(&db, &devices[1].id).await.expect("read").expect("there").waiting, 2);
    assert_eq!(waiting::updates_of(&db, &ids).await.expect("read").len(), 899);
}

#[tokio::test]
async fn removing_a_device_removes_its_history_and_tags() {
    let (_folder, db) = open().await;
    let mut write = db.write(&BY).await.expect("writes");
    let mut device = write.known(&id("d1")).await;
    let update = an_update(&device.id);
    let number = write.insert_update(&mut device, update).await.expect("inserted");
    write.set_tags(&device, &["lab".to_owned()]).await.expect("set");
    write.remove_device(device).await.expect("removed");
    write.commit().await.expect("committed");
    assert_eq!(update::by_id(&db, number).await.expect("read"), None);
    assert!(tag::of_devices(&db, &[id("d1")]).await.expect("read").is_empty());
}

#[tokio::test]
async fn the_smallest_slot_that_can_be_one_is_found_with_its_device() {
    let (_folder, db) = open().await;
    let product: ProductName = "p".parse().expect("a product");
    let smallest = async || {
        let found = device_list::smallest_slot(&db, &product, &(65_536..=16_777_216)).await.expect("read");
        found.map(|(device, bytes)| (device.as_str().to_owned(), bytes))
    };
    assert_eq!(smallest().await, None);
    let write = db.write(&BY).await.expect("writes");
    for (name, product, slot) in [
        ("large", "p", Some(2_000_000)),
        ("small", "p", Some(1_000_000)),
        ("wrong", "p", Some(1)),
        ("vast", "p", Some(i64::from(u32::MAX))),
        ("silent", "p", None),
        ("other", "q", Some(70_000)),
    ] {
        let mut device = write.known(&id(name)).await;
        device.product = Some(Text(product.parse().expect("a product")));
        device.slot_bytes = slot;
        write.save_device(&mut device).await.expect("saved");
    }
    write.commit().await.expect("committed");
    for (there, bytes) in [("small", 1_000_000), ("large", 2_000_000)] {
        assert_eq!(smallest().await, Some((there.to_owned(), bytes)));
        let write = db.write(&BY).await.expect("writes");
        let device = write.lock_device(&id(there)).await.expect("read").expect("there");
        write.remove_device(device).await.expect("removed");
        write.commit().await.expect("committed");
    }
    assert_eq!(smallest().await, None, "nobody else says what a slot can have");
}

#[test]
fn a_report_stored_before_there_were_lacks_is_still_read() {
    let stored =
        r#"{"chip":"esp32","slot":null,"state":null,"slot_bytes":null,"rollback":null,"reset":null}"#;
    let report: DeviceReport = serde_json::from_str(stored).expect("a report");
    assert!(report.lacks.is_empty());
}

async fn metas(db: &Db) -> Vec<String> {
    let rows = db.rows("SELECT name FROM meta WHERE name LIKE 'test%' ORDER BY name", vec![]).await;
    rows.expect("read").iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
}

#[tokio::test]
async fn a_transaction_in_which_a_statement_failed_writes_nothing_more() {
    let (_folder, db) = open().await;
    let write = db.write(&BY).await.expect("writes");
    write.set_meta("test before", "1").await.expect("set");
    write.execute("INSERT INTO meta (name, value) VALUES ('test', NULL)", vec![]).await.expect_err("refused");
    write.set_meta("test after", "1").await.expect_err("nothing more is done");
    write.commit().await.expect_err("it failed");
    assert!(metas(&db).await.is_empty());
    assert_eq!(db.problem().await, None, "the statement was at fault");
}

#[tokio::test]
async fn a_transaction_that_the_database_ended_by_itself_spoils_no_later_one() {
    let (folder, db) = open().await;
    // As on a full disk; PostgreSQL ends the whole session then.
    let end = if db.is_sqlite() { "ROLLBACK" } else { "SELECT pg_terminate_backend(pg_backend_pid())" };
    // More of them than there are connections.
    for n in 0..20 {
        let write = db.write(&BY).await.expect("writes");
        write.set_meta(&format!("test {n}"), "1").await.expect("set");
        let _ = write.execute(end, vec![]).await;
        write.commit().await.expect_err("it is not there any more");
        let write = db.write(&BY).await.expect("writes");
        write.set_meta(&format!("test dropped {n}"), "1").await.expect("set");
    }
    let write = db.write(&BY).await.expect("writes");
    write.set_meta("test last", "1").await.expect("set");
    write.commit().await.expect("committed");
    let other = Db::open(&config(database_url(folder.path()))).await.expect("opens");
    assert_eq!(metas(&other).await, ["test last"], "what was acknowledged is there, and nothing else");
}
