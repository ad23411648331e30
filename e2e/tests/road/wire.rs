//! The contract's own words on the wire, read as raw JSON: every other test reads the API's types, which would follow a field
//! that is renamed. (What a rollout says is written down in `publish_wait/rollouts.rs`.)
use api::UpdateState;
use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::server::{Promote, Server};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const PRODUCT: &str = "esp32s3";

/// Status and JSON.
async fn ask(server: &Server, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = server.request(method, path);
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// That these fields are there, whatever they say.
#[track_caller]
fn has(object: &Value, fields: &[&str]) {
    for field in fields {
        assert!(object.get(field).is_some(), "no {field} in {object}");
    }
}

#[tokio::test]
async fn a_device_its_update_and_a_decision_have_the_contracts_fields() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let old = workshop.image("1.0.0");
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let body = json!({"id": "lamp", "product": PRODUCT});
    let (status, added) = ask(&server, Method::POST, "/api/v1/devices", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    assert_eq!((&added["id"], &added["product"]), (&json!("lamp"), &json!(PRODUCT)));
    let text = |name: &str| added[name].as_str().unwrap_or_else(|| panic!("no {name} in {added}"));
    let broker = server.broker(text("mqtt_username"), text("mqtt_password"));
    let _device = VirtualDevice::start("lamp", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("lamp", "1.0.0").await;

    let path = "/api/v1/devices/lamp/check-update";
    let (status, answer) = ask(&server, Method::POST, path, Some(json!({"force": true}))).await;
    assert_eq!((status, &answer["decision"]), (StatusCode::OK, &json!("offered")), "{answer}");
    assert_eq!(answer["version"], "1.1.0", "{answer}");
    has(&answer, &["reason", "update"]);
    server.update_is("lamp", UpdateState::Succeeded).await;
    server.device_runs("lamp", "1.1.0").await;

    let (_, device) = ask(&server, Method::GET, "/api/v1/devices/lamp", None).await;
    assert_eq!(
        (&device["id"], &device["version"], &device["online"]),
        (&json!("lamp"), &json!("1.1.0"), &json!(true))
    );
    has(&device, &["product", "sha256", "last_seen", "tags"]);
    let update = &device["update"];
    assert_eq!(
        (&update["from"], &update["to"], &update["state"]),
        (&json!("1.0.0"), &json!("1.1.0"), &json!("succeeded"))
    );
    has(update, &["id", "device", "reason", "bytes", "created_at", "finished_at"]);
    for path in ["/api/v1/devices", "/api/v1/devices/lamp/updates"] {
        let (_, list) = ask(&server, Method::GET, path, None).await;
        assert_eq!(
            (list["items"].as_array().map(Vec::len), &list["next"]),
            (Some(1), &Value::Null),
            "{path}: {list}"
        );
    }
    let (_, list) = ask(&server, Method::GET, "/api/v1/devices/lamp/updates", None).await;
    assert_eq!(&list["items"][0], update);
}

#[tokio::test]
async fn a_release_a_channel_and_a_problem_have_the_contracts_fields() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let at = |path: &str| format!("/api/v1/products/{PRODUCT}/{path}");
    let blocking = server.request(Method::PUT, &at("blocked/0.9.0")).json(&json!({"reason": "it loops"}));
    assert_eq!(blocking.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let (_, blocked) = ask(&server, Method::GET, &at("blocked"), None).await;
    assert_eq!(blocked["items"], json!([{"version": "0.9.0", "reason": "it loops"}]));
    let (_, list) = ask(&server, Method::GET, &at("releases"), None).await;
    let release = &list["items"][0];
    assert_eq!((&release["version"], &release["blocked"]), (&json!("1.1.0"), &json!(false)), "{release}");
    has(release, &["size", "sha256", "chip", "reason"]);
    let body = json!({"version": "1.1.0"});
    let (status, channel) = ask(&server, Method::PUT, &at("channels/beta"), Some(body)).await;
    assert_eq!((status, channel), (StatusCode::OK, json!({"name": "beta", "version": "1.1.0"})));
    let (status, problem) = ask(&server, Method::GET, &at("releases/9.9.9"), None).await;
    assert_eq!((status, &problem["status"]), (StatusCode::NOT_FOUND, &json!(404)), "{problem}");
    has(&problem, &["type", "title", "detail"]);
}
