//! What must not stop a server, nor make it forget: a full or broken disk, a log that nobody reads.
use std::collections::BTreeMap;

use api::{DeviceChange, Page};
use e2e::disk::{Error, FaultyDisk};
use e2e::process::Reader;
use e2e::server::{Server, Setup, runs};
use e2e::wait::until;
use reqwest::{Method, StatusCode};

/// What was acknowledged of each device: its tag, or that it is removed.
type Acknowledged = BTreeMap<String, Option<String>>;

/// Adds a device, gives it a tag, removes the one of the round before; notes what was acknowledged. Whether all of it was.
async fn write_something(server: &Server, round: usize, acknowledged: &mut Acknowledged) -> bool {
    let id = format!("d{round}");
    let add = server.request(Method::POST, "/api/v1/devices");
    let add = add.json(&serde_json::json!({ "id": id, "product": "p" }));
    let mut all = add.send().await.unwrap().status() == StatusCode::CREATED;
    if all {
        acknowledged.insert(id.clone(), Some(String::new()));
        let change = DeviceChange { tags: Some(vec![format!("t{round}")]), ..DeviceChange::default() };
        let tag = server.request(Method::PATCH, &format!("/api/v1/devices/{id}")).json(&change);
        if tag.send().await.unwrap().status() == StatusCode::OK {
            acknowledged.insert(id, Some(format!("t{round}")));
        } else {
            all = false;
        }
    }
    let before = format!("d{}", round.wrapping_sub(1));
    if acknowledged.get(&before).is_some_and(Option::is_some) {
        let remove = server.request(Method::DELETE, &format!("/api/v1/devices/{before}"));
        if remove.send().await.unwrap().status() == StatusCode::NO_CONTENT {
            acknowledged.insert(before, None);
        } else {
            all = false;
        }
    }
    all
}

async fn readiness(server: &Server) -> StatusCode {
    server.request(Method::GET, "/readyz").send().await.unwrap().status()
}

/// Each write to the database's files fails once, alone and with all after it, with the disk full and with it broken. What was
/// acknowledged is there after a kill, what was refused may be written again at once, and `/readyz` says how it is.
#[tokio::test]
async fn a_disk_that_fails_at_any_write_makes_the_server_forget_nothing() {
    if std::env::var_os("UPDRAFT_TEST_DATABASE").is_some() {
        return; // PostgreSQL writes its files itself
    }
    let disk = FaultyDisk::make().await;
    let mut server = Server::with(Setup { env: disk.env(), ..Setup::default() }).await;
    let (mut acknowledged, mut round, mut refused) = (Acknowledged::new(), 0, 0);
    for error in [Error::Full, Error::Broken] {
        for count in [1, u32::MAX] {
            for first in 1.. {
                round += 1;
                disk.fail(error, first, count);
                let all = write_something(&server, round, &mut acknowledged).await;
                if !all && count > 1 {
                    // Where another writer was in the way that says nothing yet; the row that is written to find out does.
                    let said =
                        async || (readiness(&server).await == StatusCode::SERVICE_UNAVAILABLE).then_some(());
                    until(&format!("it is not ready: {error:?} {first}"), said).await;
                }
                let calls = disk.heal();
                refused += usize::from(!all);
                round += 1;
                let again = write_something(&server, round, &mut acknowledged).await;
                assert!(again, "{error:?}: the disk is well again after call {first} of {calls}");
                assert_eq!(readiness(&server).await, StatusCode::OK, "{error:?} {first}");
                if calls < first {
                    break;
                }
            }
        }
    }
    assert!(refused > 20, "{refused} of {round} rounds met the failure");
    server.kill();
    server.start_again().await;
    for (id, expected) in acknowledged {
        let answer = server.request(Method::GET, &format!("/api/v1/devices/{id}")).send().await.unwrap();
        let tag = match answer.status() {
            StatusCode::NOT_FOUND => None,
            _ => Some(answer.json::<api::Device>().await.unwrap().tags.first().cloned().unwrap_or_default()),
        };
        // Refused only says that it may not be done.
        let may_be_later = expected.as_deref() == Some("") && tag.is_some();
        assert!(tag == expected || may_be_later, "{id}: {tag:?}, and {expected:?} was acknowledged");
    }
}

/// The log's reader has gone, or has stopped reading; everything goes on, though much is to be said.
#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    for reader in [Reader::Gone, Reader::Stopped] {
        let env = vec![("RUST_LOG".to_owned(), "debug".to_owned())];
        let server = Server::with(Setup { env, reader, ..Setup::default() }).await;
        let broker = server.register("d1", "p").await;
        broker.publish("devices/d1/version", "\u{1}no version", &["--repeat", "300"]).await.ok();
        broker.publish("devices/d1/version", "1.0.0", &[]).await.ok();
        server.device_when("d1", "its version is taken", |device| runs(device, "1.0.0")).await;
        let devices: Page<api::Device> = server.get("/api/v1/devices").await;
        assert_eq!(devices.items[0].unreadable.as_ref().unwrap().count, 300);
        until("it is ready", || async { (readiness(&server).await == StatusCode::OK).then_some(()) }).await;
    }
}
