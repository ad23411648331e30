//! Trusted publishers, through the real door with real signatures.

use ::api::{Channel, Page, PublisherToken, TokenInfo};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use updraft_server::access::Role;
use updraft_server::actor::Actor;

use super::api::{is_open, operations};
use super::issuer::{Fault, Issuer, now, unsigned};
use super::test_server::{Somebody, TestServer, image, problem};

/// A server that trusts octo/blinky's main with lamp.
pub(crate) async fn server(issuer: &Issuer, more: &str) -> TestServer {
    TestServer::open_with_end(&entry(issuer.url(), more)).await
}

fn entry(issuer: &str, more: &str) -> String {
    format!(
        "[[trusted_publisher]]\nissuer = \"{issuer}\"\nrepository = \"octo/blinky\"\nref = \"refs/heads/main\"\n\
         product = \"lamp\"\n{more}\n"
    )
}

async fn admit(server: &TestServer, token: &str) -> reqwest::Response {
    server.nobody().json(Method::POST, "/api/v1/login/oidc", &json!({ "token": token })).await
}

async fn refused(server: &TestServer, token: &str, status: StatusCode) -> String {
    problem(admit(server, token).await, status).await
}

async fn publisher<'a>(server: &'a TestServer, issuer: &Issuer) -> Somebody<'a> {
    let answer = admit(server, &issuer.sign(&issuer.claims(&server.base, &json!({})))).await;
    assert_eq!(answer.status(), 200);
    let answer: PublisherToken = answer.json().await.unwrap();
    assert_eq!(&*answer.product, "lamp");
    server.somebody(&answer.token)
}

#[tokio::test]
async fn a_trusted_publisher_publishes_and_promotes_only_where_it_may() {
    let issuer = Issuer::start().await;
    for (more, may_promote) in [("", false), ("may_promote = true", true)] {
        let server = server(&issuer, more).await;
        let token = issuer.sign(&issuer.claims(&server.base, &json!({})));
        let answer = admit(&server, &token).await;
        assert_eq!(answer.status(), 200);
        let answer: PublisherToken = answer.json().await.unwrap();
        assert_eq!(answer.may_promote, may_promote);
        let ends = answer.expires_at.timestamp();
        assert!((1790..=1800).contains(&(ends - now())), "half an hour");
        let publisher = server.somebody(&answer.token);
        assert_eq!(publisher.publish("version=1.0.0", image("1.0.0")).await.status(), 201);
        for promotion in ["version=1.0.0&promote=beta", "version=1.0.0&pr%6Fmote=beta"] {
            let answer = publisher.publish(promotion, image("1.0.0")).await;
            if may_promote {
                assert_eq!(answer.status(), 201);
            } else {
                let sentence = problem(answer, StatusCode::FORBIDDEN).await;
                assert!(
                    sentence.contains("not to promote") && sentence.contains("may_promote"),
                    "{sentence}"
                );
            }
        }
        let version = json!({"version": "1.0.0"});
        let promoted =
            publisher.json(Method::PUT, "/api/v1/products/lamp/channels/production", &version).await;
        assert_eq!(promoted.status() == 200, may_promote);
        let channels: Page<Channel> =
            publisher.get("/api/v1/products/lamp/channels").await.json().await.unwrap();
        assert_eq!(channels.items.len(), if may_promote { 2 } else { 0 });
        assert_eq!(publisher.get("/api/v1/products/lamp/releases/1.0.0").await.status(), 200);
    }
}

/// Every path there is, so that a new one is closed until somebody opens it.
#[tokio::test]
async fn a_publishers_token_opens_its_list_and_nothing_else() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "may_promote = true").await;
    let publisher = publisher(&server, &issuer).await;
    let list = [
        (Method::GET, "/api/v1/products/lamp/releases"),
        (Method::POST, "/api/v1/products/lamp/releases"),
        (Method::POST, "/api/v1/products/lamp/releases/check"),
        (Method::GET, "/api/v1/products/lamp/releases/1.0.0"),
        (Method::GET, "/api/v1/products/lamp/channels"),
        (Method::PUT, "/api/v1/products/lamp/channels/beta"),
        (Method::GET, "/api/v1/products/lamp/blocked"),
        (Method::POST, "/api/v1/products/lamp/refresh"),
        (Method::GET, "/api/v1/products/lamp/rollouts"),
    ];
    let ask = async |method: &Method, path: &str| {
        let request = publisher.request(method.clone(), path).header("content-type", "application/json");
        request.body("[").send().await.unwrap()
    };
    let mut opened = 0;
    for (method, path) in operations(&server).await.into_iter().filter(|(_, path)| !is_open(path)) {
        let answer = ask(&method, &path).await;
        if list.contains(&(method.clone(), path.as_str())) {
            assert_ne!(answer.status(), 403, "{method} {path}");
            opened += 1;
        } else {
            let sentence = problem(answer, StatusCode::FORBIDDEN).await;
            assert!(
                sentence.starts_with("octo/blinky@refs/heads/main run 123 is a trusted publisher"),
                "{sentence}"
            );
        }
        if path.contains("/lamp") {
            for other in ["/lamp2", "/lam", "/%6Camp", "/heater"] {
                let path = path.replace("/lamp", other);
                assert_eq!(ask(&method, &path).await.status(), 403, "{method} {path}");
            }
        }
    }
    assert_eq!(opened, list.len());
    for path in [
        "/",
        "/devices/d1",
        "/releases/lamp",
        "/audit",
        "/not-admitted",
        "/metrics",
        "/api/v1/nothing",
        "/api/v1/products/lamp/nothing",
    ] {
        problem(ask(&Method::GET, path).await, StatusCode::FORBIDDEN).await;
    }
    assert_eq!(
        ask(&Method::POST, "/releases/lamp/promote").await.status(),
        403,
        "nor by the dashboard's form"
    );
    assert_eq!(ask(&Method::GET, "/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_publishers_token_opens_the_same_below_a_path() {
    let issuer = Issuer::start().await;
    let server =
        TestServer::configured("public_url = \"http://127.0.0.1:9/ota\"", &entry(issuer.url(), "")).await;
    let token = issuer.sign(&issuer.claims("http://127.0.0.1:9/ota", &json!({})));
    let answer =
        server.nobody().json(Method::POST, "/ota/api/v1/login/oidc", &json!({ "token": token })).await;
    let answer: PublisherToken = answer.json().await.unwrap();
    let publisher = server.somebody(&answer.token);
    let publish = async |path: &str| {
        publisher.request(Method::POST, path).body(image("1.0.0")).send().await.unwrap().status().as_u16()
    };
    assert_eq!(publish("/ota/api/v1/products/lamp/releases?version=1.0.0").await, 201);
    for closed in [
        "/ota/api/v1/products/lamp/releases?version=1.0.0&promote=production",
        "/ota/api/v1/products/heater/releases?version=1.0.0",
        "/ota/api/v1/products/lamp/../heater/releases?version=1.0.0",
        "/ota/ota/api/v1/products/lamp/releases?version=1.0.0",
        "/ota//api/v1/products/heater/releases?version=1.0.0",
        "/ota/api/v1/products//lamp/releases?version=1.0.0",
    ] {
        assert_eq!(publish(closed).await, 403, "{closed}");
    }
}

/// A session would outlive the scope.
#[tokio::test]
async fn a_publishers_token_is_no_password() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "").await;
    let token: PublisherToken =
        admit(&server, &issuer.sign(&issuer.claims(&server.base, &json!({})))).await.json().await.unwrap();
    let login = json!({"name": "admin", "password": token.token});
    problem(server.nobody().json(Method::POST, "/api/v1/login", &login).await, StatusCode::UNAUTHORIZED)
        .await;
}

#[tokio::test]
async fn a_publisher_overrules_what_its_entry_lists_and_nothing_else() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "allow = [\"lower-version\"]").await;
    let answer = admit(&server, &issuer.sign(&issuer.claims(&server.base, &json!({})))).await;
    let answer: PublisherToken = answer.json().await.unwrap();
    assert_eq!(answer.allow, ["lower-version"]);
    let publisher = server.somebody(&answer.token);
    let check = async |query: &str, version: &str| {
        let path = format!("/api/v1/products/lamp/releases/check?{query}");
        publisher.request(Method::POST, &path).body(image(version)).send().await.unwrap()
    };
    let operator = server.actor(Role::Operator).await;
    assert_eq!(operator.publish("version=2.0.0&promote=production", image("2.0.0")).await.status(), 201);
    let lower = publisher.publish("version=1.0.0", image("1.0.0")).await;
    assert!(
        problem(lower, StatusCode::CONFLICT).await.contains("is lower; publish it under a higher version")
    );
    for more in [
        "allow=lower-version,same-bytes",
        "allow=same-bytes",
        "%61llow=same%2Dbytes",
        "allow=lower-version&allow=same-bytes",
        "allow=+same-bytes+",
        "allow=flash-mode",
    ] {
        for answer in [
            publisher.publish(&format!("version=1.0.0&{more}"), image("1.0.0")).await,
            check(&format!("version=1.0.0&{more}"), "1.0.0").await,
        ] {
            let sentence = problem(answer, StatusCode::FORBIDDEN).await;
            assert!(sentence.contains("trusted to publish lamp, and not to overrule"), "{sentence}");
            assert!(sentence.contains("its [[trusted_publisher]] does not list it in allow"), "{sentence}");
        }
    }
    let nobody = publisher.publish("version=1.0.0&allow=wrong-chip", image("1.0.0")).await;
    assert!(problem(nobody, StatusCode::BAD_REQUEST).await.contains("wrong-chip cannot be allowed"));
    assert_eq!(check("version=1.0.0&allow=lower-version", "1.0.0").await.status(), 200);
    let listed = publisher.publish("version=1.0.0&allow=lower-version", image("1.0.0")).await;
    assert_eq!(listed.status(), 201);
}

#[tokio::test]
async fn a_token_of_a_publisher_is_worth_what_the_configuration_of_now_says() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "may_promote = true\nallow = [\"lower-version\"]").await;
    let token: PublisherToken =
        admit(&server, &issuer.sign(&issuer.claims(&server.base, &json!({})))).await.json().await.unwrap();
    let token = token.token.as_str();
    assert_eq!(server.somebody(token).publish("version=2.0.0", image("2.0.0")).await.status(), 201);
    let promote = async |server: &TestServer| {
        let version = json!({"version": "2.0.0"});
        server.somebody(token).json(Method::PUT, "/api/v1/products/lamp/channels/production", &version).await
    };

    let server = server.restarted_with_end(&entry(issuer.url(), "")).await;
    let refused = problem(promote(&server).await, StatusCode::FORBIDDEN).await;
    assert!(refused.contains("does not say may_promote"), "{refused}");
    let refused = server.somebody(token).publish("version=1.0.0&allow=lower-version", image("1.0.0")).await;
    assert!(problem(refused, StatusCode::FORBIDDEN).await.contains("does not list it in allow"));
    assert_eq!(server.somebody(token).get("/api/v1/products/lamp/releases").await.status(), 200);

    let other = entry(issuer.url(), "").replace("refs/heads/main", "refs/heads/other");
    let mut server = server;
    for (sections, words) in [
        (String::new(), "no [[trusted_publisher]]"),
        (other, "ref is \"refs/heads/main\""),
        (
            entry(issuer.url(), "").replace("\"lamp\"", "\"heater\""),
            "is trusted with heater, and not with lamp",
        ),
        (entry("https://elsewhere.example", ""), "no [[trusted_publisher]]"),
    ] {
        server = server.restarted_with_end(&sections).await;
        let answer = server.somebody(token).get("/api/v1/products/lamp/releases").await;
        let sentence = problem(answer, StatusCode::UNAUTHORIZED).await;
        assert!(sentence.starts_with("This token has ended, since the server's configuration"), "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
        assert_eq!(server.somebody(token).get("/healthz").await.status(), 200, "what is open stays open");
    }
}

#[tokio::test]
async fn a_publishers_tokens_are_listed_and_can_be_revoked() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "").await;
    let statements = [(); 2].map(|()| issuer.sign(&issuer.claims(&server.base, &json!({}))));
    let mut tokens = Vec::new();
    for statement in &statements {
        let token: PublisherToken = admit(&server, statement).await.json().await.unwrap();
        tokens.push(token.token);
    }
    let other = issuer.sign(&issuer.claims(&server.base, &json!({"run_id": "124"})));
    let other: PublisherToken = admit(&server, &other).await.json().await.unwrap();
    let other = server.somebody(&other.token);
    assert_eq!(other.publish("version=1.0.0", image("1.0.0")).await.status(), 201);
    // As `updraft token` does, beside the running server.
    let auth = &server.running.services().access;
    auth.create_token(&Actor::SERVER, "laptop", Role::Viewer, None).await.unwrap();
    let listed = auth.tokens().await.unwrap();
    let name = "octo/blinky@refs/heads/main run 123";
    let row =
        |row: &TokenInfo| format!("{} | {} | {}", row.name, row.kind, row.product.as_deref().unwrap_or("-"));
    assert_eq!(
        listed.iter().map(row).collect::<Vec<_>>(),
        [
            "laptop | api | -".to_owned(),
            format!("{name} | publisher | lamp"),
            format!("{name} | publisher | lamp"),
            "octo/blinky@refs/heads/main run 124 | publisher | lamp".to_owned(),
        ]
    );
    let publisher = &listed[3];
    assert!(publisher.expires_at.is_some() && publisher.used_at.is_some(), "{publisher:?}");
    assert!(!json!(listed).to_string().contains(&tokens[0]));
    assert_eq!(auth.revoke_token(&Actor::SERVER, name).await.unwrap(), 2);
    for token in &tokens {
        let answer = server.somebody(token).get("/api/v1/products/lamp/releases").await;
        problem(answer, StatusCode::UNAUTHORIZED).await;
    }
    let again = refused(&server, &statements[0], StatusCode::UNAUTHORIZED).await;
    assert!(again.contains("used here before"), "its statement is no good for another: {again}");
    assert_eq!(other.get("/api/v1/products/lamp/releases").await.status(), 200, "the others stay");
    assert_eq!(auth.tokens().await.unwrap().len(), 2);
    assert!(
        auth.revoke_token(&Actor::SERVER, name)
            .await
            .unwrap_err()
            .to_string()
            .contains("There is no token named")
    );
}

#[tokio::test]
async fn an_issuer_whose_name_ends_in_a_slash_is_one_of_its_own() {
    let issuer = Issuer::start().await;
    issuer.end_in_a_slash();
    let slash = format!("{}/", issuer.url());
    let server = TestServer::open_with_end(&entry(&slash, "")).await;
    let sign = |iss: &str| issuer.sign(&issuer.claims(&server.base, &json!({ "iss": iss })));
    assert_eq!(admit(&server, &sign(&slash)).await.status(), 200);
    let sentence = refused(&server, &sign(issuer.url()), StatusCode::UNAUTHORIZED).await;
    assert!(
        sentence.contains(&format!("names \"{slash}\"")) && sentence.contains("letter for letter"),
        "{sentence}"
    );
}

#[tokio::test]
async fn who_tries_without_end_has_to_wait_and_others_do_not() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "").await;
    let attempt = async |from: &str| {
        let request = server.nobody().request(Method::POST, "/api/v1/login/oidc");
        request.header("x-forwarded-for", from).json(&json!({"token": "x"})).send().await.unwrap()
    };
    let mut admitted = 0;
    let answer = loop {
        let answer = attempt("198.51.100.1").await;
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 401);
        admitted += 1;
        assert!(admitted < 1000, "never stopped");
    };
    assert!(admitted >= 60, "{admitted}");
    assert_eq!(answer.headers()["retry-after"], "1");
    let sentence = problem(answer, StatusCode::TOO_MANY_REQUESTS).await;
    assert!(sentence.contains("198.51.100.1 has tried to log in more than 60 times"), "{sentence}");
    assert_eq!(attempt("198.51.100.2").await.status(), 401, "another address");
    let good = issuer.sign(&issuer.claims(&server.base, &json!({})));
    assert_eq!(admit(&server, &good).await.status(), 200, "and this machine's own");
}

#[tokio::test]
async fn each_wrong_claim_is_refused_with_its_sentence() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "").await;
    let sign = |more: Value| issuer.sign(&issuer.claims(&server.base, &more));
    let (unproven, forbidden) = (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN);
    for (claims, status, words) in [
        (json!({"repository": "mallory/fork"}), forbidden, "repository \"mallory/fork\", which no"),
        (json!({"repository": null}), forbidden, "repository \"\", which no"),
        (json!({"ref": "refs/heads/main2"}), forbidden, "expects \"refs/heads/main\""),
        (json!({"ref": null}), forbidden, "the token has no ref"),
        (json!({"event_name": "pull_request_target"}), forbidden, "event_name is \"pull_request_target\""),
        (json!({"aud": "https://other.example"}), unproven, "audience (aud) \"https://other.example\""),
        (json!({"aud": null}), unproven, "names no audience"),
        (json!({"exp": now() - 61}), unproven, "has expired"),
        (json!({"exp": null}), unproven, "no time of expiry"),
        (json!({"exp": "soon"}), unproven, "claims cannot be read"),
        (json!({"nbf": now() + 90}), unproven, "not yet valid"),
        (json!({"iat": now() - 1000, "exp": now() + 9000}), unproven, "too old"),
        (json!({"iss": "https://token.actions.githubusercontent.com"}), unproven, "issuer (iss) is"),
        (json!({"iss": format!("{}/", issuer.url())}), unproven, "issuer (iss) is"),
    ] {
        let sentence = refused(&server, &sign(claims), status).await;
        assert!(sentence.contains(words), "{words}: {sentence}");
        assert!(words.contains("fork") || !sentence.contains("mallory"), "{sentence}");
    }
    let unknown = refused(&server, &sign(json!({"repository": "mallory/fork"})), forbidden).await;
    assert!(!unknown.contains("octo"), "nobody else hears who is trusted: {unknown}");
    let body = json!({"token": sign(json!({})), "product": "heater"});
    let other = server.nobody().json(Method::POST, "/api/v1/login/oidc", &body).await;
    assert!(problem(other, forbidden).await.contains("not with heater"));
}

#[tokio::test]
async fn an_environment_is_what_lets_in_where_it_is_asked_for() {
    let issuer = Issuer::start().await;
    let server = TestServer::open_with_end(&format!(
        "[[trusted_publisher]]\nissuer = \"{}\"\nrepository = \"octo/blinky\"\nenvironment = \"release\"\nproduct = \"lamp\"\n",
        issuer.url()
    ))
    .await;
    let sign = |more: Value| issuer.sign(&issuer.claims(&server.base, &more));
    let none = refused(&server, &sign(json!({})), StatusCode::FORBIDDEN).await;
    assert!(none.contains("has no environment") && none.contains("expects \"release\""), "{none}");
    let wrong = refused(&server, &sign(json!({"environment": "staging"})), StatusCode::FORBIDDEN).await;
    assert!(wrong.contains("environment is \"staging\""), "{wrong}");
    let right = admit(&server, &sign(json!({"environment": "release", "ref": "refs/tags/v1.0.0"}))).await;
    assert_eq!(right.status(), 200);
}

#[tokio::test]
async fn what_the_issuer_did_not_sign_is_refused_with_its_sentence() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "").await;
    let claims = issuer.claims(&server.base, &json!({}));
    let kid = Issuer::first_kid();
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    let good = issuer.sign(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let changed = issuer.claims(&server.base, &json!({"repository": "octo/blinky", "run_id": "999"}));
    let hmac = {
        use base64::Engine;
        use hmac::{KeyInit, Mac};
        let signed = unsigned(&header("HS256", &kid), &claims);
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&Issuer::first_modulus()).unwrap();
        mac.update(signed.as_bytes());
        let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{signed}.{signature}")
    };
    for (token, words) in [
        (format!("{}.", unsigned(&header("none", &kid), &claims)), "unsigned"),
        (format!("{}.{signature}", unsigned(&header("none", &kid), &claims)), "unsigned"),
        (hmac, "\"HS256\""),
        (Issuer::sign_as(&header("RS256", "nobodys"), &claims, true), "has no such key"),
        (Issuer::sign_as(&header("RS256", &kid), &claims, false), "signature is wrong"),
        (Issuer::sign_as(&header("ES256", &kid), &claims, true), "has no such key"),
        (format!("{}.{signature}", unsigned(&header("RS256", &kid), &changed)), "signature is wrong"),
        (format!("{signed}."), "signature is wrong"),
        (format!("{}.{}", good, "x".repeat(17_000)), "at most 16,384"),
        ("garbage".to_owned(), "three parts"),
        (String::new(), "three parts"),
    ] {
        let sentence = refused(&server, &token, StatusCode::UNAUTHORIZED).await;
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
    assert_eq!(admit(&server, &good).await.status(), 200, "the good one is still good");
    let again = refused(&server, &good, StatusCode::UNAUTHORIZED).await;
    assert!(again.contains("used here before"), "{again}");
    let huge = json!({"token": "x".repeat(70_000)});
    let huge = server.nobody().json(Method::POST, "/api/v1/login/oidc", &huge).await;
    problem(huge, StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test]
async fn a_new_key_is_picked_up_and_nobody_can_have_it_asked_for_without_end() {
    let issuer = Issuer::start().await;
    let server = server(&issuer, "").await;
    let sign = || issuer.sign(&issuer.claims(&server.base, &json!({})));
    let before = sign();
    assert_eq!(admit(&server, &sign()).await.status(), 200);
    assert_eq!(admit(&server, &sign()).await.status(), 200);
    assert_eq!(issuer.key_fetches(), 1, "kept");
    issuer.rotate();
    assert_eq!(admit(&server, &sign()).await.status(), 200, "the new key");
    assert_eq!(issuer.key_fetches(), 2);
    let gone = refused(&server, &before, StatusCode::UNAUTHORIZED).await;
    assert!(gone.contains("has no such key"), "{gone}");
    for _ in 0..5 {
        refused(&server, &before, StatusCode::UNAUTHORIZED).await;
    }
    assert_eq!(issuer.key_fetches(), 2, "once a minute");
}

#[tokio::test]
async fn an_issuer_in_trouble_lets_nobody_in_and_says_so() {
    let issuer = Issuer::start().await;
    for (trouble, words) in [
        (Fault::Down, "answered 503"),
        (Fault::Slow, "did not answer within 5 seconds"),
        (Fault::Huge, "longer than 128 KiB"),
        (Fault::Garbage, "is not a key set"),
        (Fault::Redirect, "answered 302"),
        (Fault::OtherName, "of another issuer, \"https://other.example\""),
        (Fault::PlainKeys, "only https is asked"),
    ] {
        let server = server(&issuer, "").await;
        issuer.set_fault(trouble);
        let token = issuer.sign(&issuer.claims(&server.base, &json!({})));
        let sentence = refused(&server, &token, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(sentence.contains(words), "{trouble:?}: {sentence}");
    }
    issuer.set_fault(Fault::None);
    let server = server(&issuer, "").await;
    let sign = || issuer.sign(&issuer.claims(&server.base, &json!({})));
    assert_eq!(admit(&server, &sign()).await.status(), 200);
    issuer.set_fault(Fault::Down);
    assert_eq!(admit(&server, &sign()).await.status(), 200, "the keys that are known do");
}

#[tokio::test]
async fn a_server_that_trusts_nobody_says_so() {
    let server = TestServer::open().await;
    let sentence = refused(&server, "x.y.z", StatusCode::FORBIDDEN).await;
    assert!(sentence.contains("no [[trusted_publisher]]"), "{sentence}");
    let viewer = server.actor(Role::Viewer).await;
    assert_eq!(viewer.get("/api/v1/devices").await.status(), 200, "tokens without a scope are as before");
}
