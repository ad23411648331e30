//! What only PostgreSQL has: sessions that lock, updates within a page, its own refusals.

use std::time::Duration;

use super::super::connection::Query;
use super::*;
use crate::tests::rig::until;

/// A database for these tests; none where the tests run on SQLite.
fn on_postgres() -> Option<(TempDir, DatabaseConfig)> {
    std::env::var_os("UPDRAFT_TEST_DATABASE")?;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(database_url(folder.path()));
    Some((folder, config))
}

/// Whose session has the lock of a server.
async fn locker(db: &Db) -> Option<i32> {
    let sql = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted \
               AND (classid::bigint << 32) | objid::bigint = hashtextextended(current_schema(), 24048949738432116)";
    db.row(sql, vec![]).await.expect("read").map(|row| row.try_get_by_index(0).expect("a number"))
}

async fn end_session(db: &Db, pid: i32) {
    db.row("SELECT pg_terminate_backend($1, 5000)", vec![pid.into()]).await.expect("ended");
}

#[tokio::test]
async fn a_server_whose_session_ended_locks_again_or_stops_if_another_was_faster() {
    let Some((_folder, config)) = on_postgres() else { return };
    let (db, _lock) = Db::open_for_server(&config).await.expect("opens");
    let first = locker(&db).await.expect("locked");
    let refused = Db::open_for_server(&config).await.map(|_| ()).expect_err("there is one already");
    let refused = format!("{refused:#}");
    assert!(refused.contains("another Updraft server") && refused.contains("20 seconds"), "{refused}");
    end_session(&db, first).await;
    until("it is locked again", || async { locker(&db).await.is_some() }).await;
    let second = locker(&db).await.expect("locked");
    assert_ne!(first, second);
    assert_eq!(db.problem().await, None);
    end_session(&db, second).await;
    let (_other, _lock) = Db::open_for_server(&config).await.expect("it is free");
    tokio::time::timeout(Duration::from_secs(20), db.lost()).await.expect("it finds out");
    assert!(db.problem().await.expect("a problem").contains("Another server"));
}

#[tokio::test]
async fn a_report_that_changes_nothing_else_writes_no_index() {
    let Some((_folder, config)) = on_postgres() else { return };
    let db = Db::open(&config).await.expect("opens");
    let ids: Vec<DeviceId> = (0..1000).map(|n| id(&format!("d{n:04}"))).collect();
    let write = db.write(&BY).await.expect("writes");
    write.insert_devices(ids.clone(), 1).await.expect("inserted");
    let mut devices = write.lock_devices(&ids).await.expect("locked");
    for device in &mut devices {
        device.version = Some(Text("1.0.0".parse().expect("a version")));
        device.online_epoch = 1;
    }
    write.save(devices.iter_mut().map(|device| (device, None))).await.expect("saved");
    write.commit().await.expect("committed");
    let updates = async || -> (i64, i64) {
        let sql = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables \
                   WHERE relname = 'devices' AND schemaname = current_schema()";
        let row = db.row(sql, vec![]).await.expect("read").expect("a row");
        (row.try_get_by_index(0).expect("a number"), row.try_get_by_index(1).expect("a number"))
    };
    until("it is counted", || async { updates().await.0 >= 1000 }).await;
    let (before, hot_before) = updates().await;
    for round in 0..40_usize {
        let some: Vec<DeviceId> = ids.iter().skip(round % 10).step_by(10).cloned().collect();
        let write = db.write(&BY).await.expect("writes");
        let mut devices = write.lock_devices(&some).await.expect("locked");
        for device in &mut devices {
            device.last_seen = i64::try_from(round + 2).ok();
        }
        write.save(devices.iter_mut().map(|device| (device, None))).await.expect("saved");
        write.commit().await.expect("committed");
    }
    // Each session tells what it wrote after a second at the earliest, with its next statement.
    until("it is counted", || async { updates().await.0 - before >= 4000 }).await;
    let (after, hot_after) = updates().await;
    let (all, hot) = (after - before, hot_after - hot_before);
    println!("{hot} of {all} wrote no index");
    // None would, if an index had what changes. Not all do: where other tests' transactions are open, pages fill up.
    assert!(hot * 10 > all, "{hot} of {all}");
}

#[tokio::test]
async fn errors_that_pass_are_told_from_those_of_the_statement() {
    let Some((_folder, config)) = on_postgres() else { return };
    let db = Db::open(&config).await.expect("opens");
    for (code, failure) in [
        ("40P01", Failure::Busy),
        ("40001", Failure::Busy),
        ("55P03", Failure::Busy),
        ("57014", Failure::Away),
        ("08006", Failure::Away),
        ("53300", Failure::Away),
        ("25006", Failure::Away),
        ("57P01", Failure::Away),
        ("53100", Failure::Disk),
        ("XX001", Failure::Disk),
        ("22021", Failure::Invalid),
        ("23514", Failure::Other),
    ] {
        let write = db.write(&BY).await.expect("writes");
        let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$");
        let error = write.execute(&sql, vec![]).await.expect_err("it fails");
        assert_eq!(Failure::of(&error), failure, "{code}");
    }
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_with_what_to_do() {
    let Some((_folder, named)) = on_postgres() else { return };
    let db = Db::open(&named).await.expect("opens");
    let name = format!("latin_{}", std::process::id());
    let make = format!("CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0");
    db.rows(&make, vec![]).await.expect("made");
    let url = named.url.expose().replace("localhost/postgres", &format!("localhost/{name}"));
    let refusal = format!("{:#}", Db::open(&config(url)).await.expect_err("refused"));
    db.rows(&format!("DROP DATABASE {name}"), vec![]).await.expect("dropped");
    assert!(refusal.contains("LATIN1") && refusal.contains("--encoding=UTF8"), "{refusal}");
}

#[tokio::test]
async fn who_forgets_old_events_waits_for_nobody_who_removes_a_device() {
    let Some((_folder, config)) = on_postgres() else { return };
    let db = Db::open(&config).await.expect("opens");
    let mut write = db.write(&BY).await.expect("writes");
    for name in ["a", "b"] {
        let mut device = write.known(&id(name)).await;
        let update = an_update(&device.id);
        write.insert_update(&mut device, update).await.expect("inserted");
    }
    write.execute("UPDATE updates SET state = 'failed', finished_at = 100", vec![]).await.expect("ended");
    write.commit().await.expect("committed");
    let removing = db.write(&BY).await.expect("writes");
    let device = removing.lock_device(&id("a")).await.expect("locked").expect("there");
    removing.remove_device(device).await.expect("removed");
    let write = db.write(&BY).await.expect("writes");
    let forgotten = tokio::time::timeout(Duration::from_secs(5), write.forget_events(500)).await;
    assert_eq!(forgotten.expect("it waits for nobody").expect("forgotten"), 1, "the other one's");
    removing.commit().await.expect("committed");
    write.commit().await.expect("committed");
    let left = db.row("SELECT COUNT(*) FROM update_events", vec![]).await.expect("read").expect("a row");
    assert_eq!(left.try_get_by_index::<i64>(0).expect("a number"), 0);
}
