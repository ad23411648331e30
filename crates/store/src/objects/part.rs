//! A part of an object, also from a server that sends all of it whatever was asked for.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, try_unfold};
use object_store::{Error, GetOptions, GetRange, Result};

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::object::{Tag, path, tag};

/// What of an object was asked for, and the tag of all of it.
pub(crate) struct Part {
    pub(crate) tag: Tag,
    pub(crate) stream: BoxStream<'static, Result<Bytes>>,
}

/// Whether the server answers with all of an object where a part was asked for, as HTTP allows.
pub(crate) fn is_all(error: &Error) -> bool {
    error.to_string().contains("non-partial response")
}

impl Bucket {
    /// Opens a part of an object; `None` if there is no such object.
    pub(crate) async fn part(&self, key: &str, range: Range<u64>) -> Result<Option<Part>, StoreError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        match self.objects.get_opts(&path(key)?, options).await {
            Ok(result) => {
                let length = range.end - range.start;
                Ok(Some(Part { tag: tag(&result.meta), stream: cut(result.into_stream(), 0..length) }))
            }
            Err(error) if is_all(&error) => {
                let all = self.open(key, GetOptions::default()).await?;
                Ok(all.map(|all| Part { tag: tag(&all.meta), stream: cut(all.into_stream(), range) }))
            }
            Err(error) => self.missing(key, error).map(|()| None),
        }
    }
}

/// Ends with the part: the rest is not fetched.
fn cut(all: BoxStream<'static, Result<Bytes>>, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    let cut = try_unfold((all, 0), move |(mut all, at): (BoxStream<'static, Result<Bytes>>, u64)| {
        let Range { start, end } = range;
        async move {
            if at >= end {
                return Ok(None);
            }
            Ok(all.try_next().await?.map(|piece| {
                let length = piece.len() as u64;
                let within = |offset: u64| {
                    usize::try_from(offset.saturating_sub(at).min(length)).unwrap_or(piece.len())
                };
                (piece.slice(within(start)..within(end)), (all, at + length))
            }))
        }
    });
    cut.boxed()
}
