//! A database file that was damaged, emptied or removed.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::*;

/// The file of a database that a server has used, with devices in it; none where the tests run on PostgreSQL.
async fn used() -> Option<(TempDir, DatabaseConfig, PathBuf)> {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(database_url(folder.path()));
    let file = PathBuf::from(config.url.expose().strip_prefix("sqlite:")?);
    let (db, _lock) = Db::open_for_server(&config).await.expect("opens");
    let write = db.write(&BY).await.expect("writes");
    write.insert_devices((0..500).map(|n| id(&format!("d{n}"))).collect(), 1).await.expect("inserted");
    write.commit().await.expect("committed");
    db.close().await.expect("closes");
    Some((folder, config, file))
}

async fn refused(config: &DatabaseConfig) -> String {
    format!("{:#}", Db::open_for_server(config).await.map(|_| ()).expect_err("refused"))
}

#[tokio::test]
async fn corrupt_pages_are_found_at_the_start() {
    let Some((_folder, config, path)) = used().await else { return };
    let file = std::fs::File::options().write(true).open(path).expect("opens");
    let pages = file.metadata().expect("there").len() / 4096;
    for page in [3, pages / 2, pages - 2] {
        file.write_all_at(&[0xA5; 4096], page * 4096).expect("written");
    }
    let said = refused(&config).await;
    assert!(said.contains("is corrupt: put its backup back"), "{said}");
    file.write_all_at(&[0xA5; 4096], 0).expect("written");
    let said = refused(&config).await;
    assert!(said.contains("put its backup back") || said.contains("cannot open the database"), "{said}");
}

#[tokio::test]
async fn a_database_that_was_emptied_or_removed_is_not_begun_anew_unless_told_to() {
    let Some((_folder, config, path)) = used().await else { return };
    std::fs::write(&path, "").expect("emptied");
    for _ in 0..2 {
        let said = refused(&config).await;
        assert!(said.contains("gone or empty: put its backup back"), "{said}");
    }
    std::fs::remove_file(&path).expect("removed");
    assert!(refused(&config).await.contains("gone or empty"));
    std::fs::remove_file(path.with_extension("db.lock")).expect("removed");
    Db::open_for_server(&config).await.expect("opens");
}
