//! Which indexes statements use, on both databases.

use contract::ProductName;
use sea_orm::sea_query::{PostgresQueryBuilder, SqliteQueryBuilder};
use sea_orm::{QueryTrait, Select};

use super::super::connection::Query;
use super::super::device_list::DeviceFilter;
use super::super::presence::{self, Absent};
use super::super::waiting::Waiting;
use super::*;

async fn plan(db: &Db, select: Select<impl sea_orm::EntityTrait>) -> String {
    let (explain, sql) = if db.is_sqlite() {
        ("EXPLAIN QUERY PLAN", select.into_query().to_string(SqliteQueryBuilder))
    } else {
        ("EXPLAIN", select.into_query().to_string(PostgresQueryBuilder))
    };
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
        "INSERT INTO updates (device, product, to_version, object_key, bytes, state, created_at, heard_at, triggered_at) \
         SELECT 'd' || n, 'p', '1.0.0', 'k', 1, CASE WHEN n % 500 = 0 THEN 'offered' ELSE 'failed' END, 1, n, \
         CASE WHEN n % 1000 = 0 THEN NULL ELSE 1 END FROM {numbers} AS numbers"
    );
    write.execute(&insert, vec![]).await.expect("inserted");
    write.commit().await.expect("committed");
    let write = db.write(&BY).await.expect("writes");
    write.execute("ANALYZE", vec![]).await.expect("analyzed");
    write.commit().await.expect("committed");
    (folder, db)
}

#[tokio::test]
async fn what_is_asked_for_often_is_found_by_its_index() {
    let (_folder, db) = filled().await;
    let product: ProductName = "p".parse().expect("a product");
    let state = Some(UpdateState::Failed);
    let list = |filter: DeviceFilter<'_>| device_list::filtered(&filter, None, 100);
    for (select, index) in [
        (device_list::by_slot(&product, &(1..=20)), "devices_slot"),
        (list(DeviceFilter { state, ..DeviceFilter::default() }), "devices_state"),
        (
            list(DeviceFilter { state, product: Some(&product), ..DeviceFilter::default() }),
            "devices_product_state",
        ),
        (list(DeviceFilter { epoch: Some(1), ..DeviceFilter::default() }), "devices_online"),
        (
            list(DeviceFilter { epoch: Some(1), product: Some(&product), ..DeviceFilter::default() }),
            "devices_product_online",
        ),
        (presence::ids_of(Absent::SilentSince(5), 1), "devices_online"),
        (presence::ids_of(Absent::Earlier, 1), "devices_online"),
        (waiting::above(Waiting::Online(1), "d5", 500), "devices_waiting"),
        (waiting::above(Waiting::Forced, "d5", 500), "devices_forced"),
    ] {
        let plan = plan(&db, select).await;
        assert!(plan.contains(index), "{index}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{index}: {plan}");
    }
    let plan = plan(&db, update::silent(5, 100)).await;
    assert!(plan.contains("updates_silent"), "{plan}");
}
