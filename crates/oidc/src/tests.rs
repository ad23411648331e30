use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use contract::ProductName;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use super::*;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn claims(more: &serde_json::Value) -> Claims {
    let mut claims =
        json!({"iss": "https://i.example", "aud": "https://u.example", "iat": 1000, "exp": 1300});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    serde_json::from_value(claims).expect("claims")
}

/// octo/blinky is trusted, as far as nothing else is said.
fn entry(product: &str) -> TrustedPublisher {
    TrustedPublisher {
        issuer: "https://i.example".to_owned(),
        repository: "octo/blinky".to_owned(),
        repository_id: None,
        repository_owner_id: None,
        git_ref: None,
        environment: None,
        product: product.parse().expect("a product"),
        may_promote: false,
        allow: Vec::new(),
    }
}

fn main_only() -> Option<RefPattern> {
    RefPattern::parse("refs/heads/main").ok()
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
    let by_ref = [TrustedPublisher { git_ref: main_only(), ..entry("blinky") }];
    let environment = Some("Production".to_owned());
    let by_environment = [TrustedPublisher {
        environment: environment.clone(),
        repository_id: Some("74".to_owned()),
        ..entry("blinky")
    }];
    let both = [TrustedPublisher { git_ref: main_only(), environment, ..entry("blinky") }];
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
            let scope = job.job().scope(publishers, None);
            assert_eq!(scope.is_ok(), expected, "{event} {git_ref} {environment:?}: {scope:?}");
        }
    }
    let renamed =
        claims(&json!({"repository": "octo/blinky", "repository_id": "99", "environment": "production"}));
    let refusal = renamed.job().scope(&by_environment, None).expect_err("another repository").to_string();
    assert!(refusal.contains("repository_id is \"99\"") && refusal.contains("expects 74"), "{refusal}");
}

#[test]
fn several_products_are_told_apart_and_the_widest_entry_of_one_counts() {
    let any = || RefPattern::parse("refs/heads/*").ok();
    let publishers = [
        TrustedPublisher { git_ref: any(), allow: vec!["same-bytes".to_owned()], ..entry("blinky") },
        TrustedPublisher {
            git_ref: main_only(),
            may_promote: true,
            allow: vec!["lower-version".to_owned(), "same-bytes".to_owned()],
            ..entry("blinky")
        },
        TrustedPublisher { git_ref: any(), ..entry("lamp") },
    ];
    let job =
        |git_ref: &str| claims(&json!({"repository": "octo/blinky", "event_name": "push", "ref": git_ref}));
    let product = |name: &str| name.parse::<ProductName>().expect("a product");
    let scope = |git_ref: &str, name: &str| job(git_ref).job().scope(&publishers, Some(&product(name)));
    let widest = scope("refs/heads/main", "blinky").expect("trusted");
    assert!(widest.may_promote);
    assert_eq!(widest.allow, ["lower-version", "same-bytes"], "each once");
    let other = scope("refs/heads/try", "blinky").expect("trusted");
    assert_eq!((other.may_promote, other.allow), (false, vec!["same-bytes".to_owned()]));
    let other = scope("refs/heads/main", "lamp").expect("trusted");
    assert_eq!((other.may_promote, other.allow.len()), (false, 0));
    let other = scope("refs/heads/main", "heater").expect_err("not trusted").to_string();
    assert!(other.contains("trusted with blinky, lamp, and not with heater"), "{other}");
    let unsaid = job("refs/heads/main").job().scope(&publishers, None).expect_err("which?").to_string();
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
    let keys = key_set(set.to_string().as_bytes()).expect("a set");
    assert_eq!(keys.len(), 1, "{keys:?}");
    let claims = json!({"iss": "https://i.example"}).to_string();
    let signed = format!("{}.{}", encode(json!({"alg": "ES256", "kid": "k"}).to_string()), encode(claims));
    let signature = pair.sign(&random, signed.as_bytes()).expect("signs");
    let token = format!("{signed}.{}", encode(signature.as_ref()));
    let statement = IdToken::read(&token).expect("a statement");
    let job = statement.verify(&keys[0].1).expect("good").job().clone();
    assert_eq!(job.issuer(), "https://i.example");
    let kept = serde_json::to_string(&job).expect("written");
    assert_eq!(serde_json::from_str::<Job>(&kept).expect("read"), job, "as it is kept");
    assert!(!keys[0].1.has_signed(Algorithm::Rs256, signed.as_bytes(), signature.as_ref()));
    let mut other = signature.as_ref().to_vec();
    other[40] ^= 1;
    assert!(!keys[0].1.has_signed(Algorithm::Es256, signed.as_bytes(), &other));
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
        let _ = (key_set(&body).is_some(), key_set_address(&body, "https://i.example").is_ok());
        let odd = claims(&json!({"iat": number, "exp": number, "nbf": number, "ref": token, "run_id": token}));
        let _ = (odd.hold_at(at(1000)).is_ok(), odd.job().name());
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
        ("x".repeat(TOKEN_MAX_BYTES + 1), "at most 16,384 are read"),
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
}

#[test]
fn what_others_wrote_is_one_line_of_letters_that_are_seen() {
    let long = shown(&"é\u{1b}\n".repeat(100));
    assert!(long.chars().count() < 130 && !long.contains(['\u{1b}', '\n']), "{long}");
    let unseen = "a\u{202E}b\u{2066}c\u{200B}d\u{FEFF}e\u{AD}f\u{2028}g\u{E0041}h\u{200D}i\u{61C}j\u{85}k";
    assert_eq!(shown(unseen), "\"a b c d e f g h i j k\"");
    assert_eq!(shown("größe 漢字 \u{1F4A1}"), "\"größe 漢字 \u{1F4A1}\"", "others stay");
    let job = claims(
        &json!({"repository": "octo/bl\u{202E}inky", "ref": "refs/heads/\u{200B}main", "run_id": "1\n2"}),
    );
    assert_eq!(job.job().name(), "octo/bl inky@refs/heads/ main run 1 2");
    let refusal = job.job().scope(&[entry("blinky")], None).expect_err("another").to_string();
    assert!(refusal.contains("\"octo/bl inky\""), "{refusal}");
}

#[test]
fn a_name_tells_two_runs_apart_however_long_repository_and_ref_are() {
    let name = |run: &str| {
        let (repository, git_ref) =
            (format!("octo/{}", "r".repeat(100)), format!("refs/heads/{}", "b".repeat(200)));
        claims(&json!({"repository": repository, "ref": git_ref, "run_id": run})).job().name()
    };
    let (first, second) = (name("16800000001"), name("16800000002"));
    assert_ne!(first, second);
    assert!(first.ends_with("b… run 16800000001"), "{first}");
    assert_eq!(first.chars().count(), 200, "{first}");
    let endless = name(&"9".repeat(500));
    assert!(endless.chars().count() <= 200 && endless.starts_with("octo/r"), "{endless}");
}

#[test]
fn keys_come_by_https_and_never_from_this_machine_for_an_issuer_elsewhere() {
    let address = |issuer: &str, keys: &str| {
        let document = json!({"issuer": issuer, "jwks_uri": keys}).to_string();
        key_set_address(document.as_bytes(), issuer).map(String::from)
    };
    let (far, near) = ("https://i.example/", "http://127.0.0.1:9");
    for (issuer, keys) in [
        (far, "https://keys.example/a"),
        (near, "http://127.0.0.1:8/keys"),
        (near, "http://localhost/keys"),
        (near, "http://[::1]/keys"),
        (near, "https://keys.example/a"),
    ] {
        assert_eq!(address(issuer, keys).as_deref(), Ok(keys), "{issuer}");
    }
    for (issuer, keys, words) in [
        (far, "http://keys.example/", "only https is asked"),
        (far, "http://127.0.0.1/", "only https is asked"),
        (far, "https://127.9.9.9/", "this server's own machine"),
        (far, "https://localhost/", "this server's own machine"),
        (far, "https://LOCALHOST./", "this server's own machine"),
        (far, "https://a.localhost/", "this server's own machine"),
        (far, "https://[::1]/", "this server's own machine"),
        (far, "https://[::ffff:127.0.0.1]/", "this server's own machine"),
        (far, "https://0/", "this server's own machine"),
        (far, "https://2130706433/", "this server's own machine"),
        ("https://localhost", "https://localhost/keys", "this server's own machine"),
        (near, "http://192.0.2.1/", "only https is asked"),
        (near, "http://localhost.example/", "only https is asked"),
        (far, "https://u:p@keys.example/", "only https is asked"),
        (far, "file:///etc/passwd", "only https is asked"),
        (far, "data:,x", "only https is asked"),
        (far, "keys", "which is not a URL"),
    ] {
        let why = address(issuer, keys).expect_err(keys);
        assert!(why.contains(words), "{issuer} {keys}: {why}");
    }
}

#[test]
fn an_issuers_name_is_compared_letter_for_letter() {
    let named = |says: &str, issuer: &str| {
        key_set_address(
            json!({"issuer": says, "jwks_uri": "https://k.example"}).to_string().as_bytes(),
            issuer,
        )
    };
    for issuer in ["https://i.example", "https://i.example/", "https://i.example/a/", "https://i.example/a"] {
        named(issuer, issuer).expect("its own");
        assert!(!discovery_address(issuer).replace("https://", "").contains("//"), "{issuer}");
    }
    for (says, issuer) in [
        ("https://i.example/", "https://i.example"),
        ("https://i.example", "https://i.example/"),
        ("https://I.example", "https://i.example"),
    ] {
        let why = named(says, issuer).expect_err("another");
        assert!(why.contains("is of another issuer"), "{why}");
    }
    let slash =
        [TrustedPublisher { issuer: "https://i.example/".to_owned(), git_ref: main_only(), ..entry("lamp") }];
    let job = |iss: &str| {
        claims(
            &json!({"iss": iss, "repository": "octo/blinky", "event_name": "push", "ref": "refs/heads/main"}),
        )
    };
    job("https://i.example/").job().scope(&slash, None).expect("the same");
    job("https://i.example").job().scope(&slash, None).expect_err("another");
    let garbage = key_set_address(b"[", "https://i.example").expect_err("no document");
    assert!(garbage.contains("not a discovery document"), "{garbage}");
}
