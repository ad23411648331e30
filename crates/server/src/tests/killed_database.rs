//! The database itself is killed: a PostgreSQL of the test's own, with every program of it at once.

use std::time::Duration;

use api::DeviceQuery;
use contract::TopicKind;
use tokio_util::sync::CancellationToken;

use super::message;
use super::postgres::Postgres;
use super::rig::{id, until};
use super::without_broker::handed_on;
use crate::db::Failure;
use crate::error::Error;

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_of_the_database_and_the_rest_comes_again() {
    const DEVICES: usize = 200;
    let mut postgres = Postgres::start().await;
    let (_folder, app) = handed_on(&postgres.url(), "").await;
    let batch = |number: i64| {
        let version = format!("1.0.{number}");
        (0..DEVICES).map(move |n| message(&format!("d{n}"), TopicKind::Version, &version)).collect::<Vec<_>>()
    };
    let (tell, told) = tokio::sync::watch::channel(0_i64);
    let (messages, stop) = (app.messages.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let writer = tokio::spawn(async move {
        for number in 1.. {
            // As the batcher does: the same again, until it is committed.
            let mut attempts = 0;
            while let Err(error) = messages.take(&batch(number), 1).await {
                let failure = error.downcast_ref().map(Failure::of);
                assert_eq!(failure, Some(Failure::Away), "{error:#}");
                attempts += 1;
                assert!(attempts < 1000, "{error:#}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tell.send_replace(number);
            if stopped.is_cancelled() {
                return number;
            }
        }
        unreachable!("it is stopped before")
    });
    for killed_after in [3, 9] {
        let (begun, mut told) = (*told.borrow(), told.clone());
        told.wait_for(|number| *number >= begun + killed_after).await.expect("it goes on");
        postgres.kill();
        let acknowledged = *told.borrow();
        let device = id("d0");
        let refused = app.devices.show(&device).await.expect_err("the database is away");
        until("it is said", || async {
            app.health.problems().await.iter().any(|problem| problem.contains("database"))
        })
        .await;
        assert!(matches!(refused, Error::DatabaseUnavailable(_)), "{refused}");
        postgres.restart().await;
        until("it is back", || async { app.devices.show(&device).await.is_ok() }).await;
        let query = DeviceQuery { limit: Some(500), ..DeviceQuery::default() };
        let shown = app.devices.list(&query).await.expect("listed").items;
        assert_eq!(shown.len(), DEVICES);
        for device in shown {
            let version = device.version.expect("a version");
            let patch = version.rsplit('.').next().and_then(|number| number.parse::<i64>().ok());
            assert!(
                patch.expect("a number") >= acknowledged,
                "{version}, and {acknowledged} was acknowledged"
            );
        }
    }
    stop.cancel();
    let last = writer.await.expect("it went on to its end");
    let shown = app.devices.show(&id("d199")).await.expect("there");
    assert_eq!(shown.version.expect("one"), format!("1.0.{last}"));
    until("all are counted", || async {
        let counts = app.devices.counts(None).await.expect("counted");
        (counts.devices, counts.online) == (200, 200)
    })
    .await;
}
