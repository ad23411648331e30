//! Limits: body sizes, how long an answer may take, and how many streams and uploads there are at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::IMAGE_MAX_BYTES;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::releases::WRITE_TIMEOUT;

/// The largest of all other bodies.
pub(super) const BODY_MAX_BYTES: usize = 64 * 1024;
/// Maximum number of streams of events at a time.
pub(crate) const STREAMS_MAX: usize = 256;
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

/// Places for streams of events.
#[derive(Clone)]
pub(crate) struct Streams(pub(crate) Arc<Semaphore>);

impl Streams {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// Places for images in memory.
#[derive(Clone)]
pub(crate) struct Uploads(pub(crate) Arc<Semaphore>);

impl Uploads {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(UPLOADS_MAX)))
    }
}

/// How slow a body may be. It takes a place that others wait for.
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
    let response = match tokio::time::timeout(time_limit(&method, &route), next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_long(&method).into_response(),
    };
    let status = response.status().as_u16();
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(http.method = %method, http.route = route, http.status = status, elapsed_ms, "answered");
    response
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
}
