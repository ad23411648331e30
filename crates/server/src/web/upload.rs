//! Taking an image: who may send one now, how slow it may come, and how long it counts among those that are kept.
//!
//! Images are kept whole. The place that one takes belongs to its bytes and not to its request: whoever sent it may have
//! left while it is still judged or written into the store.

use std::sync::Arc;
use std::time::Duration;

use api::IMAGE_MAX_BYTES;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::{PACE, PLACE_TIMEOUT, Pace, Uploads};
use super::problem::{Problem, too_large};

/// An image in memory, with its place among those that are.
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
    let kept = place(&uploads.0, PLACE_TIMEOUT).await?;
    // Said before the body is read, so that nobody sends 1 GiB to learn it.
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > IMAGE_MAX_BYTES) {
        return Err(too_large());
    }
    let image = paced(request.into_body(), announced.unwrap_or_default(), &PACE).await?;
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

/// Reads an image whole, unless it is too large or comes too slowly.
async fn paced(body: axum::body::Body, announced: usize, pace: &Pace) -> Result<Bytes, Problem> {
    let mut pieces = body.into_data_stream();
    // Allocated at once: growing would need twice the memory for a moment.
    let (begun, mut image) = (Instant::now(), BytesMut::with_capacity(announced));
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
            Some(Ok(piece)) if image.len() + piece.len() > IMAGE_MAX_BYTES => return Err(too_large()),
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
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&[0xE9; 100]))]);
        let body = axum::body::Body::from_stream(first.chain(futures_util::stream::pending()));
        let problem = paced(body, 0, &pace).await.expect_err("it never ends");
        assert_eq!(problem.status, 408);
        assert!(problem.detail.contains("after 100 bytes"), "{}", problem.detail);
        let whole = paced(axum::body::Body::from(vec![1; 100_000]), 100_000, &pace).await.expect("whole");
        assert_eq!(whole.len(), 100_000);
        let large = vec![0; IMAGE_MAX_BYTES + 1];
        assert_eq!(paced(axum::body::Body::from(large), 0, &pace).await.expect_err("too large").status, 413);
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
