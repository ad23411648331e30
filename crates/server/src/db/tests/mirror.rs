//! Readings of the bucket, in whatever order they come, and cut off anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use cause::service as causes;
use contract::ProductName;
use store::{Blocked, Release};

use super::super::mirror::{self, Snapshot, Wanted};
use super::*;

fn lamp() -> ProductName {
    "lamp".parse().expect("a product")
}

fn version(text: &str) -> contract::Version {
    text.parse().expect("a version")
}

/// With so many releases, the highest of which is in production, and the lowest blocked.
fn with_releases(count: u8) -> Snapshot {
    let version = |n: u8| version(&format!("1.{n}.0"));
    let release = |n: u8| Release {
        version: version(n),
        key: format!("lamp/releases/v1.{n}.0/firmware.bin"),
        size: 5,
        sha256: Some(contract::Sha256([n; 32])),
        chip: Some("esp32s3".to_owned()),
        notes: None,
        commit: None,
        tag: None,
        dirty: None,
        built_at: None,
        published_at: None,
        requires: None,
        content: String::new(),
        fault: None,
    };
    let channels = [("beta", None), ("production", Some(version(count - 1)))];
    Snapshot {
        releases: (0..count).rev().map(release).collect(),
        channels: channels.map(|(name, version)| (name.parse().expect("a name"), version)).into(),
        blocked: Blocked::List(BTreeMap::from([(version(0), Some(format!("1 of {count}")))])),
        deployed: vec![],
    }
}

async fn shown(db: &Db) -> Option<Snapshot> {
    mirror::of_product(db, &lamp(), Wanted::All).await.expect("read").snapshot
}

#[tokio::test]
async fn an_older_reading_never_covers_a_newer_one() {
    let (_folder, db) = open().await;
    let begin = async || db.begin_reading().await.expect("begins");
    let write = async |number, found: Option<&Snapshot>| {
        db.write_reading(&lamp(), number, found).await.expect("written")
    };
    let (older, newer, gone) = (begin().await, begin().await, begin().await);
    let (two, three) = (with_releases(2), with_releases(3));
    assert!(!write(older, None).await, "a name that nobody has makes no row");
    assert!(write(newer, Some(&three)).await);
    assert!(!write(older, Some(&two)).await);
    assert_eq!(shown(&db).await, Some(three));
    assert!(write(gone, None).await);
    assert!(!write(newer, Some(&two)).await, "what has gone does not come back");
    assert!(shown(&db).await.is_none() && mirror::products(&db).await.expect("read").is_empty());
    let again = begin().await;
    assert!(write(again, Some(&two)).await && !write(begin().await, Some(&two)).await, "as it was");
    assert_eq!(shown(&db).await, Some(two));
    let [only] = &mirror::products(&db).await.expect("read")[..] else { panic!("one product") };
    assert_eq!((&only.name, only.production.as_ref()), (&lamp(), Some(&version("1.1.0"))));
    let only = async || mirror::only_product(&db).await.expect("read");
    assert_eq!(only().await, Some(lamp()));
    db.note_listed(&["pump".parse().expect("a product")]).await.expect("noted");
    assert_eq!(only().await, None, "the other one is there, though it was not read");
}

#[tokio::test]
async fn a_reading_that_is_cut_off_anywhere_leaves_the_one_before_or_is_whole() {
    let (_folder, db) = open().await;
    let (lamp, two, many) = (lamp(), with_releases(2), with_releases(250));
    let mut cut = 0;
    for round in 0..60_u64 {
        let number = db.begin_reading().await.expect("begins");
        let found = if round % 2 == 0 { &two } else { &many };
        let written = db.write_reading(&lamp, number, Some(found));
        cut += usize::from(tokio::time::timeout(Duration::from_micros(150 * round), written).await.is_err());
        let shown = shown(&db).await;
        assert!(shown.is_none() || shown.as_ref() == Some(&two) || shown.as_ref() == Some(&many));
    }
    assert!(cut > 0, "none was cut off");
    let number = db.begin_reading().await.expect("begins");
    db.write_reading(&lamp, number, Some(&two)).await.expect("written");
    assert_eq!(shown(&db).await, Some(two));
}

#[tokio::test]
async fn what_lies_in_the_bucket_and_was_not_read_is_known_with_the_reason() {
    let (_folder, db) = open().await;
    let error = async || mirror::of_product(&db, &lamp(), Wanted::All).await.expect("read").error;
    let unlisted = mirror::listing_error(&db).await.expect("read").expect("never listed");
    assert!(unlisted.is(causes::STORE_NOT_READ));
    db.note_failed(&lamp(), 1, &causes::STORE_READING.cause()).await.expect("noted");
    assert_eq!(error().await, None, "only of those that are listed");
    assert_eq!(db.note_listed(&[lamp()]).await.expect("noted"), [lamp()]);
    assert!(mirror::listing_error(&db).await.expect("read").is_none());
    assert!(error().await.expect("not read").is(causes::STORE_NOT_READ));
    let number = db.begin_reading().await.expect("begins");
    db.write_reading(&lamp(), number, Some(&with_releases(2))).await.expect("written");
    db.note_listed(&[lamp()]).await.expect("noted");
    assert_eq!(error().await, None, "what was read is shown");
    assert_eq!(db.note_listed(&[]).await.expect("noted"), [lamp()], "it is read, and found to have gone");
}

#[tokio::test]
async fn what_could_not_be_read_again_is_shown_with_the_reason_until_it_is() {
    let (_folder, db) = open().await;
    let known = async || mirror::of_product(&db, &lamp(), Wanted::All).await.expect("read");
    let two = with_releases(2);
    let (first, failed) =
        (db.begin_reading().await.expect("begins"), db.begin_reading().await.expect("begins"));
    db.write_reading(&lamp(), first, Some(&two)).await.expect("written");
    db.note_failed(&lamp(), first, &causes::STORE_NOT_READ.cause()).await.expect("noted");
    assert!(known().await.error.is_none(), "it was read since");
    db.note_expected(&lamp(), &causes::STORE_READING.cause()).await.expect("noted");
    db.note_failed(&lamp(), failed, &causes::STORE_NOT_READ.cause()).await.expect("noted");
    let marked = known().await;
    assert!(marked.is_expected && marked.error.is_some_and(|error| error.is(causes::STORE_NOT_READ)));
    assert_eq!(marked.snapshot.as_ref(), Some(&two));
    assert!(mirror::products(&db).await.expect("read")[0].error.is_some());
    assert!(!db.write_reading(&lamp(), failed, Some(&two)).await.expect("written"));
    let read = known().await;
    assert!(read.error.is_none() && !read.is_expected);
}

#[tokio::test]
async fn what_was_read_in_another_bucket_is_forgotten() {
    let (_folder, db) = open().await;
    for (address, is_kept) in [("s3://a", false), ("s3://a", true), ("s3://b", false)] {
        db.mirror_of(address).await.expect("begins");
        assert_eq!(shown(&db).await.is_some(), is_kept, "{address}");
        let number = db.begin_reading().await.expect("begins");
        db.write_reading(&lamp(), number, Some(&with_releases(2))).await.expect("written");
    }
}

#[tokio::test]
async fn a_reading_is_written_if_anything_in_it_is_spelled_otherwise_and_replaces_what_cannot_be_decoded() {
    let (_folder, db) = open().await;
    let write = async |found: &Snapshot| {
        let number = db.begin_reading().await.expect("begins");
        db.write_reading(&lamp(), number, Some(found)).await.expect("written")
    };
    let mut found = with_releases(2);
    let at = "2026-11-30T17:18:19.123456789Z".parse().expect("a time");
    found.releases[0] = Release {
        version: version("1.1.0+a"),
        notes: Some("ä \"quoted\"\n".to_owned()),
        commit: Some("c0ffee".to_owned()),
        tag: Some("v1.1.0".to_owned()),
        dirty: Some(true),
        built_at: Some(at),
        published_at: Some(at),
        requires: Some(version("1.0.0-rc.1+x")),
        ..found.releases[0].clone()
    };
    assert!(write(&found).await && !write(&found).await, "it came back as it was");
    found.releases[0].version = version("1.1.0+b");
    assert!(write(&found).await && !write(&found).await);
    assert_eq!(shown(&db).await.expect("there").releases[0].version.as_str(), "1.1.0+b");
    let twice =
        Release { key: "lamp/releases/v1.1.0+old/firmware.bin".to_owned(), ..found.releases[0].clone() };
    let doubled = [&[twice], &found.releases[..]].concat();
    let sorted = Snapshot::new(doubled, found.channels.clone(), found.blocked.clone());
    assert!(!write(&sorted).await, "one folder of each version counts");
    let sql = "UPDATE mirror_releases SET details = '{}'";
    sea_orm::ConnectionTrait::execute_unprepared(&db.connection, sql).await.expect("written");
    let unreadable = mirror::of_product(&db, &lamp(), Wanted::All).await.expect("read");
    assert!(unreadable.snapshot.is_none() && unreadable.is_there());
    assert!(write(&found).await);
    assert_eq!(shown(&db).await, Some(found));
}

#[tokio::test]
async fn one_of_several_servers_makes_a_pass() {
    let (_folder, db) = open().await;
    let claim = async |now, pause| db.claim_pass(now, pause).await.expect("claimed");
    assert!(claim(100_000, 10_000).await);
    assert!(!claim(105_000, 10_000).await && claim(110_000, 10_000).await);
    assert!(claim(110_000, 0).await, "who starts reads in any case");
    assert!(claim(50_000, 10_000).await, "a clock that was ahead holds up nobody");
}

#[tokio::test]
async fn a_release_is_found_however_its_version_is_spelled_and_no_other_is_decoded() {
    let (_folder, db) = open().await;
    let mut found = with_releases(3);
    found.releases[0].version = version("1.2.0+a");
    let number = db.begin_reading().await.expect("begins");
    db.write_reading(&lamp(), number, Some(&found)).await.expect("written");
    let sql = "UPDATE mirror_releases SET details = '{}' WHERE version = '1.0.0'";
    sea_orm::ConnectionTrait::execute_unprepared(&db.connection, sql).await.expect("written");
    let of =
        async |wanted: Wanted<'_>| mirror::of_product(&db, &lamp(), wanted).await.expect("read").snapshot;
    assert!(of(Wanted::All).await.is_none(), "one of them cannot be decoded");
    for (asked, expected) in [("1.2.0", 1), ("1.2.0+b", 1), ("1.1.0", 1), ("1.2.0-rc.1", 0)] {
        let asked = version(asked);
        let snapshot = of(Wanted::One(&asked)).await.expect("there");
        assert_eq!(snapshot.releases.len(), expected, "{asked}");
        assert_eq!((snapshot.channels, snapshot.blocked), (found.channels.clone(), found.blocked.clone()));
    }
    assert!(of(Wanted::None).await.expect("there").releases.is_empty());
}

#[tokio::test]
async fn a_product_whose_name_cannot_be_decoded_stops_no_other() {
    let (_folder, db) = open().await;
    let number = db.begin_reading().await.expect("begins");
    db.write_reading(&lamp(), number, Some(&with_releases(1))).await.expect("written");
    let sql =
        "INSERT INTO mirror_products (product, reading, blocked) VALUES ('NO NAME', 1, '{\"List\":{}}')";
    sea_orm::ConnectionTrait::execute_unprepared(&db.connection, sql).await.expect("written");
    let names: Vec<_> =
        mirror::products(&db).await.expect("read").into_iter().map(|shown| shown.name).collect();
    assert_eq!(names, [lamp()]);
    assert_eq!(db.note_listed(&[lamp()]).await.expect("noted"), [lamp()]);
    assert_eq!(mirror::only_product(&db).await.expect("read"), None, "there are two");
}
