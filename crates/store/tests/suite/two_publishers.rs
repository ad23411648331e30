//! Two publishers of one version in a bucket: the first is stopped before each of its operations, and goes on or is killed after the
//! second has run. Of the second's run too every beginning is tried. What the first left counts as left over at once, so
//! that each stop is a stall of ten minutes.

use std::time::Duration;

use bytes::Bytes;
use contract::Version;
use tokio::task::JoinHandle;
use updraft_store::StoreError;

use crate::place::{Place, product, production, publish, s3_image};
use crate::stops::{After, Stopped, try_all};

/// More operations than a publisher has.
const STOPS_MAX: usize = 40;

fn start(publisher: &Stopped, version: &str, image: &Bytes) -> JoinHandle<Result<(), StoreError>> {
    let (version, image) = (version.to_owned(), image.clone());
    publisher.start(|store| async move { publish(&store, &version, &image).await.map(drop) })
}

/// Tries one pair of stops; whether each had ended before its own. The two may spell the version in two ways.
async fn try_stops(place: &Place, versions: [&str; 2], stops: [usize; 2], after: After) -> [bool; 2] {
    let case = format!("{versions:?} {stops:?} {after:?}");
    let images = [s3_image(versions[0], 1), s3_image(versions[0], 2)];
    let [first, second] = [Stopped::new(place).await, Stopped::new(place).await];
    first.permit(stops[0]);
    let first_run = start(&first, versions[0], &images[0]);
    let first_ended = first.stops_at(stops[0]).await;
    second.permit(stops[1]);
    let second_run = start(&second, versions[1], &images[1]);
    let second_ended = second.stops_at(stops[1]).await;
    first.goes_on_or_dies(after);
    let first_said = first_run.await.expect("no panic");
    second.goes_on_or_dies(After::Killed);
    let second_said = second_run.await.expect("no panic");
    assert!(!(first_said.is_ok() && second_said.is_ok()), "{case}: both won");

    // Both are run again, as a person does. One wins, the same one always, and its release is whole.
    let again = [0, 1].map(|number| place.publish(versions[number], &images[number]));
    let [one, two] = again;
    let again = [one.await, two.await];
    let twice = place.publish(versions[0], &images[0]).await;
    let winner = match again.each_ref().map(Result::is_ok) {
        [true, false] => 0,
        [false, true] => 1,
        _ => panic!("{case}: {again:?}"),
    };
    assert_eq!(twice.is_ok(), winner == 0, "{case}: {twice:?}");
    for (said, number) in [(&first_said, 0), (&second_said, 1)] {
        assert!(said.is_err() || winner == number, "{case}: a winner lost later");
    }
    let precedence = versions[0].split('+').next().expect("one");
    let folder = format!("esp32s3/releases/v{precedence}");
    assert!(place.get(&format!("{folder}/firmware.bin")).await.as_ref() == Some(&images[winner]), "{case}");
    assert_eq!(place.text(&format!("{folder}/version.txt")).await, format!("{}\n", versions[winner]));
    place.promote(precedence).await.expect("whole");
    [first_ended, second_ended]
}

/// Every stop of the second for one of the first; how many there were, and whether the first ended before its own.
async fn try_first(first: usize, builds: [&str; 2]) -> (usize, bool) {
    let place = Place::memory().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    for second in 0..STOPS_MAX {
        let after = if (first + second).is_multiple_of(2) { After::GoesOn } else { After::Killed };
        let versions = builds.map(|build| format!("1.{first}.{second}{build}"));
        let versions = versions.each_ref().map(String::as_str);
        let ended = Box::pin(try_stops(&place, versions, [first, second], after)).await;
        if ended[1] {
            return (second, ended[0]);
        }
    }
    panic!("it never ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_one_wins_and_its_release_can_be_made_whole() {
    try_all(async |first| try_first(first, ["", ""]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_of_two_spellings_one_wins() {
    try_all(async |first| try_first(first, ["+a", "+b"]).await).await;
}

/// Stopped anywhere while another one publishes and promotes, the first finds that out and damages nothing: nobody has to
/// publish again.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_leaves_a_release_as_it_is() {
    let place = Place::memory().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    for stop in 0..STOPS_MAX {
        let version = format!("1.{stop}.0");
        let images = [s3_image(&version, 1), s3_image(&version, 2)];
        let first = Stopped::new(&place).await;
        first.permit(stop);
        let first_run = start(&first, &version, &images[0]);
        let has_ended = first.stops_at(stop).await;
        let second = place.publish(&version, &images[1]).await;
        let winner = usize::from(second.is_ok());
        place.promote(&version).await.expect("whole");
        first.goes_on_or_dies(After::GoesOn);
        assert_eq!(first_run.await.expect("no panic").is_ok(), winner == 0, "{version}");
        let version: Version = version.parse().expect("a version");
        let artifact = place.store.artifact(&product(), &production(), &version).await;
        let artifact = artifact.expect("sound").expect("there");
        assert!(place.get(&artifact.key).await.as_ref() == Some(&images[winner]), "{version}");
        if has_ended {
            assert!(stop > 8, "only {stop} stops: is the gate in place?");
            return;
        }
    }
    panic!("it never ends");
}

/// Whoever comes while the first stands anywhere writes nothing, and is told how long to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_only_slow_is_left_alone() {
    let place = Place::memory().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    for stop in 0..STOPS_MAX {
        let version = format!("1.{stop}.0");
        let images = [s3_image(&version, 1), s3_image(&version, 2)];
        let firmware = format!("esp32s3/releases/v{version}/firmware.bin");
        let first = Stopped::new(&place).await;
        first.permit(stop);
        let first_run = start(&first, &version, &images[0]);
        let has_ended = first.stops_at(stop).await;
        if place.get(&firmware).await.is_some() {
            let second = place.again().await.with_unfinished_after(Duration::from_mins(10));
            let refused = publish(&second, &version, &images[1]).await.expect_err("it is being published");
            assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
            let says_busy = refused.to_string().contains("somebody else is publishing");
            let is_there = place.get(&firmware.replace("firmware.bin", "version.txt")).await.is_some();
            assert_eq!(says_busy, !is_there, "{version}: {refused}");
            assert_eq!(place.get(&firmware).await.as_ref(), Some(&images[0]), "{version}");
        }
        first.goes_on_or_dies(After::GoesOn);
        first_run.await.expect("no panic").expect("published");
        if has_ended {
            assert!(stop > 8, "only {stop} stops: is the gate in place?");
            return;
        }
    }
    panic!("it never ends");
}
