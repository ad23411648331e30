use std::time::Duration;

use updraft_store::{Attempt, Blocked, Check, Publication, Store, StoreError};

use crate::place::{Place, product, production, publish, s3_image, v};

pub(crate) async fn a_hundred_rounds_of_two_writers_lose_no_block(place: &Place) {
    let (left, right) = (place.again().await, place.again().await);
    for round in 0..100 {
        let (a, b) = (v(&format!("1.{round}.0")), v(&format!("2.{round}.0")));
        let product = product();
        let (x, y) = tokio::join!(left.block(&product, &a, "left"), right.block(&product, &b, "right"));
        x.expect("blocked");
        y.expect("blocked");
    }
    let Blocked::List(list) = place.store.blocked(&product()).await.expect("read") else {
        panic!("readable")
    };
    assert_eq!(list.len(), 200);
    assert!(list.values().all(Option::is_some));
}

/// One that leaves alone what another publisher has begun.
async fn cautious(place: &Place) -> Store {
    place.again().await.with_unfinished_after(Duration::from_mins(10))
}

pub(crate) async fn of_two_publishers_exactly_one_wins(place: &Place) {
    for round in 0..30 {
        let version = format!("1.{round}.0");
        // Every other time they spell it in two ways.
        let builds = if round % 2 == 0 { ["", ""] } else { ["+a", "+b"] };
        publish_at_once(place, &version, builds).await;
    }
    let releases = place.store.releases(&product()).await.expect("listed");
    assert_eq!(releases.len(), 30, "{releases:?}");
}

/// Publishes two images as one version at the same moment: one wins, and the release is whole and its own.
async fn publish_at_once(place: &Place, version: &str, builds: [&str; 2]) {
    let stores = [cautious(place).await, cautious(place).await];
    let images = [s3_image(version, 1), s3_image(version, 2)];
    let versions = builds.map(|build| format!("{version}{build}"));
    let [x, y] = [0, 1].map(|number| Box::pin(publish(&stores[number], &versions[number], &images[number])));
    let (x, y) = tokio::join!(x, y);
    let winner = match (&x, &y) {
        (Ok(_), Err(StoreError::Refused(_))) => 0,
        (Err(StoreError::Refused(_)), Ok(_)) => 1,
        both => panic!("{version}: {both:?}"),
    };
    let firmware = place.get(&format!("esp32s3/releases/v{version}/firmware.bin")).await;
    assert_eq!(firmware.as_ref(), Some(&images[winner]), "{version}");
    let version_txt = place.text(&format!("esp32s3/releases/v{version}/version.txt")).await;
    assert_eq!(version_txt, format!("{}\n", versions[winner]));
    // The metadata is the winner's too: promoting compares it with the image.
    place.promote(version).await.expect("whole");
}

/// Two at once, each of which finds the gate open: the loser is told by the gate all the same.
pub(crate) async fn a_refusal_found_at_the_last_moment_is_the_gate_s(place: &Place) {
    let mut refused = 0;
    for round in 0..10 {
        let version = format!("1.{round}.0");
        let publication = Publication { version: Some(v(&version)), ..Publication::new(product()) };
        let stores = [cautious(place).await, cautious(place).await];
        let images = [s3_image(&version, 1), s3_image(&version, 2)];
        let (x, y) = tokio::join!(
            stores[0].attempt(&publication, images[0].clone()),
            stores[1].attempt(&publication, images[1].clone())
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

/// A reader looks all the while: whenever there is a `version.txt`, the image beside it is whole and the one it names.
pub(crate) async fn version_txt_never_names_a_missing_image(place: &Place) {
    let versions = ["1.0.0", "2.0.0", "3.0.0", "4.0.0"];
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let reader = async {
        let (store, mut seen) = (place.again().await, 0);
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            for version in versions {
                let folder = format!("esp32s3/releases/v{version}");
                if place.get(&format!("{folder}/version.txt")).await.is_some() {
                    let image = place.get(&format!("{folder}/firmware.bin")).await.expect("it is there");
                    assert_eq!(image, s3_image(version, 1), "{version}");
                    seen += 1;
                }
            }
            if let Some(version) = store.channel(&product(), &production()).await.expect("read") {
                match store.artifact(&product(), &production(), &version).await {
                    Ok(artifact) => assert!(artifact.expect("there").key.contains(version.as_str())),
                    // In mid-promote the channel's copy is already the next one, and nothing is offered.
                    Err(error) => assert!(error.to_string().contains("differ"), "{error}"),
                }
                seen += 1;
            }
        }
        seen
    };
    let writer = async {
        for version in versions {
            place.publish(version, &s3_image(version, 1)).await.expect("published");
            place.promote(version).await.expect("promoted");
        }
        for version in versions.iter().rev().chain(&versions) {
            place.promote(version).await.expect("promoted");
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (seen, ()) = tokio::join!(reader, writer);
    assert!(seen > 20, "the reader saw only {seen}");
}

pub(crate) async fn two_promoters_leave_one_whole_release(place: &Place) {
    let (first, second) = (s3_image("1.0.0", 1), s3_image("2.0.0", 1));
    place.publish("1.0.0", &first).await.expect("published");
    place.publish("2.0.0", &second).await.expect("published");
    for round in 0..20 {
        let (left, right) = (place.again().await, place.again().await);
        let (product, channel) = (product(), production());
        let (one, two) = (v("1.0.0"), v("2.0.0"));
        let (x, y) =
            tokio::join!(left.promote(&product, &one, &channel), right.promote(&product, &two, &channel));
        x.expect("promoted");
        y.expect("promoted");
        let version = left.channel(&product, &channel).await.expect("read").expect("there");
        let expected = if version == one { &first } else { &second };
        let deployed = place.get("esp32s3/production/firmware.bin").await.expect("there");
        assert_eq!(&deployed, expected, "round {round}");
        assert!(left.artifact(&product, &channel, &version).await.expect("whole").is_some());
    }
}
