//! kill -9 of `updraft publish … --promote` at each request to the bucket, straight on it and through a server, and of that
//! server: what a reader finds in the bucket meanwhile is whole, and the same command run again succeeds.
//!
//! `KILLS=all` kills at each request both before the bucket hears it and after the bucket answered; without it one of the
//! two, alternately (scripts/prove has the time for both), and through a server only at some requests.
use e2e::command::Said;
use e2e::images::Workshop;
use tokio::task::JoinSet;

use self::reader::Reader;
use self::shop::{Case, REQUESTS_MAX, Shop, kills, spawn};
use self::toll::{Ended, Kill, Toll};

mod reader;
mod shop;
mod through_server;
mod toll;

/// Cases at a time.
const TOGETHER: usize = 6;

/// Kills at the nth request, and runs the command again, with a reader beside it.
async fn case(shop: Shop, request: usize, kill: Kill) -> Case {
    let product = format!("lamp-{request}-{}", kill.name());
    let case = format!("killed at request {request}, which was {kill:?}");
    shop.begin(&product).await;
    let mut toll = Toll::start(&shop.bucket).await;
    toll.arm(request, kill);
    let reader = Reader::start(&shop, &product, &case).await;
    let mut child = spawn(shop.publish(&product, toll.port()));
    let is_killed = match toll.end(&mut child).await {
        Ended::Due(_request_waits) => {
            child.kill().await.expect("it runs still: it waits for the answer");
            true
        }
        Ended::Before(status) => {
            assert!(status.success(), "{case}: it ended before, by itself: {status}");
            false
        }
    };
    let left_behind = shop.read(&product, &case).await;
    assert!(!left_behind.is_empty(), "{case}: production is gone");
    let again = Said::by(shop.publish(&product, shop.bucket.port())).await;
    assert_eq!(again.code, Some(0), "{case}, then run again: {again:?}");
    shop.is_done(&product, &format!("{case}, then run again")).await;
    let reads = reader.stop().await;
    shop.clear(&product).await;
    Case { is_killed, reads }
}

#[tokio::test]
async fn a_publisher_killed_at_every_request_leaves_only_whole_images_and_is_run_again() {
    let workshop = Workshop::open();
    let shop = Shop::open(&workshop).await;
    let mut cases = kills(1..REQUESTS_MAX);
    let (mut running, mut killed, mut reads, mut is_over) = (JoinSet::new(), 0, 0, false);
    loop {
        while running.len() < TOGETHER && !is_over {
            let (request, kill) = cases.next().expect("a publish ends");
            running.spawn(case(shop.clone(), request, kill));
        }
        let Some(ended) = running.join_next().await else { break };
        let case = ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        killed += usize::from(case.is_killed);
        reads += case.reads;
        is_over |= !case.is_killed;
    }
    println!("{killed} kills, {reads} reads");
    assert!(killed > 10, "a publish with its promotion asks for more than that: {killed}");
}
