//! What stands between a client and a server on this machine passes HTTP requests on with this.
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const BODY_MAX_BYTES: usize = 32 << 20;

/// To the server on that port of this machine, as it came, but for the connection.
pub async fn forward(http: &reqwest::Client, port: u16, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://127.0.0.1:{port}{path}");
    let Ok(body) = to_bytes(body, BODY_MAX_BYTES).await else { return lost() };
    let mut headers = parts.headers;
    headers.remove(header::CONNECTION);
    let sent = http.request(parts.method.clone(), url).headers(headers).body(body).send().await;
    let Ok(answer) = sent else { return lost() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    for of_the_connection in [header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(of_the_connection);
    }
    let Ok(body) = answer.bytes().await else { return lost() };
    (status, headers, Body::from(body)).into_response()
}

fn lost() -> Response {
    StatusCode::BAD_GATEWAY.into_response()
}
