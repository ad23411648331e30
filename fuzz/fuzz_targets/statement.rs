//! No token panics whoever reads it, none that nobody signed is believed, and what is signed lets in only whom an entry names.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::Value;
use updraft_contract::ProductName;
use updraft_oidc::{Claims, IdToken, Key, RefPattern, TrustedPublisher, shown};

const ISSUER: &str = "https://i.example";
const SERVER: &str = "https://u.example";
const NOW: i64 = 1_000_000;

/// Another key each time, so that no input could sign with it.
static PAIR: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key is made");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("it is read")
});

static PUBLISHERS: LazyLock<[TrustedPublisher; 3]> = LazyLock::new(|| {
    let product = |name: &str| name.parse::<ProductName>().expect("a product");
    let main = TrustedPublisher {
        issuer: ISSUER.to_owned(),
        repository: "octo/blinky".to_owned(),
        repository_id: None,
        repository_owner_id: None,
        git_ref: RefPattern::parse("refs/heads/main").ok(),
        environment: None,
        product: product("blinky"),
        may_promote: true,
        allow: vec!["lower-version".to_owned()],
    };
    let tags = TrustedPublisher {
        git_ref: RefPattern::parse("refs/tags/v*").ok(),
        environment: Some("release".to_owned()),
        repository_id: Some("74".to_owned()),
        may_promote: false,
        ..main.clone()
    };
    let lamp =
        TrustedPublisher { repository: "octo/lamp".to_owned(), product: product("lamp"), ..main.clone() };
    [main, tags, lamp]
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    unsigned(&text);
    // Header and claims, with a line's end between: put together and signed here, since mutation signs nothing.
    let Some((header, claims)) = text.split_once('\n') else { return };
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    unsigned(&format!("{signed}."));
    let signature = PAIR.sign(&SystemRandom::new(), signed.as_bytes()).expect("it signs");
    let good = URL_SAFE_NO_PAD.encode(signature.as_ref());
    let token = format!("{signed}.{good}");
    if let Ok(statement) = IdToken::read(&token) {
        assert_eq!(statement.signed(), signed);
        let (issuer, key_id) = (statement.issuer().to_owned(), statement.key_id().to_owned());
        if let Ok(verified) = statement.verify(&key()) {
            // What nobody looks at in a header may be no JSON to others.
            let Ok(header) = serde_json::from_str::<Value>(header) else { return };
            assert_eq!((&header["alg"], &header["kid"]), (&Value::from("ES256"), &Value::from(key_id)));
            assert_eq!(verified.job().issuer(), issuer);
            judge(&verified, &serde_json::from_str(claims).expect("they were read"));
        }
    }
    // The same signature under other claims.
    let other =
        format!("{}.{}.{good}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(format!("{claims} ")));
    unsigned(&other);
});

/// What the harness did not sign is never believed.
fn unsigned(token: &str) {
    let Ok(statement) = IdToken::read(token) else { return };
    assert!(statement.verify(&key()).is_err(), "nobody signed it");
}

/// Whom the entries let in, said again in other words.
fn judge(verified: &Claims, claims: &Value) {
    let now = DateTime::from_timestamp(NOW, 0).expect("a time");
    if verified.hold_at(now).is_ok() {
        let number = |name: &str| claims[name].as_f64().expect("a time");
        assert!(number("exp") > (NOW - 61) as f64 && number("iat") > (NOW - 962) as f64, "over");
        assert!(number("iat") < (NOW + 62) as f64, "not begun");
    }
    if verified.are_for(SERVER).is_ok() {
        let audience = &claims["aud"];
        assert!(audience == SERVER || audience.as_array().expect("a list").iter().any(|one| one == SERVER));
    }
    let name = verified.job().name();
    assert!(name.chars().count() <= 200 && !name.contains(char::is_control));
    let kept = serde_json::to_string(verified.job()).expect("it is written");
    assert_eq!(&serde_json::from_str::<updraft_oidc::Job>(&kept).expect("it is read"), verified.job());
    let text = |name: &str| claims[name].as_str().unwrap_or_default();
    let is_main = text("ref") == "refs/heads/main";
    match verified.job().scope(PUBLISHERS.as_slice(), None) {
        Ok(scope) => {
            assert_eq!(text("iss"), ISSUER);
            assert!(
                !["", "pull_request", "pull_request_target", "workflow_run"].contains(&text("event_name"))
            );
            assert!(text("repository").eq_ignore_ascii_case(&format!("octo/{}", scope.product)));
            let is_tag = text("ref").starts_with("refs/tags/v")
                && text("environment").eq_ignore_ascii_case("release")
                && text("repository_id") == "74";
            assert!(is_main || (is_tag && !scope.may_promote && scope.product.as_str() == "blinky"));
            assert_eq!(scope.allow, ["lower-version"]);
        }
        Err(refusal) => {
            assert!(!refusal.to_string().contains(char::is_control), "{}", shown(&refusal.to_string()))
        }
    }
}

fn key() -> Key {
    Key::P256(PAIR.public_key().as_ref().to_vec())
}
