//! The S3 servers of the tests: moto, s3s-fs with signatures checked, and fronts that misbehave before one of them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// What both servers are told to be given.
pub(crate) const KEY_ID: &str = "test";
pub(crate) const SECRET: &str = "test";
/// The most that a front passes on.
const BODY_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Ends when its standard input does, which is when this process ends, however it ends. Writes go one by one through it: S3
/// compares an If-Match and writes in one step, moto in two, between which another writer's object was lost.
const MOTO: &str = "
import logging, sys, threading
logging.getLogger('werkzeug').setLevel(logging.ERROR)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
backend, one_writer = DomainDispatcherApplication(create_backend_app), threading.Lock()
def application(request, respond):
    if request['REQUEST_METHOD'] not in ('PUT', 'POST'):
        return backend(request, respond)
    with one_writer:
        return list(backend(request, respond))
server = make_server('127.0.0.1', 0, application, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
";

/// The address of the one moto server.
pub(crate) fn moto() -> &'static str {
    static MOTO_URL: OnceLock<String> = OnceLock::new();
    MOTO_URL.get_or_init(|| {
        let mut child = Command::new("python3")
            .args(["-c", MOTO])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for the S3 tests: install Python 3");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let port: u16 = line.trim().parse().unwrap_or_else(|_| {
            panic!("moto is needed for the S3 tests: pip install 'moto[server,s3]' boto3")
        });
        // Its standard input stays open for as long as this process lives.
        std::mem::forget(child);
        format!("http://127.0.0.1:{port}")
    })
}

/// s3s-fs in this process. Its buckets are the folders below `root`.
pub(crate) struct Strict {
    pub(crate) url: String,
    pub(crate) root: TempDir,
}

/// The one server that checks signatures and expiry. Writes go one by one through it too: it looks and writes in two steps.
pub(crate) fn strict() -> &'static Strict {
    static STRICT: OnceLock<Strict> = OnceLock::new();
    STRICT.get_or_init(|| strict_of(SimpleAuth::from_single(KEY_ID, SECRET)))
}

/// The same for other credentials.
pub(crate) fn strict_of(auth: impl s3s::auth::S3Auth) -> Strict {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).expect("a folder"));
    service.set_auth(auth);
    let service = service.build();
    let one_writer = Arc::new(tokio::sync::Mutex::new(()));
    let url = serve(move |request| {
        let (service, one_writer) = (service.clone(), Arc::clone(&one_writer));
        async move {
            let _lock = match *request.method() {
                Method::PUT | Method::POST => Some(one_writer.lock().await),
                _ => None,
            };
            answer(&service, request).await
        }
    });
    Strict { url, root }
}

async fn answer(service: &S3Service, request: Request) -> Response {
    match service.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}")).into_response(),
    }
}

/// Serves on loopback for as long as this process lives, whichever test ends first.
pub(crate) fn serve<F: Future<Output = Response> + Send + 'static>(
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.set_nonblocking(true).expect("a socket");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            let routes = axum::Router::new().fallback(move |request: Request| answer(request));
            axum::serve(listener, routes).await.expect("it serves");
        });
    });
    url
}

/// What a front does with a request.
pub(crate) enum Rule {
    /// Passes it on.
    Pass,
    /// Passes it on without what makes a write conditional.
    Unconditional,
    /// Answers itself.
    Answer(Response),
    /// Never answers.
    Hang,
    /// Passes it on, and never answers.
    PassAndHang,
    /// Passes it on, without what makes a write conditional if nothing is there.
    UnconditionalIfMissing,
    /// Passes it on with other headers, and its answer with what is made of it.
    Changed(HeaderMap, fn(&mut Response)),
    /// Passes it on when it is let through.
    PassWhen(Arc<Semaphore>),
}

/// A front before another server, and what was asked there.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Front {
    pub(crate) fn before(target: &str, rule: impl Fn(&Parts) -> Rule + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (target, rule, http) = (target.to_owned(), Arc::new(rule), crate::place::reqwest_client());
        let noted = Arc::clone(&asked);
        let url = serve(move |request| {
            let (target, rule, http) = (target.clone(), Arc::clone(&rule), http.clone());
            let noted = Arc::clone(&noted);
            async move {
                let (mut parts, body) = request.into_parts();
                noted.lock().expect("unpoisoned").push(format!("{} {}", parts.method, parts.uri));
                match rule(&parts) {
                    Rule::Answer(response) => return response,
                    Rule::Unconditional => {
                        parts.headers.remove("if-match");
                        parts.headers.remove("if-none-match");
                    }
                    Rule::Hang => return std::future::pending().await,
                    Rule::PassAndHang => {
                        pass(&http, &target, parts, body).await;
                        return std::future::pending().await;
                    }
                    Rule::UnconditionalIfMissing => {
                        let there = http.head(format!("{target}{}", parts.uri)).send().await;
                        if there.expect("the server behind answers").status() == 404 {
                            parts.headers.remove("if-match");
                        }
                    }
                    Rule::Changed(headers, change) => {
                        parts.headers = headers;
                        let mut answer = pass(&http, &target, parts, body).await;
                        change(&mut answer);
                        return answer;
                    }
                    Rule::PassWhen(permits) => permits.acquire().await.expect("it stays open").forget(),
                    Rule::Pass => {}
                }
                pass(&http, &target, parts, body).await
            }
        });
        Self { url, asked }
    }

    /// What was asked since this was last called, as `GET /bucket/key?query`.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("unpoisoned"))
    }
}

/// Passes a request on to a server, or to the one that it names itself.
pub(crate) async fn pass(http: &reqwest::Client, target: &str, parts: Parts, body: Body) -> Response {
    let body = axum::body::to_bytes(body, BODY_MAX_BYTES).await.expect("a body that fits");
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = if target.is_empty() { parts.uri.to_string() } else { format!("{target}{path}") };
    let passed = http.request(parts.method, url).headers(parts.headers).body(body);
    let answered = passed.send().await.expect("the server behind answers");
    let (status, mut headers) = (answered.status(), answered.headers().clone());
    headers.remove("transfer-encoding");
    let body = answered.bytes().await.expect("a body");
    (status, headers, body).into_response()
}

/// An error as S3 says it: a status and one of the codes of its API reference.
pub(crate) fn s3_error(status: u16, code: &str, more: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>It says so.</Message>{more}\
         <RequestId>4442587FB7D0A2F9</RequestId></Error>"
    );
    (StatusCode::from_u16(status).expect("a status"), [("content-type", "application/xml")], body)
        .into_response()
}
