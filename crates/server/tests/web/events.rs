use reqwest::Method;
use serde_json::json;
use updraft_server::access::Role;

use super::test_server::TestServer;

#[tokio::test]
async fn a_watcher_hears_of_a_device_that_comes_and_goes() {
    let server = TestServer::open().await;
    let operator = server.actor(Role::Operator).await;
    let mut stream = operator.get("/api/v1/events").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    operator.json(Method::POST, "/api/v1/devices", &json!({"id": "d1", "product": "lamp"})).await;
    let mut heard = String::new();
    while !heard.contains("event: device") {
        let chunk = tokio::time::timeout(super::test_server::TIMEOUT, stream.chunk()).await.unwrap().unwrap();
        heard.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert!(heard.contains("data: {\"type\":\"device\",\"device\":\"d1\"}"), "{heard}");
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let server = TestServer::open().await;
    let viewer = server.actor(Role::Viewer).await;
    let mut stream = viewer.get("/api/v1/events").await;
    let TestServer { running, .. } = server;
    running.stop().await.unwrap();
    while let Ok(Some(_)) = stream.chunk().await {}
}

#[tokio::test]
async fn one_caller_leaves_streams_to_others() {
    let server = TestServer::open().await;
    let (viewer, other) = (server.actor(Role::Viewer).await, server.actor(Role::Operator).await);
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(viewer.get("/api/v1/events").await);
    }
    assert!(open.iter().all(|stream| stream.status() == 200));
    let refused = viewer.get("/api/v1/events").await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    assert!(refused.text().await.unwrap().contains("16 streams of events"));
    assert_eq!(other.get("/api/v1/events").await.status(), 200);
    open.pop();
    server
        .until("its place is free again", async || viewer.get("/api/v1/events").await.status() == 200)
        .await;
}
