//! Who did what: every route that writes says it, and no secret is in it.

use ::api::{AuditEntry, Page, PublisherToken, RegisteredDevice, Session, UpdateEvent};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use updraft_server::access::Role;

use super::api::operations;
use super::issuer::Issuer;
use super::oidc;
use super::test_server::{Somebody, TestServer, image, problem};

async fn entries(admin: &Somebody<'_>, query: &str) -> Page<AuditEntry> {
    let answer = admin.get(&format!("/api/v1/audit?{query}")).await;
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.unwrap()
}

/// A device says what it runs.
async fn report(server: &TestServer, device: &RegisteredDevice, version: &str) {
    let port = server.running.mqtt_addr().unwrap().port().to_string();
    let login = ["-h", "127.0.0.1", "-p", &port, "-u", &device.mqtt_username, "-P", &device.mqtt_password];
    let said = tokio::process::Command::new("mosquitto_pub")
        .args(login)
        .args(["-q", "1", "-t", "devices/d1/version", "-m", version])
        .status()
        .await
        .expect("install mosquitto-clients");
    assert!(said.success());
    let known = async || server.running.services().devices.show(&device.id).await.unwrap().version.is_some();
    server.until("the version is known", known).await;
}

/// Asks for each of them once, and for what they leave, in this order. What leaves nothing writes nothing.
const WRITES: [(&str, &str, &[&str]); 20] = [
    ("POST", "/api/v1/login", &["login"]),
    ("POST", "/api/v1/login/oidc", &["token.create"]),
    ("POST", "/api/v1/devices", &["device.register"]),
    ("PATCH", "/api/v1/devices/d1", &["device.change"]),
    ("POST", "/api/v1/products/lamp/releases/check", &[]),
    ("POST", "/api/v1/products/lamp/releases", &["release.publish", "release.publish"]),
    ("PUT", "/api/v1/products/lamp/channels/beta", &["channel.promote", "channel.promote"]),
    ("POST", "/api/v1/products/lamp/refresh", &[]),
    ("POST", "/api/v1/devices/d1/check-update", &["device.check"]),
    ("POST", "/api/v1/updates/1/cancel", &["update.cancel"]),
    ("POST", "/api/v1/products/lamp/rollouts", &["rollout.start"]),
    ("POST", "/api/v1/rollouts/1/pause", &["rollout.pause"]),
    ("POST", "/api/v1/rollouts/1/resume", &["rollout.resume"]),
    ("POST", "/api/v1/rollouts/1/abort", &["rollout.abort"]),
    // Told that it is so, although the device is not there to hear it.
    ("POST", "/api/v1/devices/d1/clear-quarantine", &["quarantine.clear"]),
    ("PUT", "/api/v1/products/lamp/blocked/1.0.0", &["version.block", "version.block"]),
    ("DELETE", "/api/v1/products/lamp/blocked/1.0.0", &["version.unblock", "version.unblock"]),
    ("DELETE", "/api/v1/devices/d1", &["device.remove"]),
    ("POST", "/api/v1/logout", &["logout"]),
    ("POST", "/api/v1/login", &["login.refused"]),
];

#[tokio::test]
async fn every_route_that_writes_says_who_did_what_and_no_secret() {
    let issuer = Issuer::start().await;
    let server = oidc::server(&issuer, "").await;
    let first = server.running.first_login().unwrap();
    let admin = server.actor(Role::Admin).await;
    let statement = issuer.sign(&issuer.claims(&server.base, &json!({})));
    let (mut secrets, mut session) = (vec![first.password.clone(), statement.clone()], String::new());
    for (method, path) in operations(&server).await {
        let is_written = method == Method::GET || WRITES.iter().any(|(m, p, _)| *m == method && *p == path);
        assert!(is_written, "{method} {path} is to be asked here");
    }
    let before = entries(&admin, "").await;
    let kinds: Vec<_> = before.items.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(kinds, ["user.create", "link.create", "token.create"]);
    let mut above = before.items.last().unwrap().id;
    for (step, (method, path, actions)) in WRITES.into_iter().enumerate() {
        let who = if session.is_empty() { admin.clone() } else { server.somebody(&session) };
        let password = if actions == ["login.refused"] { "guess" } else { &first.password };
        let request = who.request(method.parse().unwrap(), path).header("x-forwarded-for", "198.51.100.7");
        let request = match path {
            "/api/v1/login" => request.json(&json!({"name": first.user, "password": password})),
            "/api/v1/login/oidc" => request.json(&json!({ "token": statement })),
            "/api/v1/devices" => request.json(&json!({"id": "d1", "product": "lamp"})),
            "/api/v1/devices/d1" => request.json(&json!({"tags": ["lab"]})),
            path if path.contains("releases") => request.query(&[("version", "1.1.0")]).body(image("1.1.0")),
            path if path.ends_with("lamp/rollouts") || path.contains("channels") => {
                request.json(&json!({"version": "1.1.0"}))
            }
            path if path.contains("check-update") => request.json(&json!({"force": true})),
            path if path.contains("blocked") => request.json(&json!({"reason": "too bright"})),
            _ => request,
        };
        if path.ends_with("check-update") {
            let channel = "/api/v1/products/lamp/channels/production";
            assert_eq!(admin.json(Method::PUT, channel, &json!({"version": "1.1.0"})).await.status(), 200);
            above = entries(&admin, "").await.items.last().unwrap().id;
        }
        let answer = request.send().await.unwrap();
        let is_answered = answer.status().is_success() || actions == ["login.refused"];
        assert!(is_answered, "{method} {path}: {}", answer.status());
        let text = answer.text().await.unwrap();
        if step == 0 {
            session = serde_json::from_str::<Session>(&text).unwrap().token;
            secrets.push(session.clone());
        } else if path.ends_with("oidc") {
            secrets.push(serde_json::from_str::<PublisherToken>(&text).unwrap().token);
        } else if path == "/api/v1/devices" {
            let device: RegisteredDevice = serde_json::from_str(&text).unwrap();
            report(&server, &device, "1.0.0").await;
            secrets.push(device.mqtt_password);
        }
        let left = entries(&admin, &format!("after={above}")).await.items;
        let kinds: Vec<_> = left.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(kinds, actions, "{method} {path}");
        for entry in &left {
            assert_eq!(entry.address.as_deref(), Some("198.51.100.7"), "{entry:?}");
            let job = entry.action == "token.create";
            let actor = if job { "octo/blinky@refs/heads/main run 123" } else { "admin" };
            let kind = if job { "job" } else { "person" };
            assert_eq!((entry.actor.as_str(), entry.actor_kind.as_str()), (actor, kind), "{entry:?}");
            above = entry.id;
        }
        if let [begun, done] = &left[..] {
            let outcome = |entry: &AuditEntry| entry.after.as_ref().unwrap()["outcome"].clone();
            assert_eq!((outcome(begun), outcome(done)), (json!("begun"), json!("done")));
        }
    }
    let all = json!(entries(&admin, "limit=500").await).to_string();
    for secret in secrets {
        assert!(!all.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn only_administrators_read_it_by_page_and_by_filter() {
    let server = TestServer::open().await;
    let admin = server.actor(Role::Admin).await;
    for role in [Role::Operator, Role::Viewer, Role::Ci] {
        let somebody = server.actor(role).await;
        problem(somebody.get("/api/v1/audit").await, StatusCode::FORBIDDEN).await;
        assert_eq!(somebody.get("/audit").await.status(), 403);
    }
    for number in 0..5 {
        let device = json!({"id": format!("d{number}"), "product": "lamp"});
        assert_eq!(admin.json(Method::POST, "/api/v1/devices", &device).await.status(), 201);
    }
    let changed = json!({"product": "lamp", "tags": ["lab"]});
    assert_eq!(admin.json(Method::PATCH, "/api/v1/devices/d0", &changed).await.status(), 200);
    let changed = entries(&admin, "action=device.change").await.items.pop().unwrap();
    assert_eq!(changed.before, Some(json!({"product": "lamp", "tags": []})));
    assert_eq!(changed.after, Some(json!({"product": "lamp", "tags": ["lab"]})));
    let subjects = async |query: &str| {
        let page = entries(&admin, query).await;
        let subjects: Vec<_> = page.items.into_iter().map(|entry| entry.subject).collect();
        (subjects.join(" "), page.next)
    };
    let (last, older) = subjects("action=device.register&limit=2").await;
    assert_eq!(last, "d3 d4");
    let (before, older) =
        subjects(&format!("action=device.register&limit=2&before={}", older.unwrap())).await;
    assert_eq!(before, "d1 d2");
    let (first, none) = subjects(&format!("action=device.register&limit=2&before={}", older.unwrap())).await;
    assert_eq!((first.as_str(), none), ("d0", None));
    let (first, next) = subjects("actor=a%20admin&after=0&limit=3").await;
    assert_eq!(first, "d0 d1 d2");
    assert_eq!(
        subjects(&format!("actor=a%20admin&after={}", next.unwrap())).await,
        ("d3 d4 d0".into(), None)
    );
    assert_eq!(subjects("subject=d0").await.0, "d0 d0");
    for malformed in ["limit=0", "after=x", "actor=%00", "y=1"] {
        problem(admin.get(&format!("/api/v1/audit?{malformed}")).await, StatusCode::BAD_REQUEST).await;
    }
    let cookie = server.session().await;
    let page = server.nobody().request(Method::GET, "/audit?subject=d0").header("cookie", cookie);
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.contains("device.change") && !page.contains("d1<"), "{page}");
}

#[tokio::test]
async fn what_happened_to_an_update_is_told_in_order() {
    let server = TestServer::open().await;
    let admin = server.actor(Role::Admin).await;
    assert_eq!(admin.publish("version=1.1.0&promote=production", image("1.1.0")).await.status(), 201);
    let device = admin.json(Method::POST, "/api/v1/devices", &json!({"id": "d1", "product": "lamp"})).await;
    report(&server, &device.json().await.unwrap(), "1.0.0").await;
    let checked = admin.json(Method::POST, "/api/v1/devices/d1/check-update", &json!({"force": true})).await;
    let number = checked.json::<Value>().await.unwrap()["update"]["id"].as_i64().unwrap();
    assert_eq!(
        admin
            .request(Method::POST, &format!("/api/v1/updates/{number}/cancel"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let path = format!("/api/v1/devices/d1/updates/{number}/events");
    let events: Page<UpdateEvent> = admin.get(&path).await.json().await.unwrap();
    let lines: Vec<_> = events
        .items
        .iter()
        .map(|event| format!("{} {} {} {}", event.kind, event.actor_kind, event.actor, event.to))
        .collect();
    assert_eq!(
        lines,
        ["offered token a admin offered", "sent system server offered", "cancel token a admin cancelled"]
    );
    let part: Page<UpdateEvent> = admin.get(&format!("{path}?limit=2")).await.json().await.unwrap();
    let rest = admin.get(&format!("{path}?cursor={}", part.next.unwrap())).await;
    assert_eq!(rest.json::<Page<UpdateEvent>>().await.unwrap().items.len(), 1);
    for nothing in ["/api/v1/devices/d2/updates/1/events", "/api/v1/devices/d1/updates/999/events"] {
        problem(admin.get(nothing).await, StatusCode::NOT_FOUND).await;
    }
    let cookie = server.session().await;
    let page = server
        .nobody()
        .request(Method::GET, &format!("/devices/d1?update={number}"))
        .header("cookie", cookie);
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.contains("<strong>cancel</strong> by token a admin: Cancelled"), "{page}");
}
