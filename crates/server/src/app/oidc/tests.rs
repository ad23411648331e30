use std::time::Instant;

use oidc::{Algorithm, Key};

use super::keys::{Fetched, Known, Step};
use super::*;

fn a_key() -> Key {
    Key::P256(vec![4; 65])
}

#[test]
fn keys_are_kept_asked_for_again_and_at_last_forgotten() {
    let begin = Instant::now();
    let after = |seconds: u64| begin + Duration::from_secs(seconds);
    let answer = || Ok(Fetched { keys: vec![("k".to_owned(), a_key())], fresh: Duration::from_hours(1) });
    let down = || Err("it is down".to_owned());
    let mut known = Known::default();
    let step = |known: &Known, id: &str, seconds| match known.step(id, Algorithm::Es256, after(seconds)) {
        Step::Use(_) => "use",
        Step::Fetch => "fetch",
        Step::Unknown => "unknown",
        Step::Unavailable(_) => "unavailable",
    };
    assert_eq!(step(&known, "k", 0), "fetch");
    known.note(down(), after(0));
    assert_eq!((step(&known, "k", 9), step(&known, "k", 10)), ("unavailable", "fetch"));
    known.note(answer(), after(10));
    assert_eq!((step(&known, "k", 11), step(&known, "new", 11)), ("use", "fetch"));
    assert!(matches!(known.step("k", Algorithm::Rs256, after(11)), Step::Fetch), "another algorithm's key");
    known.note(answer(), after(12));
    assert_eq!((step(&known, "new", 71), step(&known, "new", 72)), ("unknown", "fetch"), "once a minute");
    assert_eq!((step(&known, "k", 12 + 3600), step(&known, "k", 13 + 3600)), ("use", "fetch"));
    known.note(down(), after(4000));
    assert_eq!(
        (step(&known, "k", 4001), step(&known, "new", 4001)),
        ("use", "unknown"),
        "the old ones do for a while"
    );
    known.note(down(), after(30_000));
    assert_eq!(step(&known, "k", 30_001), "unavailable");
}
