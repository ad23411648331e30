//! Downloads under way: one ends when its URL does.

use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header;
use axum::response::Response;
use futures_util::stream::{self, Stream, StreamExt};

use crate::error::Error;
use crate::updates::Updates;

/// What is longer is looked at again while it is sent, so often, between two pieces of so many bytes.
const LONG_BYTES: u64 = 64 * 1024;
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 64 * 1024;

/// The same answer, which breaks off once the image is blocked or the update cancelled. That is all that a server can do then: the
/// device asks for the rest, and is told why it gets none.
pub(super) fn while_allowed(
    answer: Response,
    updates: Updates,
    key: String,
    update: Option<i64>,
) -> Response {
    let length = answer.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let is_long =
        length.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > LONG_BYTES);
    if !is_long {
        return answer;
    }
    let (head, body) = answer.into_parts();
    let download = Download { updates, key, update };
    Response::from_parts(head, Body::from_stream(download.pieces(body.into_data_stream())))
}

struct Download {
    updates: Updates,
    key: String,
    update: Option<i64>,
}

type Piece = Result<Bytes, axum::Error>;

impl Download {
    fn pieces(self, pieces: BodyDataStream) -> impl Stream<Item = Piece> {
        let pieces = pieces.flat_map(|piece| stream::iter(small(piece)));
        stream::unfold((self, pieces, Instant::now()), async |(download, mut pieces, mut looked)| {
            if looked.elapsed() >= LOOK_AGAIN {
                if download.is_over().await {
                    let why = axum::Error::new("the image was blocked, or its update cancelled");
                    return Some((Err(why), (download, pieces, looked)));
                }
                looked = Instant::now();
            }
            let piece = pieces.next().await?;
            Some((piece, (download, pieces, looked)))
        })
    }

    async fn is_over(&self) -> bool {
        if self.updates.closed(&self.key).await.is_some() {
            return true;
        }
        match self.update {
            Some(update) => matches!(self.updates.fetch(update).await, Err(Error::Forbidden(_))),
            None => false,
        }
    }
}

/// What is in memory comes in one piece, and is written in many.
fn small(piece: Piece) -> Vec<Piece> {
    let Ok(mut rest) = piece else { return vec![piece] };
    let mut pieces = Vec::with_capacity(rest.len() / PIECE_BYTES + 1);
    while rest.len() > PIECE_BYTES {
        pieces.push(Ok(rest.split_to(PIECE_BYTES)));
    }
    pieces.push(Ok(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_small_and_nothing_is_lost() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5] {
            let bytes = Bytes::from(vec![7; length]);
            let pieces: Vec<Bytes> =
                small(Ok(bytes)).into_iter().map(|piece| piece.expect("whole")).collect();
            assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), length);
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        }
    }
}
