//! A way to a bucket on which the nth request costs somebody the life: who makes it, or who had it made.
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

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
    /// All: it was done, and nobody who is killed hears the answer.
    Answered,
}

impl Kill {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::Answered => "answered",
        }
    }
}

/// How waiting for a process ended.
pub(super) enum Ended {
    /// Now somebody is to be killed: the request waits until this is dropped.
    #[allow(dead_code, reason = "kept until it is dropped")]
    Due(oneshot::Sender<()>),
    /// The process makes fewer requests.
    Before(ExitStatus),
}

/// A forwarding HTTP server; it ends with its owner.
pub(super) struct Toll {
    port: u16,
    inner: Arc<Inner>,
    due: mpsc::Receiver<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

struct Inner {
    target: u16,
    http: reqwest::Client,
    /// How many requests are still free, and what then happens; none while it is not wanted.
    left: Mutex<Option<(usize, Kill)>>,
    due: mpsc::Sender<oneshot::Sender<()>>,
}

impl Toll {
    /// From a free port to the bucket, free of charge until [`Toll::arm`].
    pub(super) async fn start(bucket: &Bucket) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("bound").port();
        let (sender, due) = mpsc::channel(1);
        let (target, http) = (bucket.port(), bucket.http().clone());
        let inner = Arc::new(Inner { target, http, left: Mutex::new(None), due: sender });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { port, inner, due, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The requests are counted from 1, from now on.
    pub(super) fn arm(&self, request: usize, kill: Kill) {
        *self.inner.left.lock().expect("nobody panicked") = Some((request - 1, kill));
    }

    /// Waits until somebody is to be killed, or the process ended by itself: then nobody is any more.
    pub(super) async fn end(&mut self, child: &mut Child) -> Ended {
        tokio::select! {
            due = self.due.recv() => Ended::Due(due.expect("it serves")),
            status = child.wait() => {
                *self.inner.left.lock().expect("nobody panicked") = None;
                let _ = self.due.try_recv();
                Ended::Before(status.expect("it was started"))
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
    let kill = inner.count();
    if kill == Some(Kill::Unheard) {
        inner.wait().await;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let answer = forward(&inner.http, inner.target, request).await;
    if kill.is_some() {
        inner.wait().await;
    }
    answer
}

impl Inner {
    fn count(&self) -> Option<Kill> {
        let mut left = self.left.lock().expect("nobody panicked");
        match left.as_mut()? {
            (0, kill) => {
                let kill = *kill;
                *left = None;
                Some(kill)
            }
            (free, _) => {
                *free -= 1;
                None
            }
        }
    }

    /// Returns when whoever is to be killed is gone.
    async fn wait(&self) {
        let (done, gone) = oneshot::channel();
        if self.due.send(done).await.is_ok() {
            let _ = gone.await;
        }
    }
}
