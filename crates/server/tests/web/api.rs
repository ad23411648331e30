use std::collections::{HashMap, HashSet};

use ::api::{
    Channel, CheckAnswer, Device, GateDecision, Judgement, Page, Product, PublishDecision, Published,
    Refusal, RegisteredDevice, Release, Session,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use updraft_server::access::Role;

use super::test_server::{TestServer, cookie, image, problem};

/// Every path of the document, with something in place of its parameters.
pub(crate) async fn operations(server: &TestServer) -> Vec<(Method, String)> {
    let document: Value = server.nobody().get("/api/openapi.json").await.json().await.unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/") || path == "/healthz" || path == "/readyz", "{path}");
        let filled = path
            .replace("{id}", "d1")
            .replace("{p}", "lamp")
            .replace("{version}", "1.0.0")
            .replace("{n}", "1")
            .replace("{c}", "beta");
        assert!(!filled.contains('{'), "{filled}");
        for method in item.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            operations.push((method, filled.clone()));
        }
    }
    assert!(operations.len() >= 24, "{operations:?}");
    operations
}

/// What the document says that each operation may answer, by method and path as [`operations`] fills it.
async fn documented(server: &TestServer) -> HashMap<(String, String), HashSet<u16>> {
    let document: Value = server.nobody().get("/api/openapi.json").await.json().await.unwrap();
    let mut documented = HashMap::new();
    let mut operations = operations(server).await.into_iter();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values().filter(|value| value["responses"].is_object()) {
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                let kind = if status.starts_with(['4', '5']) { "application/problem+json" } else { "" };
                let content = response["content"].as_object();
                assert!(
                    kind.is_empty() || content.is_some_and(|content| content.contains_key(kind)),
                    "{operation}"
                );
                assert!(!response["description"].as_str().unwrap().is_empty(), "{operation}");
            }
            let (method, path) = operations.next().unwrap();
            let statuses = responses.keys().map(|status| status.parse().unwrap()).collect();
            documented.insert((method.to_string(), path), statuses);
        }
    }
    assert!(operations.next().is_none());
    documented
}

/// Asks for everything in every way that is refused, and in some that is not.
#[tokio::test]
async fn every_answer_is_in_the_document() {
    let server = TestServer::open().await;
    let documented = documented(&server).await;
    for ((method, path), statuses) in documented.iter().filter(|((_, path), _)| path != "/healthz") {
        assert!(statuses.contains(&503), "{method} {path} may take too long");
        assert!(
            !path.contains("/login") || statuses.contains(&429),
            "{method} {path} can be tried too often"
        );
    }
    let (admin, viewer) = (server.actor(Role::Admin).await, server.actor(Role::Viewer).await);
    let (nobody, unknown) = (server.nobody(), server.somebody("unknown"));
    assert_eq!(admin.publish("version=1.0.0", image("1.0.0")).await.status(), 201);
    let json = "application/json";
    let mut seen = HashSet::new();
    // The last ones find no store.
    for (who, kind, body) in [
        (&nobody, json, "[".to_owned()),
        (&unknown, json, "[".to_owned()),
        (&viewer, json, "[".to_owned()),
        (&admin, json, "[".to_owned()),
        (&admin, "text/plain", "x".to_owned()),
        (&admin, json, "x".repeat(70_000)),
        (&admin, "application/octet-stream", "x".repeat(16 * 1024 * 1024 + 1)),
        (&admin, json, json!({"id": "d1", "product": "lamp"}).to_string()),
        (&admin, json, json!({"id": "d1", "product": "lamp"}).to_string()),
        (&admin, json, json!({"version": "1.0.0"}).to_string()),
        (&admin, json, json!({"version": "9.0.0"}).to_string()),
        (&admin, json, json!({"reason": "too bright"}).to_string()),
        (&admin, json, json!({"reason": ""}).to_string()),
        (&admin, json, String::new()),
        (&admin, json, json!({"reason": "no store"}).to_string()),
        (&admin, json, json!({"version": "1.0.0"}).to_string()),
    ] {
        if body.contains("no store") {
            let store = server.folder.path().join("store");
            std::fs::rename(&store, server.folder.path().join("elsewhere")).unwrap();
        }
        for ((method, path), statuses) in &documented {
            for path in [
                path.clone(),
                path.replace("lamp", "nothing"),
                path.replace("/d1", "/-"),
                format!("{path}?x=1"),
            ] {
                let request = who.request(method.parse().unwrap(), &path).header("content-type", kind);
                // Who is refused may not read it all.
                let Ok(answer) = request.body(body.clone()).send().await else { continue };
                let status = answer.status().as_u16();
                assert!(statuses.contains(&status), "{method} {path} with {body:.30}: {status}");
                seen.insert(status);
            }
        }
    }
    for status in [200, 201, 204, 400, 401, 403, 404, 409, 413, 415, 503] {
        assert!(seen.contains(&status), "nothing was answered with {status}: {seen:?}");
    }
}

pub(crate) fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/api/v1/login" | "/api/v1/login/oidc")
}

#[tokio::test]
async fn every_path_without_credentials_is_401_before_anything_is_read() {
    let server = TestServer::open().await;
    for (method, path) in operations(&server).await.into_iter().filter(|(_, path)| !is_open(path)) {
        for bearer in [None, Some("Bearer nobody"), Some("Basic YTpi")] {
            let mut request = server.nobody().request(method.clone(), &path).body("{ not json");
            if let Some(bearer) = bearer {
                request = request.header("authorization", bearer);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{method} {path}");
            problem(answer, StatusCode::UNAUTHORIZED).await;
        }
    }
    for path in ["/api/v1/nothing", "/api/v1/devices/%00", "/metrics"] {
        problem(server.nobody().get(path).await, StatusCode::UNAUTHORIZED).await;
    }
}

#[tokio::test]
async fn roles_may_what_they_may_and_nothing_else() {
    let server = TestServer::open().await;
    let (admin, operator) = (server.actor(Role::Admin).await, server.actor(Role::Operator).await);
    let (ci, viewer) = (server.actor(Role::Ci).await, server.actor(Role::Viewer).await);
    for (method, path) in operations(&server).await {
        // Logging out with an API token would revoke nothing, and a stream does not end.
        if is_open(&path) || path == "/api/v1/events" || path == "/api/v1/logout" {
            continue;
        }
        let is_audit = path == "/api/v1/audit";
        let reads = method == Method::GET && !is_audit;
        let releases = reads
            || path.ends_with("/releases")
            || path.ends_with("/releases/check")
            || path.ends_with("/channels/beta")
            || path.ends_with("/refresh");
        for (who, may) in [(&viewer, reads), (&ci, releases), (&operator, !is_audit), (&admin, true)] {
            // Refused by its body, where it is not refused by its role: nothing is changed.
            let answer = who
                .request(method.clone(), &path)
                .header("content-type", "application/json")
                .body("[")
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status() != 403, may, "{method} {path}: {}", answer.status());
            if !may {
                problem(answer, StatusCode::FORBIDDEN).await;
            }
        }
    }
}

#[tokio::test]
async fn every_failure_is_a_problem_document() {
    let server = TestServer::open().await;
    let admin = server.actor(Role::Admin).await;
    let long = "a".repeat(70_000);
    let unknown = problem(admin.get("/api/v1/devices/nobody").await, StatusCode::NOT_FOUND).await;
    assert!(unknown.contains("nobody"), "{unknown}");
    problem(admin.get("/api/v1/nothing").await, StatusCode::NOT_FOUND).await;
    problem(admin.get("/api/v1/products/nothing/releases").await, StatusCode::NOT_FOUND).await;
    let wrong_method = admin.request(Method::PUT, "/api/v1/devices").send().await.unwrap();
    assert!(wrong_method.headers().contains_key("allow"));
    problem(wrong_method, StatusCode::METHOD_NOT_ALLOWED).await;
    for path in [
        "/api/v1/devices/-bad",
        "/api/v1/products/UPPER/releases",
        "/api/v1/products/lamp/releases/1.2%0A1.3",
        "/api/v1/devices?colour=red",
        "/api/v1/devices?state=tired",
        "/api/v1/devices/d1/updates?limit=0",
    ] {
        let sentence = problem(admin.get(path).await, StatusCode::BAD_REQUEST).await;
        assert!(!sentence.contains("deserialize"), "{sentence}");
    }
    let post = |kind: &'static str, body: String| {
        admin.request(Method::POST, "/api/v1/devices").header("content-type", kind).body(body).send()
    };
    problem(post("application/json", "{".into()).await.unwrap(), StatusCode::BAD_REQUEST).await;
    problem(post("application/json", "{\"id\":\"a/b\"}".into()).await.unwrap(), StatusCode::BAD_REQUEST)
        .await;
    problem(
        post("application/json", "{\"id\":\"a\",\"colour\":1}".into()).await.unwrap(),
        StatusCode::BAD_REQUEST,
    )
    .await;
    problem(post("text/plain", "{\"id\":\"a\"}".into()).await.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .await;
    problem(
        post("application/json", format!("{{\"id\":\"{long}\"}}")).await.unwrap(),
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await;
    problem(
        admin.request(Method::POST, "/api/v1/updates/99/cancel").send().await.unwrap(),
        StatusCode::NOT_FOUND,
    )
    .await;
    problem(
        admin.request(Method::POST, "/api/v1/updates/x/cancel").send().await.unwrap(),
        StatusCode::BAD_REQUEST,
    )
    .await;
}

#[tokio::test]
async fn a_device_is_registered_changed_checked_and_removed() {
    let server = TestServer::open().await;
    let operator = server.actor(Role::Operator).await;
    assert_eq!(operator.publish("version=1.0.0&promote=production", image("1.0.0")).await.status(), 201);
    let answer =
        operator.json(Method::POST, "/api/v1/devices", &json!({"id": "d1", "product": "lamp"})).await;
    assert_eq!(answer.status(), 201);
    let registered: RegisteredDevice = answer.json().await.unwrap();
    assert_eq!((&*registered.id, registered.mqtt_username.as_str()), ("d1", "d1"));
    assert!(registered.mqtt_password.len() >= 16);
    problem(operator.json(Method::POST, "/api/v1/devices", &json!({"id": "d1"})).await, StatusCode::CONFLICT)
        .await;
    let changed: Device = operator
        .json(Method::PATCH, "/api/v1/devices/d1", &json!({"tags": ["lab"]}))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(changed.tags, ["lab"]);
    let list: Page<Device> = operator.get("/api/v1/devices?tag=lab").await.json().await.unwrap();
    assert_eq!((list.items.len(), list.next), (1, None));
    for body in ["", "{\"force\":true}"] {
        let mut check = operator.request(Method::POST, "/api/v1/devices/d1/check-update");
        if !body.is_empty() {
            check = check.header("content-type", "application/json").body(body);
        }
        let answer: CheckAnswer = check.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer.decision, "unknown_version", "{answer:?}");
    }
    let removed = operator.request(Method::DELETE, "/api/v1/devices/d1").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    assert_eq!(operator.get("/api/v1/devices/d1").await.status(), 404);
}

#[tokio::test]
async fn an_image_is_published_promoted_and_blocked() {
    let server = TestServer::open().await;
    let operator = server.actor(Role::Operator).await;
    let bytes = image("1.0.0");
    let answer =
        operator.publish("version=1.0.0&promote=production&notes=First%20light", bytes.clone()).await;
    assert_eq!(answer.status(), 201);
    let release = answer.json::<Published>().await.unwrap().release;
    assert_eq!((release.version.as_str(), release.size), ("1.0.0", bytes.len() as u64));
    assert_eq!((release.blocked, release.notes.as_deref()), (false, Some("First light")));
    assert_eq!(
        operator.publish("version=1.0.0", bytes).await.status(),
        201,
        "the same bytes again change nothing"
    );
    let again = problem(operator.publish("version=1.0.0", image("9.9.9")).await, StatusCode::CONFLICT).await;
    assert!(again.contains("1.0.0"), "{again}");
    let channels: Page<Channel> = operator.get("/api/v1/products/lamp/channels").await.json().await.unwrap();
    let channels: Vec<_> =
        channels.items.into_iter().map(|channel| (channel.name, channel.version)).collect();
    assert_eq!(channels, [("production".parse().unwrap(), "1.0.0".parse().ok())]);
    let block = operator
        .json(Method::PUT, "/api/v1/products/lamp/blocked/1.0.0", &json!({"reason": "too bright"}))
        .await;
    assert_eq!(block.status(), 204);
    let release: Release = operator.get("/api/v1/products/lamp/releases/1.0.0").await.json().await.unwrap();
    assert_eq!((release.blocked, release.reason.as_deref()), (true, Some("too bright")));
    let refused =
        operator.json(Method::PUT, "/api/v1/products/lamp/channels/beta", &json!({"version": "1.0.0"})).await;
    problem(refused, StatusCode::CONFLICT).await;
    let unblock =
        operator.request(Method::DELETE, "/api/v1/products/lamp/blocked/1.0.0").send().await.unwrap();
    assert_eq!(unblock.status(), 204);
    let products: Page<Product> = operator.get("/api/v1/products").await.json().await.unwrap();
    assert_eq!(&*products.items[0].name, "lamp");
}

#[tokio::test]
async fn a_hole_is_blocked_and_raises_the_floor_of_a_published_version_alone() {
    let server = TestServer::open().await;
    let operator = server.actor(Role::Operator).await;
    assert_eq!(operator.publish("version=1.0.0", image("1.0.0")).await.status(), 201);
    let block = async |version: &str| {
        let (path, body) = (
            format!("/api/v1/products/lamp/blocked/{version}"),
            json!({"reason": "a hole", "security": true}),
        );
        operator.json(Method::PUT, &path, &body).await
    };
    problem(block("1.0.1").await, StatusCode::NOT_FOUND).await;
    let list: Value = operator.get("/api/v1/products/lamp/blocked").await.json().await.unwrap();
    assert!(list.to_string().contains("1.0.1"), "it is blocked all the same: {list}");
    assert_eq!(block("1.0.0").await.status(), 204);
    let refused =
        problem(operator.publish("version=1.1.0", image("1.1.0")).await, StatusCode::CONFLICT).await;
    assert!(refused.contains("secure version"), "{refused}");
}

#[tokio::test]
async fn the_gate_says_all_that_it_found_and_gives_way_where_it_may() {
    let server = TestServer::open().await;
    let ci = server.actor(Role::Ci).await;
    let check = async |query: &str, image: Vec<u8>| {
        let path = format!("/api/v1/products/lamp/releases/check?{query}");
        ci.request(Method::POST, &path).body(image).send().await.unwrap()
    };
    assert_eq!(check("", image("2.0.0")).await.status(), 200);
    assert_eq!(ci.get("/api/v1/products/lamp/releases").await.status(), 404, "nothing was begun");
    let query = "promote=production&commit=abc&tag=v2&dirty=true&requires=1.0.0";
    let published: Published = ci.publish(query, image("2.0.0")).await.json().await.unwrap();
    assert_eq!(published.decision, PublishDecision::Published);
    assert_eq!(published.promoted.as_deref(), Some("production"));
    let Release { commit, tag, dirty, .. } = &published.release;
    assert_eq!((commit.as_deref(), tag.as_deref(), *dirty), (Some("abc"), Some("v2"), Some(true)));
    assert!(published.url.ends_with("/releases/lamp#release-2.0.0"), "{published:?}");

    let judged: Judgement = check("version=1.0.0", image("1.0.0")).await.json().await.unwrap();
    assert_eq!(
        (judged.decision, judged.findings[0].check.as_str()),
        (GateDecision::Refused, "lower-version")
    );
    let answer = ci.publish("version=1.0.0", image("1.0.0")).await;
    assert_eq!(answer.status(), 409);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let Refusal { problem: document, judgement: refused } = answer.json().await.unwrap();
    assert_eq!((document.status, refused.decision), (409, GateDecision::Refused));
    assert_eq!((refused.findings, Some(document.detail)), (judged.findings, judged.refusal));
    let unknown =
        problem(check("allow=lower-version,rong", image("1.0.0")).await, StatusCode::BAD_REQUEST).await;
    assert!(unknown.contains("no check \"rong\"") && unknown.contains("same-bytes"), "{unknown}");
    let allowed: Published =
        ci.publish("version=1.0.0&allow=lower-version", image("1.0.0")).await.json().await.unwrap();
    assert_eq!((allowed.decision, allowed.findings[0].allowed), (PublishDecision::Published, true));
    assert_eq!(allowed.trend.len(), 1, "nothing is lower than it: {allowed:?}");
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_a_sentence() {
    let server = TestServer::open().await;
    let ci = server.actor(Role::Ci).await;
    let sentence =
        problem(ci.publish("version=1.0.0", b"<html>".to_vec()).await, StatusCode::BAD_REQUEST).await;
    assert!(sentence.contains("image"), "{sentence}");
    problem(ci.publish("version=1.0.0", Vec::new()).await, StatusCode::BAD_REQUEST).await;
    let version = problem(ci.publish("version=1.2.3.4", image("1.0.0")).await, StatusCode::BAD_REQUEST).await;
    assert!(version.contains("SemVer"), "{version}");
    let long = problem(
        ci.publish("version=1.0.0", vec![0xE9; 16 * 1024 * 1024 + 1]).await,
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await;
    assert!(long.contains("16 MiB"), "{long}");
    assert_eq!(ci.get("/api/v1/products/lamp/releases").await.status(), 404, "nothing was begun");
}

#[tokio::test]
async fn the_cookie_counts_from_pages_of_this_server_only() {
    let server = TestServer::open().await;
    let cookie = server.session().await;
    assert!(cookie.starts_with("updraft="), "{cookie}");
    let post = |header: Option<(&'static str, String)>| {
        let mut request = server
            .nobody()
            .request(Method::POST, "/api/v1/devices")
            .header("cookie", &cookie)
            .json(&json!({"id": "d1", "product": "lamp"}));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send()
    };
    for refused in [
        None,
        Some(("sec-fetch-site", "cross-site".into())),
        Some(("sec-fetch-site", "same-site".into())),
        Some(("origin", "https://evil.example".into())),
        Some(("origin", "null".into())),
    ] {
        problem(post(refused).await.unwrap(), StatusCode::FORBIDDEN).await;
    }
    assert_eq!(post(Some(("origin", server.base.clone()))).await.unwrap().status(), 201);
    assert_eq!(post(Some(("sec-fetch-site", "same-origin".into()))).await.unwrap().status(), 409);
    let read = server
        .nobody()
        .request(Method::GET, "/api/v1/devices")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(read.status(), 200);
}

#[tokio::test]
async fn log_in_gives_a_session_log_out_ends_it_and_guessing_is_slow() {
    let server = TestServer::open().await;
    let first = server.running.first_login().unwrap();
    let credentials = json!({"name": first.user, "password": first.password});
    let answer = server.nobody().json(Method::POST, "/api/v1/login", &credentials).await;
    assert_eq!(answer.status(), 200);
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && !set.contains("Secure"), "{set}");
    let session = cookie(&answer);
    let token = answer.json::<Session>().await.unwrap().token;
    let with = |method, path: &str| server.nobody().request(method, path).bearer_auth(&token).send();
    assert_eq!(with(Method::GET, "/api/v1/devices").await.unwrap().status(), 200);
    assert_eq!(with(Method::POST, "/api/v1/logout").await.unwrap().status(), 204);
    assert_eq!(with(Method::GET, "/api/v1/devices").await.unwrap().status(), 401);
    let page = server.nobody().request(Method::GET, "/").header("cookie", session).send().await.unwrap();
    assert_eq!((page.status().as_u16(), &page.headers()["location"]), (303, &"/login".parse().unwrap()));
    let foreign = server
        .nobody()
        .request(Method::POST, "/api/v1/login")
        .header("origin", "https://evil.example")
        .json(&credentials);
    problem(foreign.send().await.unwrap(), StatusCode::FORBIDDEN).await;
    let guess = json!({"name": first.user, "password": "guess"});
    let nobody = server.nobody();
    let guesses = (0..14).map(|_| nobody.json(Method::POST, "/api/v1/login", &guess));
    let answers = futures_util::future::join_all(guesses).await;
    let (slowed, answered): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status() == 429);
    assert!(answered.len() >= 5 && slowed.len() >= 3, "{} answered", answered.len());
    for answer in answered {
        problem(answer, StatusCode::UNAUTHORIZED).await;
    }
    for answer in slowed {
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=5).contains(&wait), "{wait}");
        problem(answer, StatusCode::TOO_MANY_REQUESTS).await;
    }
}

#[tokio::test]
async fn who_guesses_passwords_behind_a_proxy_locks_out_nobody_else() {
    let server = TestServer::open().await;
    let first = server.running.first_login().unwrap();
    let login = async |from: &str, password: &str| {
        let request = server.nobody().request(Method::POST, "/api/v1/login").header("x-forwarded-for", from);
        request.json(&json!({"name": first.user, "password": password})).send().await.unwrap()
    };
    let mut guesses = 0;
    while login("198.51.100.1", "guess").await.status() != 429 {
        guesses += 1;
        assert!(guesses < 1000, "never stopped");
    }
    assert!(guesses >= 10, "{guesses}");
    assert_eq!(login("198.51.100.1", &first.password).await.status(), 429);
    assert_eq!(login("198.51.100.2", &first.password).await.status(), 200);
    let page = server.nobody().request(Method::POST, "/login").header("x-forwarded-for", "198.51.100.1");
    let page = page.header("content-type", "application/x-www-form-urlencoded");
    let page = page.body("name=admin&password=guess").send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.headers().contains_key("retry-after")), (429, true));
}

#[tokio::test]
async fn behind_https_the_cookie_is_bound_to_the_host() {
    let server = TestServer::open_with("public_url = \"https://updraft.example\"").await;
    let first = server.running.first_login().unwrap();
    let answer = server
        .nobody()
        .json(Method::POST, "/api/v1/login", &json!({"name": first.user, "password": first.password}))
        .await;
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(
        set.starts_with("__Host-updraft=") && set.contains("; Secure") && set.contains("; Path=/;"),
        "{set}"
    );
}

#[tokio::test]
async fn health_and_metrics_say_how_the_server_is() {
    let server = TestServer::open().await;
    assert_eq!(server.nobody().get("/healthz").await.status(), 200);
    let viewer = server.actor(Role::Viewer).await;
    let metrics = viewer.get("/metrics").await;
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = metrics.text().await.unwrap();
    assert!(text.contains("updraft_devices 0\n") && text.contains("updraft_problems 0\n"), "{text}");
    std::fs::rename(server.folder.path().join("store"), server.folder.path().join("elsewhere")).unwrap();
    server
        .until("/readyz says that the store is gone", async || {
            server.nobody().get("/readyz").await.status() == 503
        })
        .await;
    let sentence = problem(server.nobody().get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(sentence.contains("store"), "{sentence}");
    assert_eq!(server.nobody().get("/healthz").await.status(), 200);
}
