//! Messages and questions that the database refuses.

use api::DeviceQuery;
use contract::TopicKind;
use fleet::UpdateState;
use serde_json::json;

use super::message;
use super::rig::{BY, HERE, id, put};
use super::without_broker::{Handed, handed};
use crate::clock::now_ms;
use crate::db::{Failure, Query};
use crate::error::Error;
use crate::mqtt::Handler;
use crate::updates::Memory;

/// From now on, or no more, no device may have the version 6.6.6.
async fn refuse(app: &Handed, is_refused: bool) {
    let sql = match (app.db.is_sqlite(), is_refused) {
        (true, true) => {
            "CREATE TRIGGER refused BEFORE UPDATE ON devices WHEN NEW.version = '6.6.6' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        (true, false) => "DROP TRIGGER refused",
        (false, true) => {
            "ALTER TABLE devices ADD CONSTRAINT refused CHECK (version IS DISTINCT FROM '6.6.6') NOT VALID"
        }
        (false, false) => "ALTER TABLE devices DROP CONSTRAINT refused",
    };
    app.db.rows(sql, vec![]).await.expect("executed");
}

#[tokio::test]
async fn one_message_that_cannot_be_written_does_not_stop_the_others() {
    let (_folder, app) = handed("").await;
    refuse(&app, true).await;
    let version = |n: usize| if n == 33 { "6.6.6" } else { "1.0.0" };
    app.messages.messages(&[message("d33", TopicKind::Version, "1.0.0")]).await.expect("taken");
    let batch: Vec<_> = (0..100).map(|n| message(&format!("d{n}"), TopicKind::Version, version(n))).collect();
    app.messages.messages(&batch).await.expect("taken but for one");
    for n in [0, 32, 33, 34, 99] {
        let device = app.devices.show(&id(&format!("d{n}"))).await.expect("known");
        assert_eq!(device.version.expect("a version"), "1.0.0");
        assert_eq!(device.unreadable.map(|unreadable| unreadable.count), (n == 33).then_some(1), "d{n}");
    }
}

#[tokio::test]
async fn what_an_unknown_device_said_of_its_presence_outlives_a_batch_that_fails() {
    let (_folder, app) = handed("").await;
    refuse(&app, true).await;
    app.messages.messages(&[message("a", TopicKind::Presence, "online")]).await.expect("taken");
    let report = [message("a", TopicKind::Version, "6.6.6")];
    app.messages.take(&report, now_ms()).await.expect_err("refused");
    refuse(&app, false).await;
    app.messages.take(&report, now_ms()).await.expect("taken");
    app.devices.presence().sweep(now_ms() + 3_600_000).await.expect("swept");
    assert!(app.devices.show(&id("a")).await.expect("known").online, "it tells when it goes");
}

#[tokio::test]
async fn what_was_done_and_not_written_is_written_before_anything_more_is_sent() {
    let (folder, app) = handed("").await;
    let store = folder.path().join("store/p");
    put(&store.join("releases/v7.0.0"), "7.0.0", "p", json!({}));
    put(&store.join("production"), "7.0.0", "p", json!({}));
    let report = message("a", TopicKind::Version, r#"{"version":"6.6.6","product":"p"}"#);
    app.messages.take(&[report], now_ms()).await.expect("taken");
    let made = app.updates.check(&BY, &id("a"), true).await.expect("decides").update.expect("made").id;
    std::fs::create_dir_all(store.join("rollback")).expect("made");
    let blocked = store.join("rollback/blocked_versions.json");
    std::fs::write(&blocked, r#"{"blocked_versions":["7.0.0"],"reason":{}}"#).expect("written");
    refuse(&app, true).await;
    let mut memory = Memory::default();
    app.updates.send_batch(&[made], &mut memory).await.expect("done, and not written");
    std::fs::remove_file(&blocked).expect("removed");
    app.updates.send_batch(&[made], &mut memory).await.expect_err("it cannot be written yet");
    refuse(&app, false).await;
    app.updates.send_batch(&[], &mut memory).await.expect("written");
    let state = app.devices.show(&id("a")).await.expect("known").update.expect("made").state;
    assert_eq!(state, UpdateState::Cancelled);
}

#[tokio::test]
async fn a_text_that_no_database_keeps_finds_nothing_or_is_refused() {
    let (_folder, app) = handed("").await;
    app.messages.messages(&[message("a", TopicKind::Version, "1.0.0")]).await.expect("taken");
    let nul = || Some("a\0".to_owned());
    for query in [
        DeviceQuery { q: nul(), ..DeviceQuery::default() },
        DeviceQuery { tag: nul(), ..DeviceQuery::default() },
        DeviceQuery { cursor: nul(), ..DeviceQuery::default() },
    ] {
        match app.devices.list(&query).await {
            Ok(page) => assert!(page.items.is_empty(), "{query:?}"),
            Err(error) => assert!(matches!(error, Error::Invalid(_)), "{query:?}: {error}"),
        }
    }
    match app.access.login(HERE, "admin\0", "x", std::time::Duration::from_secs(9)).await {
        Ok(session) => assert!(session.is_none()),
        Err(error) => assert!(matches!(error, Error::Invalid(_)), "{error}"),
    }
}

#[tokio::test]
async fn silent_devices_go_offline_by_more_than_one_batch_a_sweep() {
    let (_folder, app) = handed("").await;
    let batch: Vec<_> = (0..1000).map(|n| message(&format!("d{n}"), TopicKind::Version, "1.0.0")).collect();
    app.messages.messages(&batch).await.expect("taken");
    let left = async || -> i64 {
        let count = app.db.row("SELECT COUNT(*) FROM devices WHERE online_epoch > 0", vec![]).await;
        count.expect("read").expect("a row").try_get_by_index(0).expect("a number")
    };
    let (mut before, mut most) = (left().await, 0);
    assert_eq!(before, 1000);
    while before > 0 {
        app.devices.presence().sweep(now_ms() + 3_600_000).await.expect("swept");
        let now = left().await;
        most = most.max(before - now);
        assert!(now < before);
        before = now;
    }
    println!("{most} at a time");
}

#[tokio::test]
async fn what_postgres_fails_to_write_or_to_commit_is_not_acknowledged_and_may_be_written_again() {
    let (_folder, app) = handed("").await;
    if app.db.is_sqlite() {
        return; // its disk fails in the end-to-end tests
    }
    let execute = async |sql: &str| app.db.rows(sql, vec![]).await.map(|_| ()).expect("executed");
    let mut version = 0;
    // A full disk, one that fails, a serialization failure, a deadlock; a session that ends.
    for fails in ["53100", "58030", "40001", "40P01", ""] {
        for when in [
            "CONSTRAINT TRIGGER failing AFTER INSERT OR UPDATE ON devices DEFERRABLE INITIALLY DEFERRED",
            "TRIGGER failing BEFORE INSERT OR UPDATE ON devices",
        ] {
            let body = match fails {
                "" => "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW;".to_owned(),
                code => format!("RAISE EXCEPTION 'injected' USING ERRCODE = '{code}';"),
            };
            execute(&format!("CREATE OR REPLACE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")).await;
            execute(&format!("CREATE {when} FOR EACH ROW EXECUTE FUNCTION failing()")).await;
            version += 1;
            let report = [message("a", TopicKind::Version, &format!("1.0.{version}"))];
            let error = app.messages.take(&report, now_ms()).await.expect_err("it fails");
            let failure = error.downcast_ref().map(Failure::of);
            assert!(failure.is_some_and(Failure::passes), "{fails} {when}: {error:#}");
            if failure != Some(Failure::Busy) {
                assert!(app.db.problem().await.is_some_and(|said| said.contains("database")), "{fails}");
            }
            execute("DROP TRIGGER failing ON devices").await;
            app.messages.take(&report, now_ms()).await.expect("taken");
            assert_eq!(app.db.problem().await, None, "{fails} {when}");
            let shown = app.devices.show(&id("a")).await.expect("known").version.expect("a version");
            assert_eq!(shown, format!("1.0.{version}"));
        }
    }
}
