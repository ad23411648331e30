//! A way to a bucket on which the nth request costs the life of the process that makes it.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use e2e::bucket::Bucket;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const BODY_MAX_BYTES: usize = 32 << 20;

/// What the bucket knows of the request that kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    /// Nothing: it never gets there.
    Unheard,
    /// All: it was done, and nobody hears the answer.
    Answered,
}

/// A forwarding HTTP server; it ends with its owner.
pub(super) struct Toll {
    port: u16,
    kills: mpsc::Receiver<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

struct Inner {
    target: u16,
    http: reqwest::Client,
    asked: AtomicUsize,
    request: usize,
    kill: Kill,
    kills: mpsc::Sender<oneshot::Sender<()>>,
}

impl Toll {
    /// From a free port to the bucket; the requests are counted from 1.
    pub(super) async fn start(bucket: &Bucket, request: usize, kill: Kill) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("bound").port();
        let (sender, kills) = mpsc::channel(1);
        let asked = AtomicUsize::new(0);
        let (target, http) = (bucket.port(), bucket.http().clone());
        let inner = Inner { target, http, asked, request, kill, kills: sender };
        let router = Router::new().fallback(pass).with_state(Arc::new(inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { port, kills, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the process is killed (true), or succeeded because it makes fewer requests.
    pub(super) async fn end(&mut self, mut child: Child, case: &str) -> bool {
        tokio::select! {
            kill = self.kills.recv() => {
                child.kill().await.expect("it runs still: it waits for the answer");
                // Only now may the request go on.
                let _ = kill.expect("the server runs").send(());
                true
            }
            ended = child.wait() => {
                let status = ended.expect("it was started");
                assert!(status.success(), "{case}: it ended before, by itself: {status}");
                false
            }
        }
    }
}

impl Drop for Toll {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let is_last = inner.asked.fetch_add(1, Ordering::SeqCst) + 1 == inner.request;
    if is_last && inner.kill == Kill::Unheard {
        inner.end().await;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let answer = inner.forward(request).await;
    if is_last {
        inner.end().await;
    }
    answer
}

impl Inner {
    /// Returns when the process is gone.
    async fn end(&self) {
        let (done, gone) = oneshot::channel();
        if self.kills.send(done).await.is_ok() {
            let _ = gone.await;
        }
    }

    /// As it came, but for the connection.
    async fn forward(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("http://127.0.0.1:{}{path}", self.target);
        let Ok(body) = to_bytes(body, BODY_MAX_BYTES).await else { return lost() };
        let mut headers = parts.headers;
        headers.remove(header::CONNECTION);
        let sent = self.http.request(parts.method.clone(), url).headers(headers).body(body).send().await;
        let Ok(answer) = sent else { return lost() };
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        for of_the_connection in [header::CONNECTION, header::TRANSFER_ENCODING] {
            headers.remove(of_the_connection);
        }
        let Ok(body) = answer.bytes().await else { return lost() };
        (status, headers, Body::from(body)).into_response()
    }
}

fn lost() -> Response {
    StatusCode::BAD_GATEWAY.into_response()
}
