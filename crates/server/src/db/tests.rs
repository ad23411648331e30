use std::path::Path;
use std::sync::Arc;

use contract::DeviceId;
use fleet::UpdateState;
use sea_orm::DbBackend;

use super::connection::{Query, statement};
use super::device::{self, DeviceRow};
use super::device_list;
use super::open::{connect, create_private};
use super::update::UpdateRow;
use super::*;
use crate::config::Secret;

async fn open(folder: &Path) -> Db {
    Db::open(&url(folder)).await.expect("opens")
}

fn url(folder: &Path) -> Secret {
    Secret::new(format!("sqlite:{}", folder.join("data folder/updraft.db").display()))
}

fn an_update(device: &DeviceId) -> UpdateRow {
    UpdateRow {
        id: 0,
        device: device.clone(),
        product: "p".parse().expect("a product"),
        from: Some("1.0.0".parse().expect("a version")),
        to: "1.1.0".parse().expect("a version"),
        object_key: "p/releases/v1.1.0/firmware.bin".to_owned(),
        sha256: Some(contract::Sha256([1; 32])),
        bytes: 10,
        state: UpdateState::Offered,
        why: None,
        phase: None,
        done: 0,
        forced: false,
        outcome_before: None,
        url_requests: 0,
        image_at_fault: false,
        created_at: 1,
        heard_at: 1,
        triggered_at: None,
        finished_at: None,
    }
}

async fn with_device(db: &Db) -> DeviceId {
    let id: DeviceId = "d1".parse().expect("an id");
    let write = db.write().await.expect("writes");
    write.save_devices(&[&DeviceRow::new(id.clone(), 5)]).await.expect("saved");
    write.commit().await.expect("committed");
    id
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again_and_what_was_not_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    let id = with_device(&db).await;
    let write = db.write().await.expect("writes");
    write.set_tags(&id, &["lost".to_owned()]).await.expect("set");
    drop(write);
    db.close().await.expect("closes");
    let db = open(folder.path()).await;
    assert_eq!(device::by_id(&db, &id).await.expect("read").expect("there").created_at, 5);
    assert!(device::tags(&db, &[id]).await.expect("read").is_empty());
}

#[tokio::test]
async fn every_column_of_a_device_and_an_update_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    let mut row = DeviceRow::new("d2".parse().expect("an id"), 7);
    row.product = Some("p".parse().expect("a product"));
    row.version = Some("1.0.0-rc.1+b".parse().expect("a version"));
    row.sha256 = Some(contract::Sha256([9; 32]));
    row.report = Some(api::DeviceReport {
        chip: Some("esp32".into()),
        lacks: vec!["signatures".into()],
        ..Default::default()
    });
    row.last_outcome =
        Some(contract::LastOutcome { to: None, result: contract::Outcome::Failed, reason: None });
    row.presence = Some(contract::Presence::Offline);
    row.last_seen = Some(8);
    row.unreadable_count = 3;
    row.unreadable_last = Some("why".into());
    row.unreadable_at = Some(9);
    let write = db.write().await.expect("writes");
    write.save_devices(&[&row]).await.expect("saved");
    let mut update = an_update(&row.id);
    update.outcome_before.clone_from(&row.last_outcome);
    update.id = write.insert_update(&update).await.expect("inserted");
    update.state = UpdateState::Failed;
    update.phase = Some(contract::Phase::Verify);
    update.why = Some(fleet::Why::Device("no".into()));
    update.image_at_fault = true;
    update.finished_at = Some(99);
    write.save_update(&update).await.expect("saved");
    write.commit().await.expect("committed");
    row.update_id = Some(update.id);
    assert_eq!(device::by_id(&db, &row.id).await.expect("read"), Some(row));
    assert_eq!(update::by_id(&db, update.id).await.expect("read"), Some(update));
}

#[tokio::test]
async fn a_device_has_one_update_in_flight_at_most() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    let id = with_device(&db).await;
    let write = db.write().await.expect("writes");
    let mut first = an_update(&id);
    first.id = write.insert_update(&first).await.expect("inserted");
    let error = write.insert_update(&first).await.expect_err("refused");
    assert!(is_duplicate(&error), "{error}");
    first.state = UpdateState::Cancelled;
    write.save_update(&first).await.expect("saved");
    assert!(write.insert_update(&first).await.expect("inserted") > first.id);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    let write = db.write().await.expect("writes");
    write.execute("UPDATE schema_version SET version = 99", vec![]).await.expect("set");
    write.commit().await.expect("committed");
    db.close().await.expect("closes");
    let refusal = format!("{:#}", Db::open(&url(folder.path())).await.expect_err("refused"));
    assert!(refusal.contains("newer Updraft") && refusal.contains("database.url"), "{refusal}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_which_key() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "").expect("written");
    let url = Secret::new(format!("sqlite:{}/file/updraft.db", folder.path().display()));
    let refusal = format!("{:#}", Db::open(&url).await.expect_err("refused"));
    assert!(refusal.contains("database.url"), "{refusal}");
    let refusal =
        format!("{:#}", Db::open(&Secret::new("postgres://u:geheim@h/d")).await.expect_err("refused"));
    assert!(refusal.contains("SQLite only") && !refusal.contains("geheim"), "{refusal}");
}

#[tokio::test]
async fn removing_a_device_removes_its_history_and_tags() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    let id = with_device(&db).await;
    let write = db.write().await.expect("writes");
    let update = write.insert_update(&an_update(&id)).await.expect("inserted");
    write.set_tags(&id, &["lab".to_owned()]).await.expect("set");
    assert!(write.remove_device(&id).await.expect("removed"));
    write.commit().await.expect("committed");
    assert_eq!(update::by_id(&db, update).await.expect("read"), None);
    assert!(device::tags(&db, &[id]).await.expect("read").is_empty());
}

#[tokio::test]
async fn looking_for_silent_and_untriggered_updates_and_for_slots_uses_their_indexes() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    for (sql, index) in [
        (update::SILENT, "updates_silent"),
        (update::UNTRIGGERED, "updates_untriggered"),
        (device_list::SMALLEST_SLOT, "devices_slot"),
    ] {
        let rows = db.rows(&format!("EXPLAIN QUERY PLAN {sql}"), vec![1_i64.into(), 1_i64.into()]).await;
        let plan: Vec<String> =
            rows.expect("planned").iter().map(|row| row.try_get("", "detail").expect("a text")).collect();
        assert!(plan.iter().any(|line| line.contains(index)), "{plan:?}");
        assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE") && index == "devices_slot"), "{plan:?}");
    }
}

#[tokio::test]
async fn the_smallest_slot_that_can_be_one_is_found_with_its_device() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    let product: contract::ProductName = "p".parse().expect("a product");
    let smallest = async || {
        let found = device_list::smallest_slot(&db, &product, &(65_536..=16_777_216)).await.expect("read");
        found.map(|(device, bytes)| (device.as_str().to_owned(), bytes))
    };
    assert_eq!(smallest().await, None);
    let row = |id: &str, product: &str, slot_bytes| {
        let report = api::DeviceReport { slot_bytes, ..Default::default() };
        let product = Some(product.parse().expect("a product"));
        DeviceRow { product, report: Some(report), ..DeviceRow::new(id.parse().expect("an id"), 1) }
    };
    let rows = [
        row("large", "p", Some(2_000_000)),
        row("small", "p", Some(1_000_000)),
        row("wrong", "p", Some(1)),
        row("vast", "p", Some(u32::MAX)),
        row("silent", "p", None),
        row("other", "q", Some(70_000)),
    ];
    let write = db.write().await.expect("writes");
    write.save_devices(&rows.iter().collect::<Vec<_>>()).await.expect("saved");
    write.commit().await.expect("committed");
    assert_eq!(smallest().await, Some(("small".to_owned(), 1_000_000)));
    let write = db.write().await.expect("writes");
    write.remove_device(&rows[1].id).await.expect("removed");
    write.commit().await.expect("committed");
    assert_eq!(smallest().await, Some(("large".to_owned(), 2_000_000)));
    let write = db.write().await.expect("writes");
    write.remove_device(&rows[0].id).await.expect("removed");
    write.commit().await.expect("committed");
    assert_eq!(smallest().await, None, "nobody else says what a slot can have");
}

/// Every number on the dashboard, as the writes keep it and as a scan of all devices gives it.
async fn kept_and_counted(db: &Db) -> (Vec<String>, Vec<String>) {
    let products = [None, Some("p"), Some("q")].map(|product| product.map(|p| p.parse().expect("a product")));
    let mut kept = Vec::new();
    for product in &products {
        let count = device_list::count(db, product.as_ref()).await.expect("counted");
        let mut states = update::newest_states(db, product.as_ref()).await.expect("counted");
        states.sort_by_key(|(state, _)| state.as_str());
        kept.push(format!("{count} {states:?}"));
    }
    kept.push(format!("{:?}", device_list::products(db).await.expect("counted")));
    let mut counted = Vec::new();
    let rows = db.rows(
        "SELECT d.product AS product, u.state AS state FROM devices d LEFT JOIN updates u ON u.id = d.update_id",
        vec![],
    );
    let rows: Vec<(Option<contract::ProductName>, Option<UpdateState>)> = (rows.await.expect("read").iter())
        .map(|row| {
            let state: Option<String> = row.try_get("", "state").expect("a text");
            (
                connection::parsed(row, "product").expect("a name"),
                state.and_then(|word| UpdateState::from_word(&word)),
            )
        })
        .collect();
    for product in &products {
        let of = rows.iter().filter(|(of, _)| product.is_none() || of == product);
        let mut states = std::collections::BTreeMap::new();
        for state in of.clone().filter_map(|(_, state)| *state) {
            *states.entry(state.as_str()).or_insert((state, 0_u64)) =
                (state, states.get(state.as_str()).map_or(0, |(_, n)| *n) + 1);
        }
        counted.push(format!("{} {:?}", of.count(), states.into_values().collect::<Vec<_>>()));
    }
    let mut of_products = std::collections::BTreeMap::new();
    for product in rows.iter().filter_map(|(product, _)| product.clone()) {
        *of_products.entry(product).or_insert(0_u64) += 1;
    }
    counted.push(format!("{:?}", of_products.into_iter().collect::<Vec<_>>()));
    (kept, counted)
}

#[tokio::test]
async fn the_counts_that_writes_keep_are_those_of_a_scan() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("SEED={seed}");
    let mut random = seed | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path()).await;
    let product = |number: u64| {
        ["p", "q"].get(usize::try_from(number).expect("small")).map(|p| p.parse().expect("a name"))
    };
    for step in 0..400 {
        let id: DeviceId = format!("d{}", next(6)).parse().expect("an id");
        let write = db.write().await.expect("writes");
        let there = device::by_id(&write, &id).await.expect("read");
        match (next(6), there) {
            (0, _) => {
                let row = DeviceRow { product: product(next(3)), ..DeviceRow::new(id, 1) };
                write.save_devices(&[&row]).await.expect("saved");
            }
            (1, _) => {
                let product = product(next(2)).expect("one of two");
                write.register_device(&id, &product, "aa", 1).await.expect("registered");
            }
            (2, Some(_)) => write.set_product(&id, &product(next(2)).expect("one")).await.expect("set"),
            (3, Some(_)) => {
                // One in flight already is refused, and the whole transaction with it.
                let inserted = write.insert_update(&an_update(&id)).await;
                if inserted.is_err() {
                    continue;
                }
            }
            (4, Some(row)) => {
                if let Some(update) = row.update_id {
                    let id = i64::try_from(next(2)).expect("small");
                    let update = update::by_id(&write, (update - id).max(1)).await.expect("read");
                    let state = UpdateState::ALL[3 + usize::try_from(next(4)).expect("small")];
                    if let Some(update) = update {
                        write.save_update(&UpdateRow { state, ..update }).await.expect("saved");
                    }
                }
            }
            (5, Some(_)) if next(3) == 0 => assert!(write.remove_device(&id).await.expect("removed")),
            _ => {}
        }
        write.commit().await.expect("committed");
        let (kept, counted) = kept_and_counted(&db).await;
        assert_eq!(kept, counted, "after {step} steps");
        assert_eq!(counts_of_nobody(&db).await, 0, "after {step} steps");
    }
    assert!(device_list::count(&db, None).await.expect("counted") > 0);
}

/// Rows that count no device.
async fn counts_of_nobody(db: &Db) -> usize {
    db.rows("SELECT 1 FROM device_counts WHERE devices <= 0", vec![]).await.expect("read").len()
}

#[tokio::test]
async fn counts_of_nobody_go_when_the_tables_are_brought_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("updraft.db");
    create_private(&path).expect("made");
    let old = Db { connection: connect(&path).await.expect("connects"), writer: Arc::default() };
    schema::begin(&old, 5).await.expect("made");
    let write = old.write().await.expect("writes");
    for sql in [
        "INSERT INTO devices (id, product, created_at) VALUES ('d1', 'p', 1), ('d2', 'p', 1), ('d3', 'q', 1)",
        "UPDATE devices SET product = 'q' WHERE id <> 'd3'",
        "DELETE FROM devices WHERE id = 'd3'",
    ] {
        write.execute(sql, vec![]).await.expect("done");
    }
    write.commit().await.expect("committed");
    assert_eq!(counts_of_nobody(&old).await, 1, "nobody is left in p");
    let db =
        Db::open(&Secret::new(format!("sqlite:{}", path.display()))).await.expect("is brought up to date");
    assert_eq!(counts_of_nobody(&db).await, 0);
    let (kept, counted) = kept_and_counted(&db).await;
    assert_eq!(kept, counted);
}

fn rand_seed() -> u64 {
    u64::from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .subsec_nanos(),
    )
}

#[test]
fn placeholders_are_numbered_for_postgresql() {
    let statement = statement(DbBackend::Postgres, "SELECT ? + ?", vec![1_i64.into(), 2_i64.into()]);
    assert_eq!(statement.sql, "SELECT $1 + $2");
}

#[test]
fn a_report_stored_before_there_were_lacks_is_still_read() {
    let stored =
        r#"{"chip":"esp32","slot":null,"state":null,"slot_bytes":null,"rollback":null,"reset":null}"#;
    let report: api::DeviceReport = serde_json::from_str(stored).expect("a report");
    assert!(report.lacks.is_empty());
}

#[tokio::test]
async fn a_database_from_before_trusted_publishers_keeps_its_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("updraft.db");
    let url = Secret::new(format!("sqlite:{}", path.display()));
    create_private(&path).expect("made");
    let old = Db { connection: connect(&path).await.expect("connects"), writer: Arc::default() };
    schema::begin(&old, 1).await.expect("made");
    let write = old.write().await.expect("writes");
    let sql = "INSERT INTO tokens (name, secret_sha256, role, kind, created_at) VALUES ('laptop', 'aa', 'ci', 'api', 1)";
    write.execute(sql, vec![]).await.expect("inserted");
    let sql = "INSERT INTO devices (id, product, created_at) VALUES ('d1', 'p', 1), ('d2', NULL, 1)";
    write.execute(sql, vec![]).await.expect("inserted");
    write.insert_update(&an_update(&"d1".parse().expect("an id"))).await.expect("inserted");
    write.commit().await.expect("committed");
    old.close().await.expect("closes");

    let db = Db::open(&url).await.expect("is brought up to date");
    let (kept, counted) = kept_and_counted(&db).await;
    assert_eq!(kept, counted);
    assert_eq!(device_list::count(&db, None).await.expect("counted"), 2);
    let token = db.token("aa", 2).await.expect("read").expect("there");
    assert_eq!((token.name.as_str(), token.product), ("laptop", None));
    let product = "lamp".parse().expect("a product");
    let job: oidc::Job =
        serde_json::from_str(r#"{"iss": "https://i.example", "ref": "refs/heads/main"}"#).expect("a job");
    let new = |secret_sha256| token::NewToken {
        name: "octo/blinky@refs/heads/main run 1",
        secret_sha256,
        role: api::Role::Ci,
        kind: token::TokenKind::Publisher,
        parent: None,
        expires_at: Some(100),
    };
    let of = token::Given { job: &job, product: &product, statement_sha256: "dd" };
    let write = db.write().await.expect("writes");
    write.insert_publisher_token(&new("bb"), &of, 1).await.expect("inserted");
    let error = write.insert_publisher_token(&new("cc"), &of, 1).await.expect_err("one statement, one token");
    assert!(is_duplicate(&error), "{error}");
    write.commit().await.expect("committed");
    let given = db.token("bb", 99).await.expect("read").expect("there");
    assert_eq!((given.product, given.job), (Some(product), Some(job)));
    assert!(db.token("bb", 100).await.expect("read").is_none(), "it has expired");
    let write = db.write().await.expect("writes");
    assert!(write.remove_expired(100).await.expect("swept") >= 1);
    let sql =
        "UPDATE tokens SET kind = 'publisher', product = 'lamp', secret_sha256 = ? WHERE name = 'laptop'";
    write.execute(sql, vec![crate::access::digest("secret").into()]).await.expect("set");
    write.commit().await.expect("committed");
    assert!(db.token(&crate::access::digest("secret"), 2).await.expect("read").expect("there").job.is_none());
    let known = crate::access::Access::new(db.clone(), &[]).authenticate("secret").await.expect("read");
    assert!(known.is_none(), "a publisher's token without a job would have no limits");
}

/// The command line brings the tables up to date too, while a server of the version before runs on them.
#[tokio::test]
async fn newer_tables_are_none_the_worse_for_a_server_of_the_version_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("updraft.db");
    let url = Secret::new(format!("sqlite:{}", path.display()));
    create_private(&path).expect("made");
    let old = Db { connection: connect(&path).await.expect("connects"), writer: Arc::default() };
    schema::begin(&old, 3).await.expect("made");
    let insert = "INSERT INTO tokens (name, secret_sha256, role, kind, created_at, expires_at, product, may_promote, \
                  statement_sha256) VALUES (?, ?, 'ci', 'publisher', 1, 100, 'lamp', 1, ?)";
    let publisher = async |name: &str| {
        let write = old.write().await.expect("writes");
        write.execute(insert, vec![name.into(), name.into(), name.into()]).await.expect("inserted");
        write.commit().await.expect("committed");
    };
    publisher("before").await;
    let new = Db::open(&url).await.expect("is brought up to date");
    publisher("after").await;
    let read = "SELECT product, may_promote FROM tokens WHERE kind = 'publisher'";
    assert_eq!(old.rows(read, vec![]).await.expect("the old server reads on").len(), 2);
    for name in ["before", "after"] {
        let token = new.token(name, 2).await.expect("read").expect("there");
        assert_eq!(token.job, None, "so it opens nothing");
    }
}
