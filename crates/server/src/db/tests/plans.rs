//! Which indexes statements use, on both databases.

use api::AuditQuery;
use contract::ProductName;
use sea_orm::sea_query::{PostgresQueryBuilder, SqliteQueryBuilder};
use sea_orm::{QueryTrait, Select};

use super::super::connection::Query;
use super::super::device_list::DeviceFilter;
use super::super::presence::{self, Absent};
use super::super::rollout_device;
use super::super::silent;
use super::super::waiting::Waiting;
use super::*;

async fn plan(db: &Db, select: Select<impl sea_orm::EntityTrait>) -> String {
    let select = select.into_query();
    let (sqlite, postgres) = (SqliteQueryBuilder, PostgresQueryBuilder);
    explain(db, &if db.is_sqlite() { select.to_string(sqlite) } else { select.to_string(postgres) }).await
}

/// With its values in it.
async fn explain(db: &Db, sql: &str) -> String {
    let explain = if db.is_sqlite() { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
    let rows = db.rows(&format!("{explain} {sql}"), vec![]).await.expect("planned");
    let line = |row: &sea_orm::QueryResult| -> String {
        if db.is_sqlite() { row.try_get("", "detail") } else { row.try_get_by_index(0) }.expect("a text")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Of 20,000 devices a few are what is asked for.
async fn filled() -> (TempDir, Db) {
    let (folder, db) = open().await;
    let numbers = if db.is_sqlite() {
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) SELECT n FROM s)"
    } else {
        "(SELECT generate_series(1, 20000) AS n)"
    };
    let write = db.write(&BY).await.expect("writes");
    let insert = format!(
        "INSERT INTO devices (id, product, update_state, online_epoch, waiting, slot_bytes, last_seen, created_at) \
         SELECT 'd' || n, CASE WHEN n % 2 = 0 THEN 'p' ELSE 'q' END, \
         CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'succeeded' END, CASE WHEN n % 500 = 0 THEN 1 ELSE 0 END, CASE WHEN n % 700 = 0 THEN 1 WHEN n % 900 = 0 THEN 2 ELSE 0 END, n, 1, 1 \
         FROM {numbers} AS numbers"
    );
    write.execute(&insert, vec![]).await.expect("inserted");
    let insert = format!(
        "INSERT INTO updates (device, product, to_version, object_key, bytes, state, created_at, heard_at, triggered_at, finished_at) \
         SELECT 'd' || n, 'p', '1.0.0', 'k', 1, CASE WHEN n % 500 = 0 THEN 'offered' ELSE 'failed' END, 1, n, \
         CASE WHEN n % 1000 = 0 THEN NULL ELSE 1 END, CASE WHEN n % 500 = 0 THEN NULL ELSE n END FROM {numbers} AS numbers"
    );
    write.execute(&insert, vec![]).await.expect("inserted");
    let insert = format!(
        "INSERT INTO audit (at, actor_kind, actor, action, subject_kind, subject) SELECT n, 'person', \
         CASE WHEN n % 1000 = 0 THEN 'alice' ELSE 'bob' END, CASE WHEN n % 1000 = 1 THEN 'user.create' ELSE 'login' END, 'user', 'd' || n \
         FROM {numbers} AS numbers"
    );
    for insert in [
        insert.as_str(),
        "INSERT INTO device_ids (id) SELECT id FROM devices",
        "INSERT INTO update_events (update_id, at, kind, actor_kind, actor, to_state, reason, done) \
         SELECT id, heard_at, 'offered', 'system', 'server', 'offered', '', 0 FROM updates",
    ] {
        write.execute(insert, vec![]).await.expect("inserted");
    }
    write.commit().await.expect("committed");
    let write = db.write(&BY).await.expect("writes");
    if !db.is_sqlite() {
        // What autovacuum does: before that, the index of trigrams has a list of what is new.
        write.row("SELECT gin_clean_pending_list('device_ids_trigrams')", vec![]).await.expect("cleaned");
    }
    write.execute("ANALYZE", vec![]).await.expect("analyzed");
    write.commit().await.expect("committed");
    (folder, db)
}

#[tokio::test]
async fn what_is_asked_for_often_is_found_by_its_index() {
    let (_folder, db) = filled().await;
    let product: ProductName = "p".parse().expect("a product");
    let states = &[UpdateState::Failed][..];
    let list = |filter: DeviceFilter<'_>| device_list::filtered(&filter, None, 100);
    for (select, index) in [
        (device_list::by_slot(&product, &(1..=20)), "devices_slot"),
        (list(DeviceFilter { states, ..DeviceFilter::default() }), "devices_state"),
        (
            list(DeviceFilter { states, product: Some(&product), ..DeviceFilter::default() }),
            "devices_product_state",
        ),
        (list(DeviceFilter { epoch: Some(1), ..DeviceFilter::default() }), "devices_online"),
        (
            list(DeviceFilter { epoch: Some(1), product: Some(&product), ..DeviceFilter::default() }),
            "devices_product_online",
        ),
        (presence::ids_of(Absent::SilentSince(5), 1), "devices_online"),
        (presence::ids_of(Absent::Earlier, 1), "devices_online"),
        (list(DeviceFilter { group: Some("lab"), ..DeviceFilter::default() }), "devices_group"),
        (list(DeviceFilter { pin: Some("hold"), ..DeviceFilter::default() }), "devices_pin"),
        (waiting::above(Waiting::Online(1), "d5", 500), "devices_waiting"),
        (waiting::above(Waiting::Forced, "d5", 500), "devices_forced"),
    ] {
        let plan = plan(&db, select).await;
        assert!(plan.contains(index), "{index}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{index}: {plan}");
    }
    let build = ["0123 p 1.0.0".to_owned()];
    let builds = device_list::Builds::Among(&build);
    let built = plan(&db, list(DeviceFilter { builds, ..DeviceFilter::default() })).await;
    assert!(built.contains("devices_build") && !built.contains("TEMP B-TREE"), "{built}");
    let distinct = explain(&db, &image::distinct_builds()).await;
    assert!(distinct.contains("devices_build"), "{distinct}");
    assert!(!distinct.contains("Seq Scan on devices") && !distinct.contains("SCAN devices"), "{distinct}");
    let silent = plan(&db, silent::silent(0, 5, 100)).await;
    assert!(silent.contains("updates_silent"), "{silent}");
    let deferred = plan(&db, silent::deferred(5, 100)).await;
    assert!(deferred.contains("updates_deferred"), "{deferred}");
}

#[tokio::test]
async fn entries_of_the_audit_are_found_by_whatever_they_are_asked_for_by() {
    let (_folder, db) = filled().await;
    let query = AuditQuery::default;
    let text = |text: &str| Some(text.to_owned());
    for (asked, index) in [
        (AuditQuery { actor: text("alice"), ..query() }, "audit_actor"),
        (AuditQuery { action: text("user.create"), ..query() }, "audit_action"),
        (AuditQuery { subject: text("d7"), ..query() }, "audit_subject"),
        (AuditQuery { actor: text("alice"), after: Some(5), ..query() }, "audit_actor"),
        (AuditQuery { subject: text("d7"), before: Some(5), ..query() }, "audit_subject"),
    ] {
        let plan = plan(&db, audit::selected(&asked, 100)).await;
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{index}: {plan}");
    }
    let last = plan(&db, audit::selected(&query(), 100)).await;
    assert!(
        last.contains("audit_pkey") || last == "SEARCH audit USING INTEGER PRIMARY KEY (rowid<?)",
        "{last}"
    );
}

#[tokio::test]
async fn old_events_and_parts_of_ids_are_found_by_their_indexes() {
    let (_folder, db) = filled().await;
    let forget = update_event::forget(db.is_sqlite()).replace("$1", "50").replace("$2", "5000");
    let plan = explain(&db, &forget).await;
    assert!(plan.contains("update_events_at"), "{plan}");
    let (part, index) = if db.is_sqlite() {
        ("'\"7777\"'", "VIRTUAL TABLE INDEX")
    } else {
        ("'%7777%'", "device_ids_trigrams")
    };
    let with_text = device_list::with_text(db.is_sqlite()).replace("$1", part);
    let plan = explain(&db, &with_text.replace("$2", "''").replace("$3", "10001")).await;
    assert!(plan.contains(index), "{plan}");
}

#[tokio::test]
async fn who_waits_for_a_rollout_and_is_there_is_found_without_the_others() {
    let (_folder, db) = filled().await;
    let write = db.write(&BY).await.expect("writes");
    let flag = if db.is_sqlite() { "0" } else { "FALSE" };
    let rollouts = format!(
        "INSERT INTO rollouts (product, version, object_key, request, state, is_open, step, opened, is_blocked, left_out, created_by, created_at) \
         SELECT 'p', '1.0.0', 'k', '{{}}', 'done', {flag}, 0, 1, {flag}, '[]', 'x', 1 FROM devices WHERE slot_bytes <= 500"
    );
    for sql in [
        rollouts.as_str(),
        "INSERT INTO rollout_devices (rollout, device, step, state) SELECT 1, id, 0, 'waiting' FROM devices",
        "UPDATE devices SET rollout = 1",
    ] {
        write.execute(sql, vec![]).await.expect("written");
    }
    write.commit().await.expect("committed");
    let write = db.write(&BY).await.expect("writes");
    write.execute("ANALYZE", vec![]).await.expect("analysed");
    write.commit().await.expect("committed");
    let filled_in = |sql: &str| sql.replace("$1", "1").replace("$2", "1").replace("$3", "100");
    let candidates = explain(&db, &filled_in(rollout_device::CANDIDATES)).await;
    let is_indexed = candidates.contains("devices_rollout") || candidates.contains("devices_online");
    assert!(is_indexed && !candidates.contains("SCAN"), "{candidates}");
    let is_open = if db.is_sqlite() { "is_open = 1" } else { "is_open" };
    let open = explain(&db, &format!("SELECT * FROM rollouts WHERE {is_open} ORDER BY id")).await;
    assert!(open.contains("rollouts_open"), "{open}");
    let counted = explain(&db, &filled_in(rollout_device::COUNTS)).await;
    assert!(counted.contains("rollout_devices"), "{counted}");
}
