//! A checksum with each write, without which a bucket with Object Lock takes nothing. `Content-MD5` is the one that every server
//! knows, and need not be signed; a server that refuses it is served without.

use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use object_store::client::{HttpClient, HttpError, HttpRequest, HttpResponse};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use crate::tasks::off_the_async_threads;

/// What is no longer than this is digested on the spot.
const AT_ONCE_MAX_BYTES: usize = 64 * 1024;

/// Of what a request writes; it travels with the request to the client.
#[derive(Debug, Clone)]
pub(crate) struct Checksum(Option<HeaderValue>);

impl Checksum {
    pub(crate) async fn of(bytes: &Bytes) -> Self {
        let digest = |bytes: &[u8]| BASE64_STANDARD.encode(Md5::digest(bytes));
        let text = if bytes.len() > AT_ONCE_MAX_BYTES {
            let bytes = bytes.clone();
            off_the_async_threads(move || digest(&bytes)).await.ok()
        } else {
            Some(digest(bytes))
        };
        Self(text.and_then(|text| HeaderValue::try_from(text).ok()))
    }
}

/// Whether a server takes the checksum, once that is known.
#[derive(Debug, Default)]
pub(crate) struct Checksums {
    is_taken: OnceLock<bool>,
}

impl Checksums {
    /// Sends a write with its checksum, and once more without while that may be what is refused.
    pub(crate) async fn send(
        &self,
        to: &HttpClient,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let checksum = request.extensions().get::<Checksum>().and_then(|checksum| checksum.0.clone());
        let Some(checksum) = checksum.filter(|_| self.is_taken.get() != Some(&false)) else {
            return to.execute(request).await;
        };
        let mut with = request.clone();
        with.headers_mut().insert("content-md5", checksum);
        let answer = to.execute(with).await?;
        if answer.status().is_success() {
            self.is_taken.get_or_init(|| true);
        }
        if self.is_taken.get() == Some(&true) || !may_refuse(answer.status()) {
            return Ok(answer);
        }
        let without = to.execute(request).await?;
        if may_refuse(without.status()) {
            // What is refused either way is refused for another reason, or for want of what the first try had.
            return Ok(answer);
        }
        tracing::info!("the store refuses Content-MD5, and gets no checksum from now on");
        self.is_taken.get_or_init(|| false);
        Ok(without)
    }
}

fn may_refuse(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_IMPLEMENTED)
}
