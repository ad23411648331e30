//! Against servers on loopback that are slow, silent, busy, or send callers elsewhere.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);
const ALL_LONG: Limits = Limits { answer: LONG, stalled: LONG, verdict: LONG, body: LONG, later: LONG };

/// A server that takes whole requests and answers what was written down, the last answer for ever.
pub(crate) struct Canned {
    pub(crate) url: Url,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Canned {
    pub(crate) fn start(answers: &[String]) -> Self {
        let answers = answers.to_vec();
        Self::deciding(move |bodies| answers[(bodies.len() - 1).min(answers.len() - 1)].clone())
    }

    /// A server that answers by what all the bodies were that came so far.
    pub(crate) fn deciding(answer: impl Fn(&[Vec<u8>]) -> String + Send + Sync + 'static) -> Self {
        let (answer, bodies) = (Arc::new(answer), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        let (url, task) = serve(move |mut stream: TcpStream| {
            let (answer, bodies, seen) = (Arc::clone(&answer), Arc::clone(&bodies), Arc::clone(&seen));
            async move {
                let (head, mut body, left) = read_request(&mut stream).await;
                (&mut stream).take(left as u64).read_to_end(&mut body).await.expect("it comes");
                let answer = {
                    let mut bodies = bodies.lock().expect("nobody panicked with it");
                    seen.lock().expect("nobody panicked with it").push(head);
                    bodies.push(body);
                    answer(&bodies)
                };
                stream.write_all(answer.as_bytes()).await.expect("somebody listens");
                let _ = stream.shutdown().await;
            }
        });
        Self { url, heads, task }
    }

    /// The heads of the requests that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panicked with it").clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer on the wire; `headers` end in a line break each.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// A sentence as servers answer it.
pub(crate) fn problem(status: &str, headers: &str, detail: &str) -> String {
    let headers = format!("content-type: application/problem+json\r\n{headers}");
    let (code, title) = status.split_once(' ').expect("a status and its words");
    let problem = api::Problem {
        kind: "about:blank".to_owned(),
        title: title.to_owned(),
        status: code.parse().expect("a number"),
        detail: detail.to_owned(),
        cause: None,
    };
    answer(status, &headers, &serde_json::to_string(&problem).expect("it can be written"))
}

/// A server that refuses an image as soon as it sees how long it is, and closes, so that nobody hears why; without an image
/// everybody hears it.
pub(crate) fn hasty(said: String) -> (Url, JoinHandle<()>) {
    serve(move |mut stream| {
        let said = said.clone();
        async move {
            if read_head(&mut stream).await.1 > 0 {
                // What is unread makes this a reset.
                return drop(stream);
            }
            stream.write_all(said.as_bytes()).await.expect("somebody listens");
        }
    })
}

/// With a window so small that what is not read is not taken either.
fn serve<F: Future<Output = ()> + Send + 'static>(
    each: impl Fn(TcpStream) -> F + Send + 'static,
) -> (Url, JoinHandle<()>) {
    // As main does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a small one");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
    let listener = socket.listen(16).expect("it listens");
    let url = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    (url, task)
}

/// The head, and how much of the body is still to come.
async fn read_head(stream: &mut TcpStream) -> (String, usize) {
    let (head, _, left) = read_request(stream).await;
    (head, left)
}

/// The head, what came of the body with it, and how much is still to come.
async fn read_request(stream: &mut TcpStream) -> (String, Vec<u8>, usize) {
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let count = stream.read(&mut piece).await.expect("it comes");
        assert!(count > 0, "a request has a head");
        head.extend_from_slice(&piece[..count]);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8(head[..end].to_vec()).expect("text").to_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let begun = head.split_off(end + 4);
        let left = length.unwrap_or(0).saturating_sub(begun.len());
        return (text, begun, left);
    }
}

async fn upload(limits: Limits, url: &Url, size: usize) -> Result<Answer, Lost> {
    let http = Http::new(limits).expect("a client");
    let image = Bytes::from(vec![0xE9; size]);
    http.send(http.client().post(url.clone()), &image, &ProgressBar::hidden()).await
}

#[tokio::test]
async fn an_upload_is_not_cut_while_it_moves() {
    let (url, task) = serve(|mut stream| async move {
        let (_, mut left) = read_head(&mut stream).await;
        let mut piece = vec![0; 64 * 1024];
        while left > 0 {
            left -= stream.read(&mut piece).await.expect("it comes");
            sleep(Duration::from_millis(5)).await;
        }
        stream.write_all(answer("201 Created", "", "{}").as_bytes()).await.expect("somebody listens");
    });
    let begun = Instant::now();
    let limits = Limits { answer: SHORT, ..ALL_LONG };
    let answer = upload(limits, &url, 4 << 20).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(begun.elapsed() > SHORT, "it took longer than an answer may");
    task.abort();
}

#[tokio::test]
async fn an_upload_of_which_nothing_more_is_taken_is_given_up() {
    let (url, task) = serve(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    });
    let lost = upload(Limits { stalled: SHORT, ..ALL_LONG }, &url, 16 << 20).await.expect_err("no answer");
    assert!(lost.to_string().contains("no more of the image was taken for 0.3 s"), "{lost}");
    task.abort();
}

#[tokio::test]
async fn an_image_that_was_sent_waits_for_its_answer_and_not_for_ever() {
    let slow = Duration::from_millis(600);
    let (url, task) = serve(move |mut stream| async move {
        let (_, mut left) = read_head(&mut stream).await;
        let mut piece = vec![0; 64 * 1024];
        while left > 0 {
            left -= stream.read(&mut piece).await.expect("it comes");
        }
        sleep(slow).await;
        stream.write_all(answer("201 Created", "", "{}").as_bytes()).await.expect("somebody listens");
    });
    let waits = Limits { answer: SHORT, stalled: SHORT, ..ALL_LONG };
    assert_eq!(upload(waits, &url, 100_000).await.expect("an answer").status, StatusCode::CREATED);
    let gives_up = Limits { verdict: SHORT, ..ALL_LONG };
    let lost = upload(gives_up, &url, 100_000).await.expect_err("too late");
    assert!(lost.to_string().contains("the image was sent, and there was no answer for 0.3 s"), "{lost}");
    task.abort();
}

#[tokio::test]
async fn a_request_without_an_answer_and_an_answer_without_an_end_are_given_up() {
    let (url, task) = serve(|mut stream| async move {
        let (head, _) = read_head(&mut stream).await;
        if head.starts_with("get /endless") {
            let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{";
            stream.write_all(begun).await.expect("somebody listens");
        }
        std::future::pending::<()>().await;
    });
    let http = Http::new(Limits { answer: SHORT, body: SHORT, ..ALL_LONG }).expect("a client");
    let lost = http.ask(http.client().get(url.clone())).await.expect_err("no answer");
    assert!(lost.to_string().contains("there was no answer for 0.3 s"), "{lost}");
    let endless = http.client().get(url.join("endless").expect("a URL"));
    let lost = http.ask(endless).await.expect_err("no end");
    assert!(lost.to_string().contains("the answer had no end for 0.3 s"), "{lost}");
    task.abort();
}

#[tokio::test]
async fn who_says_later_is_asked_again_a_few_times_and_not_if_it_is_too_late() {
    let ok = answer("200 OK", "", "{}");
    let later = |status: &str, seconds: u32| problem(status, &format!("retry-after: {seconds}\r\n"), "busy");
    for (answers, status, requests) in [
        (vec![later("429 Too Many Requests", 0), ok.clone()], 200, 2),
        (vec![later("503 Service Unavailable", 0), later("429 Too Many Requests", 0), ok.clone()], 200, 3),
        (vec![later("429 Too Many Requests", 0)], 429, TRIES as usize),
        (vec![later("429 Too Many Requests", 31), ok.clone()], 429, 1),
        (vec![problem("503 Service Unavailable", "", "down"), ok.clone()], 503, 1),
        (vec![later("409 Conflict", 0), ok.clone()], 409, 1),
    ] {
        let server = Canned::start(&answers);
        let http = Http::new(ALL_LONG).expect("a client");
        let ask = async || http.ask(http.client().get(server.url.clone())).await;
        let answer = http.with_retries(ask).await.expect("an answer");
        assert_eq!((answer.status.as_u16(), server.heads().len()), (status, requests), "{answers:?}");
    }
    let server = Canned::start(&[later("429 Too Many Requests", 1), ok]);
    let (http, begun) = (Http::new(ALL_LONG).expect("a client"), Instant::now());
    http.with_retries(async || http.ask(http.client().get(server.url.clone())).await)
        .await
        .expect("an answer");
    assert!(begun.elapsed() >= Duration::from_secs(1), "asked again too soon");
}

fn canned(status: u16, name: reqwest::header::HeaderName, value: &str, url: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().expect("a header"));
    let status = StatusCode::from_u16(status).expect("a status");
    Answer { status, headers, body: Vec::new(), url: url.parse().expect("a URL") }
}

#[test]
fn later_is_seconds_or_a_date() {
    let now = DateTime::parse_from_rfc3339("2026-11-29T12:00:00Z").expect("a time").to_utc();
    for (text, seconds) in [
        ("5", Some(5)),
        (" 60 ", Some(60)),
        ("0", Some(0)),
        ("Sun, 29 Nov 2026 12:00:30 GMT", Some(30)),
        ("Sun, 29 Nov 2026 11:00:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
    ] {
        let answer = canned(429, RETRY_AFTER, text, "http://localhost/");
        assert_eq!(answer.later(now).map(|pause| pause.as_secs()), seconds, "{text}");
    }
}

#[test]
fn a_redirect_is_told_as_an_address_without_secrets() {
    let asked = "http://user:pw@ota.example/base/api/v1/products/lamp/releases?version=1.0.0";
    for (to, expected) in [
        ("https://ota.example/base/api/v1/products/lamp/releases?version=1.0.0", "https://ota.example/base"),
        ("https://real.example/api/v1/products/lamp/releases", "https://real.example"),
        ("https://a:b@portal.example/login/s3cr3t?token=s3cr3t#s3cr3t", "https://portal.example"),
        ("/login?next=s3cr3t", "http://ota.example"),
        ("/base/api/v1/products/lamp/releases/", "http://ota.example"),
        ("//portal.example:8080/x", "http://portal.example:8080"),
        ("/base/api/v1/products/lamp/releases", "another page of http://ota.example/base"),
        ("mailto:x@y", "nowhere"),
        ("http://", "nowhere"),
    ] {
        let answer = canned(302, LOCATION, to, asked);
        let given = "http://user:pw@ota.example/base/".parse().expect("a URL");
        assert_eq!(answer.redirect(&given).as_deref(), Some(expected), "{to}");
    }
    let given = "http://ota.example".parse().expect("a URL");
    assert_eq!(canned(200, LOCATION, "https://x.example", asked).redirect(&given), None);
}
