//! Two publishers of one version on S3: the first is stopped before each of its operations, and goes on or is killed
//! after the second has run. Of the second's run too every beginning is tried.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use updraft_store::StoreError;

use crate::place::{Place, publish, s3_image, until};
use crate::stops::{Stopped, counted};

/// How many stops of the first are tried at a time.
const FIRSTS_AT_ONCE: usize = 4;

/// Publishes once its operations are let through.
fn start(
    publisher: &Stopped,
    version: &str,
    image: &Bytes,
) -> tokio::task::JoinHandle<Result<(), StoreError>> {
    let (store, version, image) = (publisher.store.clone(), version.to_owned(), image.clone());
    tokio::spawn(async move { publish(&store, &version, &image).await.map(drop) })
}

/// What becomes of the first publisher after it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    GoesOn,
    Killed,
}

/// Tries one pair of stops; true if either publisher ended before its stop.
async fn try_stops(place: &Place, version: &str, stops: (usize, usize), fate: Fate) -> (bool, bool) {
    let images = [s3_image(version, 1), s3_image(version, 2)];
    let first = Stopped::new(place, Duration::ZERO).await;
    let second = Stopped::new(place, Duration::ZERO).await;
    first.permits.add_permits(stops.0);
    let first_run = start(&first, version, &images[0]);
    first.stops_at(stops.0, &first_run).await;
    let first_ended = first_run.is_finished();

    second.permits.add_permits(stops.1);
    let second_run = start(&second, version, &images[1]);
    second.stops_at(stops.1, &second_run).await;
    let second_ended = second_run.is_finished();
    if fate == Fate::GoesOn {
        first.permits.add_permits(10_000);
    } else {
        first.permits.close();
    }
    let first_said = first_run.await.expect("no panic");
    // Killed where it stands; what it began is done.
    second.permits.close();
    let second_said = second_run.await.expect("no panic");
    assert!(!(first_said.is_ok() && second_said.is_ok()), "{version}: both won");

    // Both are run again, as a person does. One wins, the same one always, and its release is whole.
    let again = [place.publish(version, &images[0]).await, place.publish(version, &images[1]).await];
    let twice = place.publish(version, &images[0]).await;
    let winner = match again.each_ref().map(Result::is_ok) {
        [true, false] => 0,
        [false, true] => 1,
        _ => panic!("{version} {stops:?} {fate:?}: {again:?}"),
    };
    assert_eq!(twice.is_ok(), winner == 0, "{version} {stops:?} {fate:?}: {twice:?}");
    for (said, number) in [(&first_said, 0), (&second_said, 1)] {
        assert!(said.is_err() || winner == number, "{version} {stops:?} {fate:?}: a winner lost later");
    }
    let firmware = place.get(&format!("esp32s3/releases/v{version}/firmware.bin")).await;
    assert!(firmware.as_ref() == Some(&images[winner]), "{version} {stops:?} {fate:?}");
    place.promote(version).await.expect("whole");
    (first_ended, second_ended)
}

/// Every stop of the second for one of the first; how many there were, and whether the first ended before its own.
async fn try_first(first: usize) -> (usize, bool) {
    // A bucket of its own, in which few releases are to be looked through.
    let place = Place::strict().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    for second in 0..60 {
        let fate = if (first + second).is_multiple_of(2) { Fate::GoesOn } else { Fate::Killed };
        let ended = try_stops(&place, &format!("1.{first}.{second}"), (first, second), fate).await;
        if ended.1 {
            return (second, ended.0);
        }
    }
    panic!("it never ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_one_wins_and_its_release_can_be_made_whole() {
    let mut tried = 0;
    for firsts in (0..60).step_by(FIRSTS_AT_ONCE) {
        let results = join_all((firsts..firsts + FIRSTS_AT_ONCE).map(try_first)).await;
        tried += results.iter().map(|(seconds, _)| seconds).sum::<usize>();
        if results.iter().any(|(_, ended)| *ended) {
            assert!(tried > 100, "only {tried} pairs: is the gate in place?");
            return;
        }
    }
    panic!("it never ends");
}

/// Two spellings of one version have nothing in common but the claim. The second waits for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_spellings_one_wins_or_who_was_overtaken_says_so() {
    let place = Place::strict().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    let mut overtaken = 0;
    for stop in 0..60 {
        let versions = ["a", "b"].map(|build| format!("1.{stop}.0+{build}"));
        let images = [1, 2].map(|seed| s3_image(&format!("1.{stop}.0"), seed));
        let first = Stopped::new(&place, Duration::ZERO).await;
        let second = Stopped::new(&place, Duration::ZERO).await;
        first.permits.add_permits(stop);
        let first_run = start(&first, &versions[0], &images[0]);
        first.stops_at(stop, &first_run).await;
        let is_done = first_run.is_finished();
        second.permits.add_permits(10_000);
        let second_said = start(&second, &versions[1], &images[1]).await.expect("no panic");
        first.permits.add_permits(10_000);
        let first_said = first_run.await.expect("no panic");
        let mut there = 0;
        for version in &versions {
            let key = format!("esp32s3/releases/v{version}/version.txt");
            there += usize::from(place.get(&key).await.is_some());
        }
        let (winner, lost) = match (&first_said, &second_said) {
            (Ok(()), Err(lost @ StoreError::Refused(_))) => (0, lost),
            (Err(lost @ StoreError::Refused(_)), Ok(())) => (1, lost),
            both => panic!("stop {stop}: {both:?}"),
        };
        overtaken += usize::from(there == 2);
        assert_eq!(lost.to_string().contains("is there too"), there == 2, "stop {stop}: {lost}");
        // However often it is asked, by whatever name.
        for _ in 0..2 {
            let again = [0, 1].map(|number| place.publish(&versions[number], &images[number]));
            let [one, two] = again;
            let again = [one.await, two.await];
            assert_eq!(
                again.each_ref().map(Result::is_ok),
                [winner == 0, winner == 1],
                "stop {stop}: {again:?}"
            );
            let Err(error) = &again[1 - winner] else { panic!("stop {stop}: both won") };
            assert_eq!(error.to_string(), lost.to_string(), "stop {stop}");
            let bare = place.publish(&format!("1.{stop}.0"), &images[winner]).await.expect("the same bytes");
            assert_eq!(bare.release.version.as_str(), versions[winner], "stop {stop}");
        }
        if is_done {
            assert!(stop > 8, "only {stop} stops: is the gate in place?");
            assert_eq!(overtaken, 1, "between the claim and version.txt, and nowhere else");
            return;
        }
    }
    panic!("it never ends");
}

/// While the first stands still for less long than the second waits, the second never touches what the first wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_only_slow_is_waited_for() {
    let place = Place::strict().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    for stop in 0..60 {
        let version = format!("1.{stop}.0");
        let images = [s3_image(&version, 1), s3_image(&version, 2)];
        let firmware = format!("esp32s3/releases/v{version}/firmware.bin");
        let first = Stopped::new(&place, Duration::ZERO).await;
        first.permits.add_permits(stop);
        let first_run = start(&first, &version, &images[0]);
        first.stops_at(stop, &first_run).await;
        let is_done = first_run.is_finished();
        let began = place.get(&firmware).await.is_some();
        let second = place.again().await.with_unfinished_timeout(Duration::from_secs(30));
        let (second, looks) = counted(second, &firmware);
        let other = images[1].clone();
        let text = version.clone();
        let second_run = tokio::spawn(async move { publish(&second, &text, &other).await.map(drop) });
        if began && !is_done {
            // It reads the image, looks at it at least twice more, and nothing changes.
            let has_looked = async || looks.load(Ordering::Relaxed) > 3 || second_run.is_finished();
            until("the second looks", has_looked).await;
            assert_eq!(place.get(&firmware).await.as_ref(), Some(&images[0]), "{version}");
            assert!(
                !second_run.is_finished()
                    || place.get(&firmware.replace("firmware.bin", "version.txt")).await.is_some()
            );
            first.permits.add_permits(10_000);
            first_run.await.expect("no panic").expect("published");
            let said = second_run.await.expect("no panic");
            assert!(matches!(said, Err(StoreError::Refused(_))), "{version}: {said:?}");
            assert_eq!(place.get(&firmware).await.as_ref(), Some(&images[0]), "{version}");
            continue;
        }
        first.permits.add_permits(10_000);
        second_run.abort();
        if is_done {
            assert!(stop > 8, "only {stop} stops: is the gate in place?");
            return;
        }
        let _ = first_run.await;
    }
    panic!("it never ends");
}
