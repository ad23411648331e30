//! A server on loopback that takes releases and tells of rollouts in the contract's shapes: what it answers is written down
//! beforehand, one look after the other.
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::OidcLogin;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::Digest as _;
use tokio::task::JoinHandle;

/// What it takes from whoever has a token of its own.
pub(crate) const TOKEN: &str = "a-token-of-this-server";

/// How it answers one look at the rollouts.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Json(Value),
    Text(String),
    Status(u16),
    /// The connection ends without an answer.
    Lost,
}

/// A page with these rollouts.
pub(crate) fn list(rollouts: &[Value]) -> Answer {
    Answer::Json(json!({"items": rollouts, "next": null}))
}

/// A rollout that has just begun, but for what is said.
pub(crate) fn rollout(id: u64, version: &str, more: &Value) -> Value {
    let mut rollout = json!({
        "id": id, "product": "lamp", "version": version, "state": "running", "step": 1, "halt_reason": null,
        "counts": counts(0, 0, 0),
    });
    for (key, value) in more.as_object().unwrap() {
        rollout[key] = value.clone();
    }
    rollout
}

/// Three devices; those that are nowhere else wait.
pub(crate) fn counts(succeeded: u64, in_flight: u64, failed: u64) -> Value {
    json!({"total": 3, "waiting": 3 - succeeded - in_flight - failed, "in_flight": in_flight, "succeeded": succeeded,
        "failed": failed, "rolled_back": 0, "timed_out": 0, "cancelled": 0})
}

/// A running one; it ends with its owner.
pub(crate) struct Rollouts {
    url: String,
    state: Arc<Mutex<Inner>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    /// The last one stays.
    script: Vec<Answer>,
    releases: HashSet<String>,
    uploads: Vec<String>,
    /// What a traded token is good for: how long it says, and how many requests in truth.
    tokens: Option<(u64, usize)>,
    trades: usize,
    /// Of a version that had no rollouts.
    is_older: bool,
    requests: HashMap<String, usize>,
}

type Shared = State<Arc<Mutex<Inner>>>;

impl Rollouts {
    /// On a free port. The first look is the one before anything is sent.
    pub(crate) async fn start(script: Vec<Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(Inner { script, ..Inner::default() }));
        let router = Router::new()
            .route("/api/openapi.json", get(document))
            .route("/api/v1/login/oidc", post(trade))
            .route("/api/v1/products/{p}/rollouts", get(rollouts))
            .route("/api/v1/products/{p}/releases", post(publish))
            .layer(DefaultBodyLimit::max(16 << 20))
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, state, task }
    }

    /// Has this release already.
    pub(crate) fn with_release(self, version: &str) -> Self {
        self.inner().releases.insert(version.to_owned());
        self
    }

    /// Knows no such path.
    pub(crate) fn without_rollouts(self) -> Self {
        self.inner().is_older = true;
        self
    }

    /// Trades jobs' statements for tokens that say they live so long, and are taken for so many requests.
    pub(crate) fn with_tokens(self, lifetime_s: u64, requests: usize) -> Self {
        self.inner().tokens = Some((lifetime_s, requests));
        self
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The versions that were sent.
    pub(crate) fn uploads(&self) -> Vec<String> {
        self.inner().uploads.clone()
    }

    /// How many tokens it gave.
    pub(crate) fn trades(&self) -> usize {
        self.inner().trades
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("nobody panicked with it")
    }
}

impl Drop for Rollouts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    /// Whether the caller's token is good for this request.
    fn admits(&mut self, headers: &HeaderMap) -> bool {
        let shown =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Some((_, most)) = self.tokens else { return shown == format!("Bearer {TOKEN}") };
        let asked = self.requests.entry(shown.to_owned()).or_default();
        *asked += 1;
        shown == format!("Bearer token-{}", self.trades) && *asked <= most
    }
}

async fn document(State(state): Shared) -> Json<Value> {
    if state.lock().expect("nobody panicked with it").is_older {
        return Json(json!({"paths": {"/api/v1/products/{p}/releases": {}}}));
    }
    Json(json!({"paths": {"/api/v1/products/{p}/releases": {}, "/api/v1/products/{p}/rollouts": {}}}))
}

async fn trade(State(state): Shared, Json(body): Json<OidcLogin>) -> Response {
    let mut state = state.lock().expect("nobody panicked with it");
    let Some((lifetime_s, _)) = state.tokens else { return StatusCode::NOT_FOUND.into_response() };
    assert_eq!(body.product.as_deref(), Some("lamp"));
    state.trades += 1;
    let token = format!("token-{}", state.trades);
    Json(
        json!({"token": token, "expires_at": in_seconds(lifetime_s), "product": "lamp", "may_promote": false,
        "allow": []}),
    )
    .into_response()
}

/// RFC 3339, as the contract has times.
fn in_seconds(seconds: u64) -> String {
    let then = SystemTime::now() + Duration::from_secs(seconds);
    let unix = then.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let date = std::process::Command::new("date").args(["-u", &format!("-d@{unix}"), "+%FT%TZ"]).output();
    String::from_utf8(date.expect("there is a date").stdout).expect("text").trim().to_owned()
}

async fn publish(
    State(state): Shared,
    Path(product): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    image: axum::body::Bytes,
) -> Response {
    let mut state = state.lock().expect("nobody panicked with it");
    if !state.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    // What the image calls itself.
    let version = query.get("version").map_or("1.2.0", String::as_str).to_owned();
    let is_new = state.releases.insert(version.clone());
    state.uploads.push(version.clone());
    let sha256 = contract::Sha256(sha2::Sha256::digest(&image).into());
    // In the contract's words, and with a field that is not known.
    let answer = json!({"decision": if is_new { "published" } else { "unchanged" }, "product": product, "version": version,
        "size": image.len(), "sha256": sha256, "chip": null, "blocked": false, "reason": null, "channels": [],
        "url": "http://x/", "promoted": query.get("promote"), "findings": [], "trend": [], "rollout": "not this one"});
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn rollouts(State(state): Shared, Path(_): Path<String>, headers: HeaderMap) -> Response {
    let answer = {
        let mut state = state.lock().expect("nobody panicked with it");
        if !state.admits(&headers) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        if state.script.len() > 1 { state.script.remove(0) } else { state.script[0].clone() }
    };
    match answer {
        Answer::Json(value) => Json(value).into_response(),
        Answer::Text(text) => text.into_response(),
        Answer::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        // The connection's task ends, and nothing is printed.
        Answer::Lost => std::panic::resume_unwind(Box::new(())),
    }
}
