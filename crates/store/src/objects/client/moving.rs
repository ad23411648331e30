//! Requests that stand still are given up; those whose bytes move go on.
//!
//! reqwest's own `read_timeout` counts from the beginning of a request to the first byte of its answer, however long the
//! body takes to go up, and would cut an image on a slow line off. So `object_store` sends through this: time is counted
//! from the last piece that went up or came down. A piece that went up may still be in a buffer, of the system or of a
//! proxy, behind those of other bodies; so the more is on its way, the longer is waited for what comes after it.
//!
//! `object_store` sends a request again until a time that counts from its first try, and a long body may use that time up
//! by itself. So a try that did is followed by another one here.

use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::StatusCode;
use reqwest::header::{IF_MATCH, IF_NONE_MATCH};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::objects::explain::io_kind;
use crate::objects::settings::Limits;

/// A body goes up in such pieces, of which hyper takes 16 before the first is on its way.
const PIECE_BYTES: usize = 16 * 1024;

/// Makes HTTP clients for `object_store` that keep these limits.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Limits);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let said = |key| options.get_config_value(&key);
        // It gives the instance metadata service less time: where there is none, nobody refuses either.
        let connect = said(ClientConfigKey::ConnectTimeout)
            .and_then(|text| text.strip_suffix('s')?.parse().ok())
            .map_or(self.0.connect, Duration::from_secs);
        let allows_http = said(ClientConfigKey::AllowHttp).is_some_and(|text| text == "true");
        let http = reqwest::Client::builder()
            .user_agent(concat!("updraft/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .timeout(self.0.total)
            .http1_only()
            .https_only(!allows_http)
            .build()
            .map_err(|error| object_store::Error::Generic { store: "HTTP", source: error.into() })?;
        Ok(HttpClient::new(Watched { http, limits: self.0, on_the_way: AtomicU64::new(0) }))
    }
}

struct Moved(Mutex<Instant>);

impl Moved {
    fn note(&self) {
        *self.0.lock().expect("nobody panics while holding it") = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().expect("nobody panics while holding it")
    }
}

#[derive(Debug)]
struct Watched {
    http: reqwest::Client,
    limits: Limits,
    /// The bytes of all bodies whose requests are not answered yet.
    on_the_way: AtomicU64,
}

/// A body's share of what is on the way.
struct OnTheWay<'a> {
    all: &'a AtomicU64,
    bytes: u64,
    /// The most that was on the way at once while this was: it is as far back in a buffer as that.
    most: u64,
}

impl<'a> OnTheWay<'a> {
    fn new(all: &'a AtomicU64, bytes: u64) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { all, bytes, most: bytes }
    }

    /// How long is waited for something to move.
    fn timeout(&mut self, limits: &Limits) -> Duration {
        // What is small goes up in one piece, and a store that is silent to it is given up as soon as one that is read from.
        if self.bytes > PIECE_BYTES as u64 {
            self.most = self.most.max(self.all.load(Ordering::Relaxed));
        }
        limits.silence + Duration::from_millis(self.most.saturating_mul(1000) / u64::from(limits.pace))
    }
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (again, began) = (request.clone(), Instant::now());
        let tried = self.once(request).await;
        let took = began.elapsed();
        let has_used_up_the_retries = took > self.limits.retries && took < self.limits.total;
        if has_used_up_the_retries && again.body().content_length() > 0 && may_be_sent_again(&again, &tried) {
            return self.once(again).await;
        }
        tried
    }
}

/// As `object_store` decides it; it tells nobody which writes are idempotent, but those with a condition are not.
fn may_be_sent_again(request: &HttpRequest, tried: &Result<HttpResponse, HttpError>) -> bool {
    let is_conditional = [IF_MATCH, IF_NONE_MATCH].iter().any(|name| request.headers().contains_key(name));
    match tried {
        Ok(answer) => {
            let status = answer.status();
            status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        }
        Err(error) => match error.kind() {
            HttpErrorKind::Connect | HttpErrorKind::Request => true,
            HttpErrorKind::Timeout | HttpErrorKind::Interrupted => !is_conditional,
            _ => false,
        },
    }
}

impl Watched {
    async fn once(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let moved = Arc::new(Moved(Mutex::new(Instant::now())));
        let (parts, body) = request.into_parts();
        let mut on_the_way = OnTheWay::new(&self.on_the_way, body.content_length() as u64);
        let url = parts.uri.to_string().parse();
        let url = url.map_err(|error: url::ParseError| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        // What comes as plain bytes is small.
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => bytes.clone().into(),
            None => reqwest::Body::wrap(SentBody { body, rest: Bytes::new(), moved: Arc::clone(&moved) }),
        });
        let mut answer = pin!(self.http.execute(request));
        let mut answer = loop {
            let until = moved.last() + on_the_way.timeout(&self.limits);
            match timeout_at(until, &mut answer).await {
                Ok(answer) => break answer.map_err(explained)?,
                // Something moved meanwhile, or more bodies came on the way.
                Err(_) if moved.last() + on_the_way.timeout(&self.limits) > until => {}
                Err(_) => return Err(silent(on_the_way.timeout(&self.limits))),
            }
        };
        drop(on_the_way);
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        let body = ReceivedBody { body: answer.into(), silence: self.limits.silence, waits: None };
        let mut response = HttpResponse::new(HttpResponseBody::new(body));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

/// A body that goes up in pieces, and notes each.
struct SentBody {
    body: HttpRequestBody,
    rest: Bytes,
    moved: Arc<Moved>,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                end => return Poll::Ready(end),
            }
        }
        self.moved.note();
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint().exact().map(|rest| rest + self.rest.len() as u64);
        rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body that comes down, and ends with an error if nothing comes for too long while it is waited for.
struct ReceivedBody {
    body: reqwest::Body,
    silence: Duration,
    waits: Option<Pin<Box<Sleep>>>,
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            // Whoever takes long over a piece is not the store's silence.
            self.waits = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(explained)));
        }
        let silence = self.silence;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(silence)));
        ready!(waits.as_mut().poll(cx));
        Poll::Ready(Some(Err(silent(silence))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("timed out: no byte moved for {0:?}")]
struct Silent(Duration);

fn silent(silence: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Silent(silence))
}

/// The same error as `object_store` wants it, to decide whether the request may be sent again.
fn explained(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        match io_kind(&error) {
            Some(ErrorKind::TimedOut) => HttpErrorKind::Timeout,
            Some(
                ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof,
            ) => HttpErrorKind::Interrupted,
            // The connection was closed before anything was answered, as servers do with idle ones.
            _ if error.is_request() => HttpErrorKind::Request,
            _ => HttpErrorKind::Unknown,
        }
    };
    // The URL is signed for some requests, and `object_store` names it where it is not.
    HttpError::new(kind, error.without_url())
}
