//! Whatever is wrong with a request, the answer has the documented shape.

use reqwest::Method;
use updraft_server::access::Role;

use super::api::operations;
use super::test_server::{TestServer, problem};

#[tokio::test]
async fn whatever_is_malformed_is_answered_with_a_problem_document() {
    let server = TestServer::open().await;
    let admin = server.actor(Role::Admin).await;
    let refused = async |method: &Method, path: &str, kind: &str, body: &[u8]| {
        let request = admin.request(method.clone(), path).header("content-type", kind);
        let answer = request.body(body.to_vec()).send().await.unwrap();
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            problem(answer, status).await;
        }
        status.as_u16()
    };
    let json = "application/json";
    let all = operations(&server).await;
    for (method, path) in all.iter().filter(|(_, path)| path != "/api/v1/events") {
        for query in
            ["limit=%ff", "limit=-1", "limit=1&limit=2", "%zz", "x=1", "after=%00", "version=%ff&allow=%ff"]
        {
            refused(method, &format!("{path}?{query}"), json, b"{}").await;
        }
        let fixed = path.replace("/d1", "/%ff").replace("/lamp", "/%ff").replace("/1.0.0", "/%ff");
        for path in [
            fixed,
            path.replace("/d1", "/%00").replace("/lamp", "/..%2f"),
            path.replace("/updates/1", "/updates/99999999999999999999"),
        ] {
            refused(method, &path, json, b"{}").await;
        }
        for body in [&b"{"[..], b"[]", b"null", b"\xff", b"{\"x\":1}", b"{\"id\":{}}", b""] {
            refused(method, path, json, body).await;
            refused(method, path, "text/plain", body).await;
        }
        for other in [Method::PUT, Method::TRACE, Method::from_bytes(b"BREW").unwrap()] {
            if !all.iter().any(|(known, at)| *known == other && at == path) {
                assert_eq!(refused(&other, path, json, b"").await, 405, "{other} {path}");
            }
        }
    }
    for path in ["/api", "/api/", "/api/v2/devices", "/api/v1/%ff", "/assets/%ff", "/assets/x", "/nothing"] {
        assert!(refused(&Method::GET, path, json, b"").await >= 400, "{path}");
    }
}
