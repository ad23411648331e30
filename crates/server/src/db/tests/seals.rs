//! What the seals of the audit find. On both databases.

use serde_json::json;

use super::super::connection::Query;
use super::*;
use crate::access::{Access, SealHead, Verified};

async fn note(db: &Db, subjects: std::ops::Range<usize>) {
    let mut write = db.write(&BY).await.expect("writes");
    for subject in subjects {
        write.audit(Action::DEVICE_CHANGE, &subject, json!(null), json!({ "product": "p" }));
    }
    write.commit().await.expect("committed");
}

async fn execute(db: &Db, sql: &str) {
    let write = db.write(&BY).await.expect("writes");
    assert!(write.execute(sql, vec![]).await.expect("executed") > 0, "{sql}");
    write.commit().await.expect("committed");
}

async fn verified(db: &Db, noted: Option<&SealHead>) -> Verified {
    Access::new(db.clone(), &[]).verify_audit(noted).await.expect("read")
}

async fn seal(db: &Db) {
    assert!(!Access::new(db.clone(), &[]).seal_audit(1).await.expect("sealed"), "there is no more");
}

/// Five entries under a seal, three under the next, and one that is not sealed yet; and the newest seal.
async fn sealed() -> (TempDir, Db, SealHead) {
    let (folder, db) = open().await;
    for entries in [0..5, 5..8] {
        note(&db, entries).await;
        seal(&db).await;
    }
    note(&db, 8..9).await;
    let head = verified(&db, None).await.head.expect("a head");
    let (number, digest) = head.split_once(':').expect("two parts");
    (folder, db, (number.parse().expect("a number"), digest.to_owned()))
}

#[tokio::test]
async fn entries_are_as_they_were_sealed() {
    let (_folder, db, head) = sealed().await;
    let verified = verified(&db, Some(&head)).await;
    assert!(verified.holds(), "{verified:?}");
    assert_eq!((verified.seals, verified.entries, verified.unsealed), (2, 8, 1));
    assert_eq!((head.0, verified.is_noted_there), (2, Some(true)));
}

#[tokio::test]
async fn entries_and_seals_that_were_changed_are_found() {
    for (changes, broken) in [
        (&["UPDATE audit SET actor = 'mallory' WHERE id = 2"][..], &[1][..]),
        (&["UPDATE audit SET after = NULL WHERE id = 7"], &[2]),
        (&["UPDATE audit SET after = 'no JSON' WHERE id = 7"], &[2]),
        (&["DELETE FROM audit WHERE id = 3"], &[1]),
        (&["DELETE FROM audit WHERE id <= 5"], &[1]),
        (
            &[
                "INSERT INTO audit (id, at, actor_kind, actor, action, subject_kind, subject) VALUES (0, 1, '', '', '', '', '')",
            ],
            &[1],
        ),
        (&["UPDATE audit SET subject = CASE id WHEN 1 THEN '1' ELSE '0' END WHERE id IN (1, 2)"], &[1]),
        (&["UPDATE audit_seals SET up_to = 4, entries = 4 WHERE id = 1"], &[1, 2]),
        (&["UPDATE audit_seals SET digest = 'a' WHERE id = 1"], &[1, 2]),
        (&["UPDATE audit_seals SET at = 2 WHERE id = 2"], &[2]),
        (&["DELETE FROM audit_seals WHERE id = 1"], &[2]),
        (&["UPDATE audit_seals SET id = 9 WHERE id = 2"], &[9]),
    ] {
        let (_folder, db, _) = sealed().await;
        for change in changes {
            let by_identity = if db.is_sqlite() { ") VALUES" } else { ") OVERRIDING SYSTEM VALUE VALUES" };
            execute(&db, &change.replace(") VALUES", by_identity)).await;
        }
        let verified = verified(&db, None).await;
        let found: Vec<i64> = verified.first_broken.iter().map(|broken| broken.seal).collect();
        assert_eq!((found.as_slice(), verified.holds()), (broken, false), "{changes:?}");
    }
}

#[tokio::test]
async fn a_chain_that_was_cut_or_written_anew_is_found_by_a_seal_that_was_noted() {
    let cut = ["DELETE FROM audit WHERE id > 5", "DELETE FROM audit_seals WHERE id = 2"];
    let anew = ["UPDATE audit SET actor = 'mallory' WHERE id = 2", "DELETE FROM audit_seals"];
    for changes in [cut, anew] {
        let (_folder, db, head) = sealed().await;
        for change in changes {
            execute(&db, change).await;
        }
        note(&db, 9..10).await;
        seal(&db).await;
        assert!(verified(&db, None).await.holds(), "it is a chain");
        let verified = verified(&db, Some(&head)).await;
        assert_eq!((verified.holds(), verified.is_noted_there), (false, Some(false)), "{changes:?}");
    }
}

#[tokio::test]
async fn of_two_servers_one_seals() {
    let (_folder, db) = open().await;
    note(&db, 0..1).await;
    let made = audit_seal::made(&db, None, i64::MAX, 10, 1).await.expect("read").expect("an entry");
    seal(&db).await;
    let write = db.write(&BY).await.expect("writes");
    assert!(!write.insert_seal(&audit_seal::Model { at: 2, ..made }).await.expect("left as it is"));
    drop(write);
    seal(&db).await;
    let verified = verified(&db, None).await;
    assert_eq!((verified.holds(), verified.seals, verified.entries), (true, 1, 1));
}

#[tokio::test]
async fn many_entries_are_sealed_a_part_at_a_time() {
    let (_folder, db) = open().await;
    note(&db, 0..2500).await;
    let first = audit_seal::made(&db, None, i64::MAX, 2000, 1).await.expect("read").expect("entries");
    assert_eq!((first.up_to, first.entries), (2000, 2000));
    let write = db.write(&BY).await.expect("writes");
    assert!(write.insert_seal(&first).await.expect("inserted"));
    write.commit().await.expect("committed");
    seal(&db).await;
    let verified = verified(&db, None).await;
    assert_eq!((verified.holds(), verified.seals, verified.entries), (true, 2, 2500));
}

/// docs/operate.md says how a digest is made: it is the same in every version.
#[tokio::test]
async fn a_digest_can_be_made_by_another_program() {
    let (_folder, db) = open().await;
    let by_identity = if db.is_sqlite() { "" } else { "OVERRIDING SYSTEM VALUE" };
    let columns = "(id, at, actor_kind, actor, address, action, subject_kind, subject, before, after)";
    let values =
        r#"(3, 5, 'person', 'alice', '192.0.2.1', 'device.change', 'device', 'd1', NULL, '{"product":"p"}')"#;
    execute(&db, &format!("INSERT INTO audit {columns} {by_identity} VALUES {values}")).await;
    let made = audit_seal::made(&db, None, i64::MAX, 10, 7).await.expect("read").expect("an entry");
    assert_eq!((made.id, made.up_to, made.entries, made.at), (1, 3, 1, 7));
    assert_eq!(made.digest, "7dc1d47e364342fad1d930336f4a5b6679596a791edefe791bb781fcd02b9125");
}
