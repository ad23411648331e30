use std::time::Instant;

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use super::claims::Claims;
use super::id_token::{Algorithm, TOKEN_MAX_BYTES};
use super::keys::{Fetched, Key, Known, Step, parse};
use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn a_key() -> Key {
    Key::P256(vec![4; 65])
}

fn claims(more: &serde_json::Value) -> Claims {
    let mut claims =
        json!({"iss": "https://i.example", "aud": "https://u.example", "iat": 1000, "exp": 1300});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    serde_json::from_value(claims).expect("claims")
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

#[test]
fn a_statement_holds_from_its_begin_to_its_end_and_a_minute_around() {
    let holds = |more: serde_json::Value, now: i64| claims(&more).hold_at(at(now)).map_err(|e| e.to_string());
    for (more, now, words) in [
        (json!({}), 939, "not yet valid"),
        (json!({}), 1360, "has expired"),
        (json!({"nbf": 1200}), 1139, "not yet valid"),
        (json!({"exp": 9_999_999}), 1960, "too old"),
        (json!({"exp": null}), 1000, "no time of expiry"),
        (json!({"iat": null}), 1000, "does not say when it was issued"),
        (json!({"iat": i64::MAX}), 1000, "not yet valid"),
        (json!({"iat": i64::MIN}), 1000, "too old"),
        (json!({"exp": i64::MIN}), 1000, "has expired"),
        (json!({"nbf": 1e300}), 1000, "nbf) cannot be read"),
    ] {
        let refusal = holds(more.clone(), now).expect_err(words);
        assert!(refusal.contains(words), "{more} at {now}: {refusal}");
    }
    for (more, now) in [
        (json!({}), 940),
        (json!({}), 1359),
        (json!({"exp": 9_999_999}), 1959),
        (json!({"iat": 1000.7, "exp": 1300.2}), 1000),
        (json!({"exp": i64::MAX}), 1000),
    ] {
        holds(more.clone(), now).unwrap_or_else(|refusal| panic!("{more} at {now}: {refusal}"));
    }
}

#[test]
fn a_statement_is_for_whom_it_names() {
    let are_for = |aud: serde_json::Value| claims(&json!({ "aud": aud })).are_for("https://u.example");
    are_for(json!("https://u.example")).expect("one");
    are_for(json!(["https://x.example", "https://u.example"])).expect("one of several");
    for aud in [
        json!("https://u.example/"),
        json!("https://u.example.evil"),
        json!("https://U.example"),
        json!([]),
        json!(null),
        json!(""),
    ] {
        let refusal = are_for(aud).expect_err("another").to_string();
        assert!(refusal.contains("takes tokens for https://u.example only"), "{refusal}");
    }
}

/// Which events count, and what ref and environment ask for.
#[test]
fn what_outsiders_can_cause_publishes_nothing() {
    let entry = |more: &str| {
        let text = format!(
            "[[trusted_publisher]]\nissuer = \"https://i.example\"\nrepository = \"octo/blinky\"\nproduct = \"blinky\"\n{more}"
        );
        crate::config::Config::parse("t", &text, []).expect("valid").trusted_publishers
    };
    let by_ref = entry("ref = \"refs/heads/main\"");
    let by_environment = entry("environment = \"Production\"\nrepository_id = 74");
    let both = entry("ref = \"refs/heads/main\"\nenvironment = \"production\"");
    let job = |event: &str, git_ref: &str, environment: Option<&str>| {
        claims(
            &json!({"repository": "Octo/blinky", "repository_id": "74", "event_name": event, "ref": git_ref,
            "environment": environment}),
        )
    };
    let main = "refs/heads/main";
    for (event, git_ref, environment, expected) in [
        ("push", main, None, [true, false, false]),
        ("push", main, Some("production"), [true, true, true]),
        ("push", "refs/heads/other", Some("production"), [false, true, false]),
        ("push", main, Some("staging"), [true, false, false]),
        ("workflow_dispatch", main, None, [true, false, false]),
        ("pull_request", "refs/pull/1/merge", None, [false, false, false]),
        ("pull_request", "refs/pull/1/merge", Some("production"), [false, false, false]),
        // GitHub says main here, though anybody can open the pull request.
        ("pull_request_target", main, None, [false, false, false]),
        ("pull_request_target", main, Some("production"), [false, false, false]),
        ("workflow_run", main, None, [false, false, false]),
        ("issue_comment", main, None, [false, false, false]),
        ("", main, None, [false, false, false]),
    ] {
        let job = job(event, git_ref, environment);
        for (publishers, expected) in [&by_ref, &by_environment, &both].into_iter().zip(expected) {
            let scope = job.scope(publishers, None);
            assert_eq!(scope.is_ok(), expected, "{event} {git_ref} {environment:?}: {scope:?}");
        }
    }
    let renamed =
        claims(&json!({"repository": "octo/blinky", "repository_id": "99", "environment": "production"}));
    let refusal = renamed.scope(&by_environment, None).expect_err("another repository").to_string();
    assert!(refusal.contains("repository_id is \"99\"") && refusal.contains("expects 74"), "{refusal}");
}

#[test]
fn several_products_are_told_apart_and_the_widest_entry_of_one_counts() {
    let entry = |product: &str, more: &str| {
        format!(
            "[[trusted_publisher]]\nissuer = \"https://i.example\"\nrepository = \"octo/blinky\"\nproduct = \"{product}\"\n{more}\n"
        )
    };
    let text = entry("blinky", "ref = \"refs/heads/*\"")
        + &entry("blinky", "ref = \"refs/heads/main\"\nmay_promote = true")
        + &entry("lamp", "ref = \"refs/heads/*\"");
    let publishers = crate::config::Config::parse("t", &text, []).expect("valid").trusted_publishers;
    let job =
        |git_ref: &str| claims(&json!({"repository": "octo/blinky", "event_name": "push", "ref": git_ref}));
    let product = |name: &str| name.parse::<ProductName>().expect("a product");
    let scope = |git_ref: &str, name: &str| job(git_ref).scope(&publishers, Some(&product(name)));
    assert!(scope("refs/heads/main", "blinky").expect("trusted").may_promote);
    assert!(!scope("refs/heads/try", "blinky").expect("trusted").may_promote);
    assert!(!scope("refs/heads/main", "lamp").expect("trusted").may_promote);
    let other = scope("refs/heads/main", "heater").expect_err("not trusted").to_string();
    assert!(other.contains("trusted with blinky, lamp, and not with heater"), "{other}");
    let unsaid = job("refs/heads/main").scope(&publishers, None).expect_err("which?").to_string();
    assert!(unsaid.contains("blinky, lamp"), "{unsaid}");
}

#[test]
fn a_p256_signature_counts_and_only_under_its_own_algorithm() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("made");
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("read");
    let point = pair.public_key().as_ref();
    let set = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "k", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        {"kty": "EC", "crv": "P-384", "kid": "k", "x": "AA", "y": "AA"},
        {"kty": "oct", "kid": "k", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "P-256", "kid": "short", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "use": "enc", "kid": "e", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        7, null, {},
    ]});
    let keys = parse(set.to_string().as_bytes()).expect("a set");
    assert_eq!(keys.len(), 1, "{keys:?}");
    let claims = json!({"iss": "https://i.example"}).to_string();
    let signed = format!("{}.{}", encode(json!({"alg": "ES256", "kid": "k"}).to_string()), encode(claims));
    let signature = pair.sign(&random, signed.as_bytes()).expect("signs");
    let token = format!("{signed}.{}", encode(signature.as_ref()));
    let statement = IdToken::read(&token).expect("a statement");
    statement.verify(&keys[0].1).expect("good");
    assert!(!keys[0].1.has_signed(Algorithm::Rs256, signed.as_bytes(), signature.as_ref()));
    let mut other = signature.as_ref().to_vec();
    other[40] ^= 1;
    assert!(!keys[0].1.has_signed(Algorithm::Es256, signed.as_bytes(), &other));
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

proptest! {
    #[test]
    fn no_token_makes_it_panic(token in any::<String>(), parts in prop::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5)) {
        let _ = IdToken::read(&token);
        prop_assert!(IdToken::read(&parts.join(".")).is_err());
    }

    #[test]
    fn no_header_or_claim_makes_it_panic(header in any::<Vec<u8>>(), body in any::<Vec<u8>>(), number in any::<f64>()) {
        let token = format!("{}.{}.{}", encode(&header), encode(&body), encode(&body));
        prop_assert!(IdToken::read(&token).is_err());
        let _ = parse(&body);
        let odd = claims(&json!({"iat": number, "exp": number, "nbf": number, "ref": token, "run_id": token}));
        let _ = (odd.hold_at(at(1000)).is_ok(), odd.name());
    }
}

#[test]
fn what_is_no_signed_token_is_refused_with_its_own_sentence() {
    let token = |header: serde_json::Value| {
        format!("{}.{}.AAAA", encode(header.to_string()), encode(json!({"iss": "i"}).to_string()))
    };
    for (token, words) in [
        (String::new(), "three parts"),
        ("a.b".to_owned(), "three parts"),
        ("a.b.c.d".to_owned(), "three parts"),
        ("e30.e30.".to_owned(), "header cannot be read"),
        ("x".repeat(TOKEN_MAX_BYTES + 1), "at most 16384 are read"),
        (token(json!({"alg": "none", "kid": "k"})), "unsigned"),
        (token(json!({"alg": "NoNe", "kid": "k"})), "unsigned"),
        (token(json!({"alg": "HS256", "kid": "k"})), "\"HS256\", and only RS256 and ES256"),
        (token(json!({"alg": "RS256"})), "names no key"),
        (token(json!({"alg": "RS256", "kid": "k", "crit": ["b64"]})), "(crit)"),
        (token(json!({"alg": "RS256", "kid": "k"})).replace(".AAAA", ".A=A="), "signature cannot be read"),
        (token(json!({"alg": "RS256", "kid": "k"})).replace('.', "\n."), "header cannot be read"),
    ] {
        let refusal = IdToken::read(&token).expect_err(words).to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
    let long = shown(&"é\u{1b}\n".repeat(100));
    assert!(long.chars().count() < 130 && !long.contains(['\u{1b}', '\n']), "{long}");
}
