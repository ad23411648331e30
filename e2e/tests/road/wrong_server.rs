//! What answers at `--server` is not always an Updraft server, and a server is not always quick: the real command against
//! both.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Problem, PublishDecision, Published, Release};
use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::Sha256;
use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use e2e::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

const PRODUCT: &str = "lamp";

/// A program on loopback that answers everything alike, and remembers what it was shown.
#[derive(Clone)]
struct OtherServer {
    url: String,
    shown: Arc<Mutex<Vec<String>>>,
}

impl OtherServer {
    async fn start(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shown = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&shown);
        let router = Router::new().fallback(move |request: Request| {
            let (answer, seen) = (answer.clone(), Arc::clone(&seen));
            async move {
                let (head, body) = request.into_parts();
                let token = head.headers.get(header::AUTHORIZATION).map(|value| format!("{value:?}"));
                seen.lock().unwrap().push(token.unwrap_or_default());
                axum::body::to_bytes(body, 16 << 20).await.unwrap();
                answer()
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shown }
    }

    async fn say(&self, arguments: &[&str]) -> Said {
        let mut command = updraft(arguments);
        command.env("UPDRAFT_SERVER", &self.url).env("UPDRAFT_TOKEN", "s3cr3t");
        Said::by(command).await
    }
}

fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html")], "<html>Welcome! Please log in.</html>").into_response()
}

fn answer(value: &Value) -> impl Fn() -> Response + Clone + Send + Sync + 'static {
    let value = value.clone();
    move || (StatusCode::CREATED, axum::Json(value.clone())).into_response()
}

fn problem(status: u16, detail: &str) -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: "x".to_owned(),
        status,
        detail: detail.to_owned(),
        cause: None,
    }
}

fn commands(image: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["publish", image, "-p", PRODUCT],
        vec!["publish", image, "-p", PRODUCT, "--json"],
        vec!["publish", image, "-p", PRODUCT, "--promote"],
        vec!["image", "check", image, "-p", PRODUCT],
        vec!["promote", "1.0.0", "-p", PRODUCT],
        vec!["block", "1.0.0", "-p", PRODUCT, "--reason", "x"],
        vec!["unblock", "1.0.0", "-p", PRODUCT],
        vec!["releases", "-p", PRODUCT],
        vec!["devices"],
        vec!["device", "add", "lamp-1"],
        vec!["device", "show", "lamp-1"],
        vec!["device", "check", "lamp-1"],
        vec!["device", "history", "lamp-1"],
        vec!["device", "remove", "lamp-1"],
    ]
}

#[tokio::test]
async fn no_command_believes_a_page_an_empty_answer_or_json_of_something_else() {
    let workshop = Workshop::open();
    let image = workshop.image("1.0.0").display().to_string();
    for other in [
        OtherServer::start(page).await,
        OtherServer::start(|| StatusCode::OK.into_response()).await,
        OtherServer::start(answer(&json!({}))).await,
        OtherServer::start(answer(&json!({"items": [{}], "next": null, "status": "ok"}))).await,
    ] {
        for command in commands(&image) {
            let said = other.say(&command).await;
            assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{command:?}: {said:?}");
            said.refused(&[&other.url, "is not an Updraft server", "--server"]);
        }
    }
}

#[tokio::test]
async fn no_command_follows_a_redirect_and_nobody_else_sees_the_token() {
    let workshop = Workshop::open();
    let image = workshop.image("1.0.0").display().to_string();
    let portal = OtherServer::start(page).await;
    let to = format!("{}/login?next=other-secret", portal.url);
    for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        let to = to.clone();
        let server =
            OtherServer::start(move || (status, [(header::LOCATION, to.clone())]).into_response()).await;
        for command in commands(&image) {
            let said = server.say(&command).await;
            assert!(said.out.is_empty() && !said.err.contains("other-secret"), "{command:?}: {said:?}");
            said.refused(&[&format!("redirects to {}.", portal.url), "real address into --server"]);
        }
    }
    assert_eq!(*portal.shown.lock().unwrap(), Vec::<String>::new(), "nobody came");
}

/// What a server says of a release that was published.
fn published(size: u64, sha256: Sha256) -> Published {
    let release = Release {
        version: "1.0.0".parse().unwrap(),
        size,
        sha256: Some(sha256),
        chip: None,
        blocked: false,
        reason: None,
        channels: Vec::new(),
        notes: None,
        built_at: None,
        published_at: None,
        commit: None,
        tag: None,
        dirty: None,
    };
    Published {
        release,
        decision: PublishDecision::Published,
        product: PRODUCT.parse().unwrap(),
        url: "http://x/".to_owned(),
        promoted: None,
        findings: Vec::new(),
        slot_bytes: None,
        trend: Vec::new(),
    }
}

#[tokio::test]
async fn a_publish_is_believed_only_if_the_answer_is_about_these_bytes() {
    let workshop = Workshop::open();
    let image = workshop.image("1.0.0");
    let size = std::fs::metadata(&image).unwrap().len();
    let image = image.display().to_string();
    let inspected = Said::by(updraft(["image", "inspect", &image, "--json"])).await.ok().json::<Value>();
    let right = json!(published(size, serde_json::from_value(inspected["sha256"].clone()).unwrap()));
    let with = |key: &str, value: Value| {
        let mut answer = right.clone();
        answer[key] = value;
        answer
    };
    let publish = ["publish", &image, "-p", PRODUCT, "--version", "1.0.0"];
    for (wrong, words) in [
        (with("decision", json!("accepted")), "is not an Updraft server"),
        (with("version", json!("latest")), "names the version latest, and 1.0.0 was asked for"),
        (with("sha256", json!(null)), "names the SHA-256 null"),
        (with("sha256", json!("ab".repeat(32))), "names the SHA-256 \"abab"),
        (with("version", json!("1.0.1")), "names the version 1.0.1, and 1.0.0 was asked for"),
        (with("product", json!("fridge")), "names the product \"fridge\""),
        (with("size", json!(size + 1)), "names a size of"),
        (with("promoted", json!("beta")), "no channel was to be promoted, and it names beta"),
    ] {
        let said = OtherServer::start(answer(&wrong)).await.say(&publish).await;
        assert_eq!(said.out, "", "{wrong}: {said:?}");
        said.refused(&[words]);
    }
    let said = OtherServer::start(answer(&right)).await.say(&publish).await.ok();
    assert!(said.out.contains("lamp 1.0.0 is published"), "{said:?}");
    let promote: Vec<_> = publish.iter().copied().chain(["--promote"]).collect();
    let said = OtherServer::start(answer(&right)).await.say(&promote).await;
    said.refused(&["production was to be promoted, and it names none"]);
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_and_its_own_sentence_is_the_last_word() {
    let workshop = Workshop::open();
    let image = workshop.image("1.0.0").display().to_string();
    let busy = OtherServer::start(|| {
        let problem = axum::Json(problem(503, "as many images are being uploaded already"));
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], problem).into_response()
    })
    .await;
    let said = busy.say(&["publish", &image, "-p", PRODUCT]).await;
    assert_eq!(busy.shown.lock().unwrap().len(), 3);
    let waits =
        said.err.lines().filter(|line| line.starts_with("updraft: waiting 1 s, as the answer 503")).count();
    assert_eq!(waits, 2, "{said:?}");
    assert!(said.err.ends_with("\nupdraft: as many images are being uploaded already\n"), "{said:?}");
    assert_eq!(said.code, Some(1));
}

/// The server answers before it has read the image, and closes.
#[tokio::test]
async fn why_a_token_is_not_taken_is_told_although_an_image_was_on_its_way() {
    let (workshop, server) = (Workshop::open(), Server::start().await);
    let image = workshop.huge("1.0.0").display().to_string();
    for _ in 0..5 {
        let mut command = server.remote(["publish", &image, "-p", PRODUCT]);
        command.env("UPDRAFT_TOKEN", "guess");
        Said::by(command).await.refused(&["does not take this token", "known here"]);
    }
}

/// A server has an image wait for up to two minutes before it takes any of it: longer than Linux waits by itself for somebody
/// who takes nothing.
#[tokio::test]
async fn an_image_that_waits_is_not_cut() {
    let workshop = Workshop::open();
    let path = workshop.large("1.0.0");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_secs(45)).await;
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        // The image ends in its digest; nothing is answered before it is there.
        let image = std::fs::read(path).unwrap();
        while !all.ends_with(&image[image.len() - 32..]) {
            let count = stream.read(&mut piece).await.expect("the sender is still there");
            assert!(count > 0, "the sender is still there");
            all.extend_from_slice(&piece[..count]);
        }
        let body = serde_json::to_string(&problem(409, "taken whole")).unwrap();
        let answer = format!(
            "HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let image = workshop.large("1.0.0").display().to_string();
    let mut command = updraft(["publish", &image, "-p", PRODUCT]);
    command.env("UPDRAFT_SERVER", &url).env("UPDRAFT_TOKEN", "s3cr3t");
    Said::by(command).await.refused(&["taken whole"]);
    server.await.unwrap();
}
