//! What is written is read, and nothing else is written. On SQLite and on PostgreSQL.

use std::collections::BTreeMap;

use api::DeviceReport;
use contract::ProductName;
use sea_orm::sea_query::SqliteQueryBuilder;
use sea_orm::{EntityTrait, QueryTrait};

use super::super::connection::Query;
use super::*;

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again_and_what_was_not_is_not() {
    let (folder, db) = open().await;
    let write = db.write().await.expect("writes");
    write.known(&id("d1")).await;
    write.commit().await.expect("committed");
    let write = db.write().await.expect("writes");
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
    let write = db.write().await.expect("writes");
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
    row.presence = Some(Text(contract::Presence::Offline));
    row.last_seen = Some(8);
    row.unreadable_count = 3;
    row.unreadable_last = Some("why".into());
    row.unreadable_at = Some(9);
    row.online_epoch = 4;
    let mut update = an_update(&row.id);
    update.outcome_before.clone_from(&row.last_outcome);
    let number = write.insert_update(&mut row, update).await.expect("inserted");
    write.commit().await.expect("committed");
    let write = db.write().await.expect("writes");
    let (mut device, mut update) = write.lock_update(number).await.expect("read").expect("there");
    assert_eq!((*device).clone(), (*row).clone());
    update.state = Text(UpdateState::Failed);
    update.phase = Some(Text(contract::Phase::Verify));
    update.set_why(Some(fleet::Why::Device("no".into())));
    update.image_at_fault = true;
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
    let write = db.write().await.expect("writes");
    write.insert_devices((0..900).map(|n| id(&format!("d{n}"))).collect(), 1).await.expect("inserted");
    write.commit().await.expect("committed");
    let ids: Vec<DeviceId> = (0..900).map(|n| id(&format!("d{n}"))).collect();
    let write = db.write().await.expect("writes");
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
    let write = db.write().await.expect("writes");
    let mut device = write.known(&id("d1")).await;
    let update = an_update(&device.id);
    let first = write.insert_update(&mut device, update.clone()).await.expect("inserted");
    write.commit().await.expect("committed");
    let write = db.write().await.expect("writes");
    let error = write.insert_update(&mut device, update.clone()).await.expect_err("refused");
    assert!(is_duplicate(&error), "{error}");
    drop(write);
    let write = db.write().await.expect("writes");
    let (mut device, mut ended) = write.lock_update(first).await.expect("read").expect("there");
    ended.state = Text(UpdateState::Cancelled);
    write.save_both(&mut device, &ended).await;
    assert!(write.insert_update(&mut device, update).await.expect("inserted") > first);
}

#[tokio::test]
async fn removing_a_device_removes_its_history_and_tags() {
    let (_folder, db) = open().await;
    let write = db.write().await.expect("writes");
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
async fn looking_for_silent_and_untriggered_updates_and_for_slots_uses_their_indexes() {
    let folder = tempfile::tempdir().expect("a folder");
    let db =
        Db::open(&config(format!("sqlite:{}/updraft.db", folder.path().display()))).await.expect("opens");
    let product: ProductName = "p".parse().expect("a product");
    for (select, index) in [
        (update::silent(1, 1).into_query(), "updates_silent"),
        (update::not_triggered(1, 1).into_query(), "updates_untriggered"),
        (device_list::by_slot(&product, &(1..=2)).into_query(), "devices_slot"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {}", select.to_string(SqliteQueryBuilder));
        let rows = db.rows(&sql, vec![]).await.expect("planned");
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").expect("a text")).collect();
        assert!(plan.iter().any(|line| line.contains(index)), "{plan:?}");
        assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE") && index == "devices_slot"), "{plan:?}");
    }
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
    let write = db.write().await.expect("writes");
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
        let write = db.write().await.expect("writes");
        let device = write.lock_device(&id(there)).await.expect("read").expect("there");
        write.remove_device(device).await.expect("removed");
        write.commit().await.expect("committed");
    }
    assert_eq!(smallest().await, None, "nobody else says what a slot can have");
}

/// All figures, as a walk through all devices gives them.
async fn walked(db: &Db) -> Vec<String> {
    let devices = device::Entity::find().all(db.connection()).await.expect("read");
    let numbers: Vec<i64> = devices.iter().filter_map(|device| device.update_id).collect();
    let updates = update::by_ids(db, &numbers).await.expect("read");
    let of = |product: Option<&ProductName>| {
        let (mut count, mut online, mut states) = (0, 0, BTreeMap::new());
        for device in &devices {
            if product.is_none() || device.product.as_deref() == product {
                count += 1;
                online += i32::from(device.online_epoch == db.epoch());
                if let Some(update) = updates.iter().find(|update| Some(update.id) == device.update_id) {
                    *states.entry(update.state.as_str()).or_insert(0) += 1;
                }
            }
        }
        format!("{count} {online} {states:?}")
    };
    vec![of(None), of(Some(&"p".parse().expect("a product"))), of(Some(&"q".parse().expect("a product")))]
}

async fn counted(db: &Db) -> Vec<String> {
    let figures = count::count(db).await.expect("counted");
    let of = |product: Option<&ProductName>| {
        let counts = figures.of(product);
        let states: BTreeMap<_, _> = counts.newest.iter().map(|(state, n)| (state.as_str(), *n)).collect();
        format!("{} {} {states:?}", counts.devices, counts.online)
    };
    vec![of(None), of(Some(&"p".parse().expect("a product"))), of(Some(&"q".parse().expect("a product")))]
}

#[tokio::test]
async fn figures_are_those_of_a_walk_through_all_devices() {
    let (_folder, db) = open().await;
    let mut random = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(seed);
    println!("SEED={random}");
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % 1_000_003).expect("small") % below
    };
    for step in 0..150 {
        let write = db.write().await.expect("writes");
        let mut device = write.known(&id(&format!("d{}", next(6)))).await;
        match next(5) {
            0 => {
                device.product =
                    [Some("p"), Some("q"), None][next(3)].map(|p| Text(p.parse().expect("a name")));
            }
            1 => device.online_epoch = i64::try_from(next(2)).expect("small"),
            2 if device.update_state.is_none_or(|state| !state.is_in_flight()) => {
                let update = an_update(&device.id);
                write.insert_update(&mut device, update).await.expect("inserted");
            }
            3 => {
                if let Some(number) = device.update_id {
                    let (_, mut update) = write.lock_update(number).await.expect("read").expect("there");
                    update.state = Text(UpdateState::ALL[next(8)]);
                    write.save_both(&mut device, &update).await;
                }
            }
            4 if next(3) == 0 => {
                write.remove_device(device).await.expect("removed");
                write.commit().await.expect("committed");
                continue;
            }
            _ => {}
        }
        write.save_device(&mut device).await.expect("saved");
        write.commit().await.expect("committed");
        assert_eq!(counted(&db).await, walked(&db).await, "after {step} steps");
    }
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::from(now.subsec_nanos()) | 1
}

#[test]
fn a_report_stored_before_there_were_lacks_is_still_read() {
    let stored =
        r#"{"chip":"esp32","slot":null,"state":null,"slot_bytes":null,"rollback":null,"reset":null}"#;
    let report: DeviceReport = serde_json::from_str(stored).expect("a report");
    assert!(report.lacks.is_empty());
}
