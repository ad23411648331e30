//! Databases of versions before this one, and what cannot be opened.

use sqlx::SqlitePool;

use super::super::{migrate, sqlite};
use super::*;

fn file(folder: &TempDir) -> (std::path::PathBuf, DatabaseConfig) {
    let path = folder.path().join("updraft.db");
    (path.clone(), config(format!("sqlite:{}", path.display())))
}

async fn with_rows(pool: &SqlitePool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.expect("executed");
}

#[tokio::test]
async fn a_database_of_the_last_version_is_brought_up_to_date_with_everything_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, config) = file(&folder);
    let old = sqlite::connect(&path).await.expect("connects");
    with_rows(&old, include_str!("version_7.sql")).await;
    old.close().await;
    let db = Db::open(&config).await.expect("is brought up to date");
    let counts = db.figures().await.expect("counted").of(None);
    assert_eq!(
        (counts.devices, counts.newest.len()),
        (9, 8),
        "one in each state, and one that was offered nothing"
    );
    for state in UpdateState::ALL.into_iter().filter(|state| *state != UpdateState::Deferred) {
        let name = id(&format!("d-{}", state.as_str().replace('_', "-")));
        let device = device::by_id(&db, &name).await.expect("read").expect("there");
        assert_eq!(device.update_state, Some(Text(state)));
        assert_eq!(device.version, Some(Text("1.0.0".parse().expect("a version"))));
        assert_eq!(device.report.expect("a report").slot_bytes, Some(1_966_080));
        assert_eq!(device.online_epoch, 0);
        assert_eq!(device.waiting, if state == UpdateState::Offered { 2 } else { 0 }, "by force");
        let updates = update::of_device(&db, &name, i64::MAX, 9).await.expect("read");
        assert_eq!((*updates[0].state, *updates[1].state), (state, UpdateState::Cancelled));
        assert!(matches!(updates[1].why(), Some(fleet::Why::Cause(_))));
        assert_eq!(tag::of_devices(&db, &[name]).await.expect("read").len(), 1);
    }
    assert_eq!(db.listed_tokens(1_796_034_920_000).await.expect("read").len(), 2);
    assert!(db.user("admin").await.expect("read").is_some());
    let newest = update::of_device(&db, &id("d-succeeded"), i64::MAX, 1).await.expect("read")[0].id;
    let mut write = db.write(&BY).await.expect("writes");
    let client_id = write.lock_meta(meta::CLIENT_ID).await.expect("read");
    assert_eq!(client_id.as_deref(), Some("updraft-0123456789abcde"));
    let mut device = write.lock_device(&id("d-succeeded")).await.expect("read").expect("there");
    let update = an_update(&device.id);
    assert!(write.insert_update(&mut device, update).await.expect("inserted") > newest);
    drop(write);
    db.close().await.expect("closes");
    let again = Db::open(&config).await.expect("opens again");
    assert_eq!(again.figures().await.expect("counted").of(None).devices, 9);
}

#[tokio::test]
async fn a_database_from_before_trusted_publishers_keeps_its_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, config) = file(&folder);
    let old = sqlite::connect(&path).await.expect("connects");
    migrate::sqlite_to(&old, Some(1)).await.expect("made");
    with_rows(
        &old,
        "INSERT INTO tokens (name, secret_sha256, role, kind, created_at) VALUES ('laptop', 'aa', 'ci', 'api', 1);
         INSERT INTO devices (id, product, created_at) VALUES ('d1', 'p', 1), ('d2', NULL, 1);",
    )
    .await;
    old.close().await;
    let db = Db::open(&config).await.expect("is brought up to date");
    assert_eq!(db.figures().await.expect("counted").of(None).devices, 2);
    let token = db.token("aa", 2).await.expect("read").expect("there");
    assert_eq!((token.name.as_str(), token.product), ("laptop", None));
    let write = db.write(&BY).await.expect("writes");
    let sql =
        "UPDATE tokens SET kind = 'publisher', product = 'lamp', secret_sha256 = $1 WHERE name = 'laptop'";
    write.execute(sql, vec![crate::access::digest("secret").into()]).await.expect("set");
    write.commit().await.expect("committed");
    assert!(db.token(&crate::access::digest("secret"), 2).await.expect("read").expect("there").job.is_none());
    let known = crate::access::Access::new(db.clone(), &[]).authenticate("secret").await.expect("read");
    assert!(known.is_none(), "a publisher's token without a job would have no limits");
}

#[tokio::test]
async fn a_statement_is_good_for_one_token() {
    let (_folder, db) = open().await;
    let product = "lamp".parse().expect("a product");
    let job: oidc::Job =
        serde_json::from_str(r#"{"iss": "https://i.example", "ref": "refs/heads/main"}"#).expect("a job");
    let new = token::NewToken {
        name: "octo/blinky@refs/heads/main run 1",
        role: api::Role::Ci,
        kind: token::TokenKind::Publisher,
        parent: None,
        expires_at: Some(100),
        given: Some(token::Given { job: &job, product: &product, statement_sha256: "dd" }),
    };
    let write = db.write(&BY).await.expect("writes");
    write.insert_token(new, "bb", 1).await.expect("inserted");
    write.commit().await.expect("committed");
    let write = db.write(&BY).await.expect("writes");
    let error = write.insert_token(new, "cc", 1).await.expect_err("one statement, one token");
    assert!(is_duplicate(&error), "{error}");
    drop(write);
    let given = db.token("bb", 99).await.expect("read").expect("there");
    assert_eq!((given.product, given.job), (Some(Text(product.clone())), Some(Text(job.clone()))));
    assert!(db.token("bb", 100).await.expect("read").is_none(), "it has expired");
    let write = db.write(&BY).await.expect("writes");
    assert_eq!(write.remove_expired(100).await.expect("swept"), 1);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let (folder, db) = open().await;
    let config = config(database_url(folder.path()));
    let write = db.write(&BY).await.expect("writes");
    write.known(&id("d1")).await;
    write.execute("UPDATE _sqlx_migrations SET version = 99 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)", vec![]).await.expect("set");
    write.execute("ALTER TABLE devices ADD COLUMN newer BIGINT", vec![]).await.expect("altered");
    write.commit().await.expect("committed");
    db.close().await.expect("closes");
    for _ in 0..2 {
        let refusal = format!("{:#}", Db::open(&config).await.expect_err("refused"));
        assert!(refusal.contains("newer Updraft") && refusal.contains("database.url"), "{refusal}");
        let refusal = Db::open_for_server(&config).await.map(|_| ()).expect_err("refused");
        assert!(format!("{refusal:#}").contains("newer Updraft"), "{refusal:#}");
    }
    if let Some(path) = config.url.expose().strip_prefix("sqlite:") {
        let pool = sqlite::connect(std::path::Path::new(path)).await.expect("connects");
        with_rows(&pool, "SELECT id, newer FROM devices").await;
        let version: i64 = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&pool)
            .await
            .expect("read");
        assert_eq!(version, 99);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_on_the_machine_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let (_, config) = file(&folder);
    let db = Db::open(&config).await.expect("opens");
    db.write(&BY).await.expect("writes").known(&id("d1")).await;
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "updraft.db.lock" {
            files += 1;
            let mode = entry.metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        }
    }
    assert_eq!(files, 3, "the database, what was written since, and its index");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_a_database_lets_no_second_server_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, config) = file(&folder);
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink("updraft.db", &link).expect("linked");
    let linked = self::config(format!("sqlite:{}", link.display()));
    // Before the file is there, and after.
    for first in [&linked, &config] {
        let (_db, _lock) = Db::open_for_server(first).await.expect("the first");
        for second in [&linked, &config] {
            let refusal = format!("{:#}", Db::open_for_server(second).await.err().expect("refused"));
            assert!(refusal.contains("another Updraft server"), "{refusal}");
        }
    }
    assert!(path.exists() && !folder.path().join("link.db.lock").exists());
}

/// The command line may be newer than the server that runs.
#[tokio::test]
async fn tables_are_not_changed_beneath_a_server_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, config) = file(&folder);
    let old = sqlite::connect(&path).await.expect("connects");
    with_rows(&old, include_str!("version_7.sql")).await;
    let server = ServerLock::of_file(&path).expect("locked");
    let refusal = format!("{:#}", Db::open(&config).await.expect_err("refused"));
    assert!(refusal.contains("another version") && refusal.contains("stop it"), "{refusal}");
    with_rows(&old, "SELECT devices FROM device_counts").await;
    drop(server);
    let db = Db::open(&config).await.expect("is brought up to date");
    let _server = ServerLock::of_file(&path).expect("locked");
    Db::open(&config).await.expect("beside a server of the same version");
    // What the version before this one looks at when it starts, and refuses.
    let counted = sqlx::query_scalar::<_, i64>("SELECT version FROM schema_version");
    assert_eq!(counted.fetch_one(&old).await.expect("read"), 8);
    drop(db);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_which_key() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "").expect("written");
    let url = config(format!("sqlite:{}/file/updraft.db", folder.path().display()));
    let refusal = format!("{:#}", Db::open(&url).await.expect_err("refused"));
    assert!(refusal.contains("database.url"), "{refusal}");
    let sqlite_with_password = DatabaseConfig { password_file: Some("x".into()), ..file(&folder).1 };
    let refusal = format!("{:#}", Db::open(&sqlite_with_password).await.expect_err("refused"));
    assert!(refusal.contains("database.password_file"), "{refusal}");
}

#[tokio::test]
async fn a_refusal_says_why_and_no_password() {
    for (url, why) in [
        ("postgres://u:geheim@127.0.0.1:1/d", ["d on 127.0.0.1:1 (database.url)", "refused"]),
        ("postgres://u:geheim@127.0.0.1:1/d?pasword=geheim", ["\"pasword\"", "sslrootcert"]),
        ("postgres://u:geheim@127.0.0.1:1/d?sslmode=geheim", ["database.url cannot be read", "sslmode="]),
        ("postgres://u:geheim@127.0.0.1:port/d", ["database.url cannot be read", "sslmode="]),
    ] {
        let refusal = format!("{:#}", Db::open(&config(url.to_owned())).await.expect_err("refused"));
        assert!(why.iter().all(|why| refusal.contains(why)) && !refusal.contains("geheim"), "{refusal}");
    }
}
