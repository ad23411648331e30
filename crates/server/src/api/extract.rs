//! Parsing at the door: path, query and body either become valid values or a problem document.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, header, request::Parts};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;

/// Path parameters.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// Query parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

/// A JSON body that may be absent.
pub(crate) struct OptionalBody<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        use axum::extract::OptionalFromRequest;
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        if typed {
            let body: Option<axum::Json<T>> =
                <axum::Json<T> as OptionalFromRequest<S>>::from_request(request, state).await?;
            return Ok(Self(body.map(|axum::Json(value)| value)));
        }
        let body = bytes::Bytes::from_request(request, state).await.map_err(|rejection| {
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB")
                }
                status => Problem::new(status, "the body broke off before its end"),
            }
        })?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON, with `Content-Type: application/json`",
        ))
    }
}

/// A raw image of at most [`crate::router::IMAGE_MAX_BYTES`], which comes fast enough.
pub(crate) struct Image(pub(crate) bytes::Bytes);

impl<S: Send + Sync> FromRequest<S> for Image {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // Said before the body is read, so that nobody sends 1 GiB to learn it.
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > crate::router::IMAGE_MAX_BYTES) {
            return Err(super::problem::too_large());
        }
        Ok(Self(paced(request.into_body(), &PACE).await?))
    }
}

/// How slow a body may be. It holds a place that others wait for.
struct Pace {
    grace: Duration,
    bytes_per_s: u32,
}

/// A line of a quarter of a megabit a second keeps up with it, and the largest image takes less than ten minutes.
const PACE: Pace = Pace { grace: Duration::from_secs(10), bytes_per_s: 32 * 1024 };

/// Reads an image whole, unless it is too large or comes too slowly.
async fn paced(body: axum::body::Body, pace: &Pace) -> Result<bytes::Bytes, Problem> {
    let mut pieces = body.into_data_stream();
    let (begun, mut image) = (Instant::now(), bytes::BytesMut::new());
    loop {
        #[allow(clippy::cast_precision_loss, reason = "an image has at most 16 MiB")]
        let earned = Duration::from_secs_f64(image.len() as f64 / f64::from(pace.bytes_per_s));
        let Ok(piece) = timeout_at(begun + pace.grace + earned, pieces.next()).await else {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "the image came too slowly: after {} bytes it fell behind {} KiB a second; try again over a faster line, \
                     or publish straight into the store with --store",
                    image.len(),
                    pace.bytes_per_s / 1024
                ),
            ));
        };
        match piece {
            None => return Ok(image.freeze()),
            Some(Err(_)) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off before its end"));
            }
            Some(Ok(piece)) if image.len() + piece.len() > crate::router::IMAGE_MAX_BYTES => {
                return Err(super::problem::too_large());
            }
            Some(Ok(piece)) => image.extend_from_slice(&piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_image_that_comes_too_slowly_is_given_up() {
        let pace = Pace { grace: Duration::from_millis(100), bytes_per_s: 64 * 1024 };
        let first =
            futures_util::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[0xE9; 100]))]);
        let body = axum::body::Body::from_stream(first.chain(futures_util::stream::pending()));
        let problem = paced(body, &pace).await.expect_err("it never ends");
        assert_eq!(problem.status, 408);
        assert!(problem.detail.contains("after 100 bytes"), "{}", problem.detail);
        let whole = paced(axum::body::Body::from(vec![1; 100_000]), &pace).await.expect("whole");
        assert_eq!(whole.len(), 100_000);
        let large = vec![0; crate::router::IMAGE_MAX_BYTES + 1];
        assert_eq!(paced(axum::body::Body::from(large), &pace).await.expect_err("too large").status, 413);
    }
}
