//! A version with a hole: blocked, and the floor of the next release.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use updraft_server::access::Role;

use super::test_server::{TestServer, image, problem};

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
