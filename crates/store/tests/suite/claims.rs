//! The claim to a version: of spellings of one precedence that are published at once, one becomes a release.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use contract::Sha256;
use sha2::Digest;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use updraft_store::{Attempt, Check, Publication, Published, Store, StoreError};

use crate::place::{Place, moto_bucket, product, publish, s3_image, until, v};
use crate::servers::{Front, Rule, moto};
use crate::stops::counted;

const CLAIM: &str = "esp32s3/_claims/v1.0.0";

/// One that waits for as long as it takes, however slow this machine is.
async fn waiting(place: &Place) -> Store {
    place.again().await.with_unfinished_timeout(Duration::from_secs(20))
}

pub(crate) async fn of_two_spellings_published_at_once_one_wins(place: &Place) {
    for round in 0..10 {
        let versions = ["g1", "g2"].map(|build| format!("1.{round}.0+{build}"));
        let images = [1, 2].map(|seed| s3_image(&format!("1.{round}.0"), seed));
        let stores = [waiting(place).await, waiting(place).await];
        let (x, y) = tokio::join!(
            publish(&stores[0], &versions[0], &images[0]),
            publish(&stores[1], &versions[1], &images[1])
        );
        let winner = match (&x, &y) {
            (Ok(_), Err(StoreError::Refused(_))) => 0,
            (Err(StoreError::Refused(_)), Ok(_)) => 1,
            both => panic!("round {round}: {both:?}"),
        };
        let releases = place.store.releases(&product()).await.expect("listed");
        let of_round: Vec<_> = releases.iter().filter(|release| release.version == v(&versions[0])).collect();
        assert_eq!(of_round.len(), 1, "{of_round:?}");
        assert_eq!(of_round[0].version.as_str(), versions[winner]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_says_which_image_becomes_the_release_and_is_no_channel() {
    let place = Place::moto().await;
    let image = s3_image("1.0.0", 1);
    let published = place.publish("1.0.0+g1", &image).await.expect("published");
    let claim: serde_json::Value = serde_json::from_str(&place.text(CLAIM).await).expect("JSON");
    let digest = published.release.sha256.expect("known");
    assert_eq!(claim, serde_json::json!({"version": "1.0.0+g1", "sha256": digest.to_string()}));
    assert!(place.store.channels(&product()).await.expect("listed").is_empty());
    assert_eq!(place.store.releases(&product()).await.expect("listed").len(), 1);
    assert!("_claims".parse::<contract::ChannelName>().is_err());
    let folder = Place::folder().await;
    folder.publish("1.0.0", &image).await.expect("published");
    assert!(!folder.path().join("esp32s3/_claims").exists(), "a folder has its lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_nobody_made_good_is_taken_over_after_a_while() {
    for left in [
        r#"{"version":"1.0.0+killed","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
        "{}",
        "",
    ] {
        let place = Place::moto().await;
        place.put(CLAIM, left).await;
        let store = place.again().await.with_unfinished_timeout(Duration::from_millis(600));
        let began = std::time::Instant::now();
        publish(&store, "1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
        assert!(
            began.elapsed() >= Duration::from_millis(600),
            "{left}: it may be a publisher that is only slow"
        );
        assert!(place.text(CLAIM).await.contains("\"version\":\"1.0.0\""), "{left}");
        place.promote("1.0.0").await.expect("whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_to_a_publisher_that_is_only_slow_is_refused_with_a_finding() {
    let place = Place::moto().await;
    let (mine, other) = (s3_image("1.0.0", 1), s3_image("1.0.0", 2));
    // Another publisher stands right before its version.txt.
    let digest = Sha256(sha2::Sha256::digest(&other).into());
    place.put(CLAIM, format!("{{\"version\":\"1.0.0+slow\",\"sha256\":\"{digest}\"}}")).await;
    place.put("esp32s3/releases/v1.0.0+slow/firmware.bin", other).await;
    let (store, looks) = counted(waiting(&place).await, CLAIM);
    let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
    let run = tokio::spawn(async move { store.attempt(&publication, mine, &|_| ()).await });
    // It tries to create it, reads it, and then looks at it again and again.
    until("it waits", async || looks.load(Ordering::Relaxed) > 4).await;
    assert!(!run.is_finished(), "it waits");
    place.put("esp32s3/releases/v1.0.0+slow/version.txt", "1.0.0+slow\n").await;
    let Ok(Attempt::Refused(verdict)) = run.await.expect("no panic") else { panic!("the other one won") };
    let taken: Vec<_> = verdict.findings.iter().filter(|finding| finding.refuses()).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!(taken[0].check, Check::VersionTaken);
    assert!(
        taken[0].cause.sentence().contains("version 1.0.0+slow of esp32s3 is already published"),
        "{taken:?}"
    );
    assert!(matches!(verdict.error(), Some(StoreError::Refused(_))));
    assert!(place.get("esp32s3/releases/v1.0.0/version.txt").await.is_none());
}

/// Two at once, each of which finds the gate open: the loser is told by the gate all the same.
pub(crate) async fn a_refusal_found_at_the_last_moment_is_the_gate_s(place: &Place) {
    let mut refused = 0;
    for round in 0..10 {
        let version = format!("1.{round}.0");
        let publication = Publication { version: Some(v(&version)), ..Publication::new(product()) };
        let stores = [waiting(place).await, waiting(place).await];
        let images = [s3_image(&version, 1), s3_image(&version, 2)];
        let (x, y) = tokio::join!(
            stores[0].attempt(&publication, images[0].clone(), &|_| ()),
            stores[1].attempt(&publication, images[1].clone(), &|_| ())
        );
        for said in [x.expect("an answer"), y.expect("an answer")] {
            if let Attempt::Refused(verdict) = said {
                assert!(verdict.is_refused());
                assert!(verdict.findings.iter().any(|finding| finding.check == Check::VersionTaken));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 10);
}

/// Stalls right before its version.txt for longer than anybody waits, while another spelling is published with the image
/// of that seed. What it is told then, and each time that it is run again.
async fn stalled(seed: u64) -> Vec<Result<Published, StoreError>> {
    let bucket = moto_bucket().await;
    let place = Place::behind(moto(), &bucket).await;
    let (waiting, permits) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
    let (seen, gate) = (Arc::clone(&waiting), Arc::clone(&permits));
    let front = Front::before(moto(), move |parts| {
        if parts.method == Method::PUT && parts.uri.path().ends_with("/version.txt") {
            seen.store(true, Ordering::Relaxed);
            return Rule::PassWhen(Arc::clone(&gate));
        }
        Rule::Pass
    });
    let stalled = Place::behind(&front.url, &bucket).await;
    let own = s3_image("1.0.0", 1);
    let image = own.clone();
    let run = tokio::spawn(async move { stalled.publish("1.0.0+g1", &image).await });
    until("it stands before its version.txt", async || waiting.load(Ordering::Relaxed)).await;
    let other = s3_image("1.0.0", seed);
    place.publish("1.0.0+g2", &other).await.expect("it was left alone for long enough");
    permits.add_permits(1);
    let mut said = vec![run.await.expect("no panic")];
    for _ in 0..2 {
        said.push(place.publish("1.0.0+g1", &own).await);
        let winner = place.publish("1.0.0+g2", &other).await.expect("it has won");
        assert!(winner.already_there && winner.release.version.as_str() == "1.0.0+g2", "{winner:?}");
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_publisher_that_lost_its_claim_is_refused_each_time() {
    for said in stalled(2).await {
        let error = said.expect_err("another has its place");
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("version 1.0.0+g2 of esp32s3 is already published with other bytes"), "{text}");
        assert!(text.contains("remove the version.txt of 1.0.0+g1"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_publisher_of_the_same_bytes_is_told_the_other_spelling_each_time() {
    for said in stalled(1).await {
        let published = said.expect("the same bytes");
        assert!(published.already_there, "{published:?}");
        assert_eq!(published.release.version.as_str(), "1.0.0+g2");
    }
}

/// A publisher of `1.0.0+g{number}` that stands before its `version.txt` until it is let go on.
async fn stopped(
    bucket: &str,
    number: u64,
    unfinished_timeout: Duration,
) -> (JoinHandle<Result<Published, StoreError>>, Arc<Semaphore>, Front) {
    let (waiting, permits) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
    let (seen, gate) = (Arc::clone(&waiting), Arc::clone(&permits));
    let front = Front::before(moto(), move |parts| {
        if parts.method == Method::PUT && parts.uri.path().ends_with("/version.txt") {
            seen.store(true, Ordering::Relaxed);
            return Rule::PassWhen(Arc::clone(&gate));
        }
        Rule::Pass
    });
    let store =
        Place::behind(&front.url, bucket).await.again().await.with_unfinished_timeout(unfinished_timeout);
    let run = tokio::spawn(async move {
        publish(&store, &format!("1.0.0+g{number}"), &s3_image("1.0.0", number)).await
    });
    until("it stands before its version.txt", async || waiting.load(Ordering::Relaxed)).await;
    (run, permits, front)
}

/// Whose claim was taken over commits, and waits until the one who took it over has committed too.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_taken_over_decides_once_it_is_made_good() {
    let bucket = moto_bucket().await;
    let (first, lets_first, front) = stopped(&bucket, 1, Duration::from_secs(20)).await;
    let (second, lets_second, _) = stopped(&bucket, 2, Duration::from_millis(50)).await;
    lets_first.add_permits(1);
    let place = Place::behind(moto(), &bucket).await;
    let version_txt = "esp32s3/releases/v1.0.0+g1/version.txt";
    until("the first commits", async || place.get(version_txt).await.is_some()).await;
    // Then it looks whether the other spelling, which is claimed, is there.
    let is_look =
        |line: &String| line.contains("v1.0.0%2Bg2/version.txt") || line.contains("v1.0.0+g2/version.txt");
    until("it looks for the second", async || front.asked().iter().any(is_look)).await;
    assert!(!first.is_finished(), "it cannot know yet");
    lets_second.add_permits(1);
    assert!(!second.await.expect("no panic").expect("published").already_there);
    let error = first.await.expect("no panic").expect_err("overtaken").to_string();
    assert!(
        error.contains("version 1.0.0+g2 of esp32s3") && error.contains("1.0.0+g1 is there too"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_taken_over_and_not_made_good_is_taken_back() {
    let bucket = moto_bucket().await;
    let (first, lets_first, _) = stopped(&bucket, 1, Duration::from_millis(50)).await;
    let (second, lets_second, _) = stopped(&bucket, 2, Duration::from_millis(50)).await;
    lets_first.add_permits(1);
    assert_eq!(first.await.expect("no panic").expect("published").release.version.as_str(), "1.0.0+g1");
    lets_second.add_permits(1);
    let error = second.await.expect("no panic").expect_err("overtaken").to_string();
    assert!(
        error.contains("version 1.0.0+g1 of esp32s3") && error.contains("1.0.0+g2 is there too"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_asks_the_bucket_so_often() {
    let front = Front::before(moto(), |_| Rule::Pass);
    let place = Place::behind(&front.url, &moto_bucket().await).await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    place.store.prepare_to_write().await.expect("it answers");
    front.asked();
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let asked = front.asked();
    assert_eq!(asked.len(), 15, "each costs a round trip, and some cost money: {asked:#?}");
}
