use std::time::{Duration, Instant};

use oidc::{Algorithm, Key};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

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

/// An issuer that takes each request and never answers.
async fn mute_issuer() -> (TcpListener, Issuers) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let issuer = format!("http://{}", listener.local_addr().expect("bound"));
    let publisher = TrustedPublisher {
        issuer,
        repository: "octo/blinky".to_owned(),
        repository_id: None,
        repository_owner_id: None,
        git_ref: None,
        environment: None,
        product: "lamp".parse().expect("a product"),
        may_promote: false,
        allow: Vec::new(),
    };
    (listener, Issuers::new(&[publisher]))
}

async fn asked(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("somebody asks");
    assert!(stream.read(&mut [0; 1024]).await.expect("a request") > 0);
    stream
}

#[tokio::test]
async fn who_leaves_before_the_issuer_answers_does_not_have_it_asked_again() {
    let (listener, issuers) = mute_issuer().await;
    let issuers = Arc::new(issuers);
    let name = format!("http://{}", listener.local_addr().expect("bound"));
    let ask = || {
        let (issuers, name) = (Arc::clone(&issuers), name.clone());
        tokio::spawn(async move { issuers.of(&name).expect("known").key("k", Algorithm::Rs256).await })
    };
    let first = ask();
    let answer = asked(&listener).await;
    first.abort();
    assert!(first.await.expect_err("it left").is_cancelled());
    let second = ask();
    let again = tokio::select! {
        () = async { drop(asked(&listener).await) } => true,
        refused = async {
            // It breaks off, and that is the answer for both.
            drop(answer);
            second.await.expect("it ends")
        } => {
            let sentence = refused.expect_err("no key").to_string();
            assert!(sentence.contains("cannot be reached"), "{sentence}");
            false
        }
    };
    assert!(!again, "the issuer is asked again though it is being asked");
    let sentence = ask().await.expect("it ends").expect_err("no key").to_string();
    assert!(
        sentence.contains("cannot be reached"),
        "noted, though nobody waited from its begin to its end: {sentence}"
    );
}

#[tokio::test]
async fn asking_an_issuer_that_fails_here_is_noted_and_holds_up_nobody() {
    let (listener, issuers) = mute_issuer().await;
    let issuer = issuers.of(&format!("http://{}", listener.local_addr().expect("bound"))).expect("known");
    let fetch = async { panic!("as if there were a mistake") };
    for refused in
        [issuer.key_from("k", Algorithm::Rs256, fetch).await, issuer.key("k", Algorithm::Rs256).await]
    {
        let sentence = refused.expect_err("no key").to_string();
        assert!(sentence.contains("asking for them failed here"), "{sentence}");
    }
}
