//! A way to a bucket on which the nth request costs the life of the process that makes it.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use e2e::bucket::Bucket;
use e2e::front::forward;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

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
    let answer = forward(&inner.http, inner.target, request).await;
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
}
