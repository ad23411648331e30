//! Limits: how large a body is, how slow it may come, how long an answer may take, how many connections, streams and uploads
//! there are at a time; and taking an image: who may send one now, and how long it counts among those that are kept.
//!
//! A connection works, for `listen`, from when its request is whole (of an image: from when its sender may send it) until
//! its answer has been written.
//!
//! Images are kept whole. The place that one takes belongs to its bytes and not to its request: whoever sent it may have
//! left while it is still judged or written into the store.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api::IMAGE_MAX_BYTES;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use listen::{Full, Place};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::{LATER_S, Problem};
use crate::actor::Actor;
use crate::releases::WRITE_TIMEOUT;

/// The largest of all other bodies.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// Maximum number of streams of events at a time.
pub(crate) const STREAMS_MAX: usize = 256;
/// Maximum number of one person's, token's or job's: a browser opens six connections to a server.
const STREAMS_EACH_MAX: usize = 16;
/// Maximum number of images in memory at a time.
pub(crate) const UPLOADS_MAX: usize = 4;

/// How long an upload waits for its place.
pub(super) const PLACE_TIMEOUT: Duration = Duration::from_mins(2);
/// How long an image that has come may be judged and written.
const STORE_TIMEOUT: Duration = Duration::from_mins(3);
/// How long an upload may take from its begin to its answer: the slowest that is admitted is answered in time.
const UPLOAD_TIMEOUT: Duration = PLACE_TIMEOUT.saturating_add(PACE.longest()).saturating_add(STORE_TIMEOUT);
/// How long any other request may take until its answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
// A request that waits for the store has its own answer, which says that the work continues.
const _: () = assert!(ANSWER_TIMEOUT.as_secs() > WRITE_TIMEOUT.as_secs() + 10);

/// The streams of events that are open, by whose they are.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, usize>>>);

/// One of them, as long as it is kept.
pub(crate) struct OpenStream {
    streams: Streams,
    whose: String,
}

impl Streams {
    pub(crate) fn open(&self, by: &Actor) -> Result<OpenStream, Problem> {
        let whose = format!("{:?} {}", by.kind, by.name);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= STREAMS_MAX {
            return Err(Problem::later("too many streams of events are open; close one and try again"));
        }
        let theirs = open.entry(whose.clone()).or_default();
        if *theirs >= STREAMS_EACH_MAX {
            let sentence =
                format!("{} has {STREAMS_EACH_MAX} streams of events open; close one and try again", by.name);
            return Err(Problem::too_many(LATER_S, sentence));
        }
        *theirs += 1;
        Ok(OpenStream { streams: self.clone(), whose })
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(theirs) = open.get_mut(&self.whose) {
            *theirs -= 1;
        }
        open.retain(|_, theirs| *theirs > 0);
    }
}

#[derive(Clone)]
pub(crate) struct Uploads(pub(crate) Arc<Semaphore>);

/// How slow a body may be. It takes a connection or a place that others wait for.
pub(super) struct Pace {
    pub(super) grace: Duration,
    pub(super) bytes_per_s: u32,
}

/// A line of a quarter of a megabit a second keeps up with it, and the largest image takes less than ten minutes.
pub(super) const PACE: Pace = Pace { grace: Duration::from_secs(10), bytes_per_s: 32 * 1024 };

impl Pace {
    /// How long the largest image may take.
    const fn longest(&self) -> Duration {
        let seconds = (IMAGE_MAX_BYTES as u64).div_ceil(self.bytes_per_s as u64);
        self.grace.saturating_add(Duration::from_secs(seconds))
    }
}

/// One line a request, by route and never by URL: paths and queries can carry secrets. Handlers are bounded in
/// time until their answer begins; what streams afterwards is bounded by its client.
pub(super) async fn log_and_bound(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or("-".to_owned(), |path| path.as_str().to_owned());
    let response = match timeout(time_limit(&method, &route), bound(request, next)).await {
        Ok(answer) => answer.into_response(),
        Err(_) => too_long(&method).into_response(),
    };
    let status = response.status().as_u16();
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(http.method = %method, http.route = route, http.status = status, elapsed_ms, "answered");
    response
}

async fn bound(request: Request, next: Next) -> Result<Response, Problem> {
    // A router of a test has none.
    let Some(place) = request.extensions().get::<Arc<Place>>().cloned() else {
        return Ok(next.run(request).await);
    };
    let answering = Answering(place);
    if request.body().is_end_stream() {
        answering.0.work().map_err(too_many)?;
    }
    Ok(next.run(request).await.map(|body| Body::new(Answer::new(body, answering))))
}

fn too_many(full: Full) -> Problem {
    Problem::later(match full {
        Full::All => "as many requests are being answered as this server can; try again in a few seconds",
        Full::Address => {
            "too many requests from this address are being answered; try again when some are done"
        }
    })
}

/// A request with all of its body, which is no image.
pub(super) async fn whole(request: Request) -> Result<Request, Problem> {
    let (head, body) = request.into_parts();
    let body = paced(body, announced(&head.headers), BODY_MAX_BYTES, &PACE).await?;
    work(&head.extensions)?;
    Ok(Request::from_parts(head, body.into()))
}

fn work(extensions: &Extensions) -> Result<(), Problem> {
    extensions.get::<Arc<Place>>().map_or(Ok(()), |place| place.work().map_err(too_many))
}

/// Once this is dropped the connection waits again.
struct Answering(Arc<Place>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// Bytes of an answer that are handed on at a time: the next ones once these are written.
const PIECE_BYTES: usize = 64 * 1024;
/// So much may not be written yet when it is over.
const SHORT_BYTES: usize = 16 * 1024;

/// The body of an answer. It is not over before its last piece is written, but for 16 KiB: a download works until then.
struct Answer {
    body: Body,
    /// Of a longer piece.
    rest: Bytes,
    /// Bytes of the piece before, if there was one.
    before: Option<usize>,
    _answering: Answering,
}

impl Answer {
    fn new(body: Body, answering: Answering) -> Self {
        Self { body, rest: Bytes::new(), before: None, _answering: answering }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.before = Some(piece.len());
        Frame::data(piece)
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
                    self.rest = bytes;
                    Poll::Ready(Some(Ok(self.piece())))
                }
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            other => Poll::Ready(other),
        }
    }

    /// Not said after a long piece: who is told drops this, and what it has may not be written yet.
    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && self.before.is_none_or(|bytes| bytes <= SHORT_BYTES)
            && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}

/// How long a request may take until its answer begins.
fn time_limit(method: &Method, route: &str) -> Duration {
    let is_upload = method == Method::POST
        && matches!(route, "/api/v1/products/{p}/releases" | "/api/v1/products/{p}/releases/check");
    if is_upload { UPLOAD_TIMEOUT } else { ANSWER_TIMEOUT }
}

/// What was begun may go on: the store's work ends by itself.
fn too_long(method: &Method) -> Problem {
    if method.is_safe() {
        return Problem::later("this took too long and was given up; try again in a minute");
    }
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "this takes longer than anybody waits here, and it may still be done: look again in a minute before asking again",
    )
}

struct Kept {
    image: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.image
    }
}

/// The image in a body. Its place is free again when the last copy of these bytes and of parts of them is dropped.
pub(crate) async fn image_of(uploads: &Uploads, request: Request) -> Result<Bytes, Problem> {
    work(request.extensions())?;
    let kept = place(&uploads.0, PLACE_TIMEOUT).await?;
    let announced = announced(request.headers());
    let image = paced(request.into_body(), announced, IMAGE_MAX_BYTES, &PACE).await?;
    if image.is_empty() {
        return Err(Problem::invalid("the body is empty; it is the image, as raw bytes"));
    }
    Ok(Bytes::from_owner(Kept { image, _place: kept }))
}

/// A place among the images that are kept at a time, once one is free. More of them wait here, before their bodies are
/// read.
async fn place(uploads: &Arc<Semaphore>, limit: Duration) -> Result<OwnedSemaphorePermit, Problem> {
    match timeout(limit, Arc::clone(uploads).acquire_owned()).await {
        Ok(place) => place.map_err(|_| Problem::later("the server stops")),
        Err(_) => Err(Problem::later(
            "as many images are being uploaded already as this server holds; try again in a minute",
        )),
    }
}

/// How long a body says that it is; 0 if it does not.
fn announced(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH);
    length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or_default()
}

/// Reads a body whole, unless it is too large or comes too slowly.
async fn paced(body: Body, announced: usize, max_bytes: usize, pace: &Pace) -> Result<Bytes, Problem> {
    let too_large = || {
        let kib = max_bytes / 1024;
        let limit = if kib < 1024 { format!("{kib} KiB") } else { format!("{} MiB", kib / 1024) };
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit}"))
    };
    // Said before it is read, so that nobody sends 1 GiB to learn it.
    if announced > max_bytes {
        return Err(too_large());
    }
    let mut pieces = body.into_data_stream();
    // Allocated at once: growing would need twice the memory for a moment.
    let mut whole = BytesMut::with_capacity(announced);
    let begun = Instant::now();
    loop {
        let earned = Duration::from_secs(whole.len() as u64) / pace.bytes_per_s;
        let Ok(piece) = timeout_at(begun + pace.grace + earned, pieces.next()).await else {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "the body came too slowly: after {} bytes it fell behind {} KiB a second; try again over a faster line",
                    whole.len(),
                    pace.bytes_per_s / 1024
                ),
            ));
        };
        match piece {
            None => return Ok(whole.freeze()),
            Some(Err(_)) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off before its end"));
            }
            Some(Ok(piece)) if whole.len() + piece.len() > max_bytes => return Err(too_large()),
            Some(Ok(piece)) => whole.extend_from_slice(&piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    #[test]
    fn the_slowest_upload_is_answered_in_time() {
        // 16 MiB at 32 KiB a second, after ten seconds of grace and two minutes of waiting.
        let slowest = Duration::from_secs(16 * 1024 / 32 + 10 + 120);
        for route in ["/api/v1/products/{p}/releases", "/api/v1/products/{p}/releases/check"] {
            let left = time_limit(&Method::POST, route).checked_sub(slowest).expect("enough");
            assert!(left >= Duration::from_mins(1), "and there is time to judge and write it: {left:?}");
        }
        assert_eq!(time_limit(&Method::GET, "/api/v1/products/{p}/releases"), ANSWER_TIMEOUT);
    }

    #[tokio::test]
    async fn a_download_works_until_its_last_piece_was_asked_for() {
        let listener = listen::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, mut places) = tokio::sync::mpsc::unbounded_channel();
        let connections = listen::Connections::new("test", listen::Limits::of(8), |_| false);
        let accepting = tokio::spawn(listen::accept(listener, connections, move |_, _, place| {
            sender.send(place).expect("received");
        }));
        let _client = tokio::net::TcpStream::connect(address).await.expect("connected");
        let place = Arc::new(places.recv().await.expect("accepted"));
        accepting.abort();
        place.work().expect("room");
        let image = Bytes::from(vec![7; 5 * PIECE_BYTES / 2]);
        let mut answer = Answer::new(image.clone().into(), Answering(place));
        let mut had = Vec::new();
        for expected in [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES / 2] {
            assert!(!answer.is_end_stream());
            assert_eq!(answer.size_hint().exact(), Some((image.len() - had.len()) as u64));
            let frame = std::future::poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await;
            let piece = frame.expect("a piece").expect("no failure").into_data().expect("data");
            assert_eq!(piece.len(), expected);
            had.extend_from_slice(&piece);
        }
        assert!(had == image && !answer.is_end_stream());
        let end = std::future::poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await;
        assert!(end.is_none());
    }

    #[test]
    fn what_took_too_long_is_not_said_to_have_failed() {
        let problem = too_long(&Method::PUT);
        assert!(problem.status == 503 && problem.detail.contains("may still be done: look again"));
    }

    #[test]
    fn only_what_changes_nothing_is_to_be_asked_again_after_it_took_too_long() {
        let is_to_come_again =
            |method| too_long(&method).into_response().headers().contains_key(header::RETRY_AFTER);
        assert!(is_to_come_again(Method::GET));
        for method in [Method::PUT, Method::POST, Method::DELETE] {
            assert!(!is_to_come_again(method.clone()), "{method}");
        }
    }

    #[tokio::test]
    async fn an_image_that_comes_too_slowly_is_given_up() {
        let pace = Pace { grace: Duration::from_millis(100), bytes_per_s: 64 * 1024 };
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&[0xE9; 100]))]);
        let body = Body::from_stream(first.chain(futures_util::stream::pending()));
        let problem = paced(body, 0, IMAGE_MAX_BYTES, &pace).await.expect_err("it never ends");
        assert_eq!(problem.status, 408);
        assert!(problem.detail.contains("after 100 bytes"), "{}", problem.detail);
        let whole =
            paced(Body::from(vec![1; 100_000]), 100_000, IMAGE_MAX_BYTES, &pace).await.expect("whole");
        assert_eq!(whole.len(), 100_000);
        let large = vec![0; IMAGE_MAX_BYTES + 1];
        let large = paced(Body::from(large), 0, IMAGE_MAX_BYTES, &pace).await.expect_err("too large");
        assert_eq!((large.status.as_u16(), large.detail.as_str()), (413, "the body is larger than 16 MiB"));
    }

    #[tokio::test]
    async fn an_upload_that_gets_no_place_is_refused() {
        let uploads = Arc::new(Semaphore::new(1));
        let first = place(&uploads, Duration::ZERO).await.expect("free");
        let problem = place(&uploads, Duration::from_millis(10)).await.expect_err("taken");
        assert_eq!((problem.status.as_u16(), problem.detail.contains("try again")), (503, true));
        drop(first);
        assert!(place(&uploads, Duration::ZERO).await.is_ok(), "free again");
    }

    #[tokio::test]
    async fn a_part_of_an_image_keeps_the_place_of_all_of_it() {
        let uploads = Arc::new(Semaphore::new(1));
        let kept = place(&uploads, Duration::ZERO).await.expect("free");
        let image = Bytes::from_owner(Kept { image: Bytes::from_static(b"image"), _place: kept });
        let part = image.slice(1..2);
        drop(image);
        assert_eq!((&part[..], uploads.available_permits()), (&b"m"[..], 0));
        drop(part);
        assert_eq!(uploads.available_permits(), 1);
    }
}
