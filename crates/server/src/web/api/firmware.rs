//! `/firmware/…` and `/d/…`: images for devices, whose only credentials are in the URL.
//!
//! Answers are plain text where they are not an image, since no device reads problem documents. A range is answered with
//! 206 exactly when it is a single one that fits the file.

use std::ops::Range;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use store::{Content, Refused, Store, StoreError};

use crate::clock::now_ms;
use crate::error::Error;
use crate::releases::Releases;
use crate::updates::{Fetch, Messages, Sketch, Updates};
use crate::web::api::under_way::while_allowed;
use crate::web::problem::Problem;
use crate::web::state::Web;

/// Tells a device what a URL that names no version leads to.
const VERSION: header::HeaderName = header::HeaderName::from_static("updraft-version");
const MD5: header::HeaderName = header::HeaderName::from_static("x-md5");
const SHA256: header::HeaderName = header::HeaderName::from_static("x-sha256");

#[derive(Deserialize)]
pub(crate) struct Signature {
    #[serde(default)]
    expires: String,
    #[serde(default)]
    signature: String,
}

/// `GET /firmware/{path}?expires=…&signature=…`.
pub(crate) async fn signed(
    State(served): State<Served>,
    Path(path): Path<String>,
    query: Result<Query<Signature>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Query(signature)) = query else {
        return plain(StatusCode::FORBIDDEN, "This URL is not signed.");
    };
    let now = chrono::Utc::now().timestamp();
    let store = served.releases.store();
    let purpose = match store.verify_local(&path, &signature.expires, &signature.signature, now) {
        Ok(purpose) => purpose,
        Err(refused) => return refusal(refused),
    };
    match purpose {
        None => served.answer(path, None, headers).await,
        Some(update) => match served.updates.fetch(update.into()).await {
            Ok(fetch) => served.answer(path, Some(fetch), headers).await,
            Err(error) => unserved(error),
        },
    }
}

/// `GET /d/{token}`: the same bytes for clients with a small buffer, without a redirect.
pub(crate) async fn short(
    State(served): State<Served>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    match served.updates.resolve_short(&token).await {
        Ok(fetch) => served.answer(fetch.key.clone(), Some(fetch), headers).await,
        Err(error) => unserved(error),
    }
}

fn unserved(error: Error) -> Response {
    match error {
        Error::Forbidden(cause) => plain(StatusCode::FORBIDDEN, &cause.sentence()),
        Error::NotFound(cause) => plain(StatusCode::NOT_FOUND, &cause.sentence()),
        error => {
            let problem = Problem::from(error);
            plain(problem.status, &problem.detail)
        }
    }
}

fn refusal(refused: Refused) -> Response {
    let sentence = match refused {
        Refused::Expired => "This URL has expired. Ask for a new one.",
        Refused::Tampered => "This URL is not one that was signed here, or it was changed.",
    };
    plain(StatusCode::FORBIDDEN, sentence)
}

/// What an image is served with.
#[derive(Clone)]
pub(crate) struct Served {
    updates: Updates,
    releases: Releases,
    messages: Messages,
}

impl FromRef<Web> for Served {
    fn from_ref(web: &Web) -> Self {
        let (updates, releases) = (Updates::from_ref(web), Releases::from_ref(web));
        Self { updates, releases, messages: Messages::from_ref(web) }
    }
}

impl Served {
    async fn answer(&self, key: String, fetch: Option<Fetch>, headers: HeaderMap) -> Response {
        if let Some(cause) = self.updates.closed(&key).await {
            return plain(StatusCode::FORBIDDEN, &cause.sentence());
        }
        // Before the answer: a device may say SUCCESS as soon as it has the last byte.
        self.updates.note_fetched(&key);
        let sketch = Sketch::read(|name| headers.get(name)?.to_str().ok());
        if let Some((fetch, sketch)) = fetch.as_ref().zip(sketch)
            && let Err(error) = self.messages.take_sketch(&fetch.device, &sketch, now_ms()).await
        {
            tracing::warn!(device = %fetch.device, "what a sketch says of itself was not kept: {error:#}");
        }
        let answer = serve(self.releases.store(), &key, &headers).await;
        while_allowed(answer, self.updates.clone(), key, fetch.map(|fetch| fetch.update))
    }
}

async fn serve(store: &Store, key: &str, headers: &HeaderMap) -> Response {
    let object = match store.object(key).await {
        Ok(object) => object,
        Err(error) => return failure(&error),
    };
    let (size, etag) = (object.size, object.etag.as_str());
    if matches_any(headers, header::IF_NONE_MATCH, etag) {
        return with_etag(StatusCode::NOT_MODIFIED.into_response(), etag);
    }
    let (status, range) = match asked(headers, size, etag) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Beyond => {
            let mut response =
                plain(StatusCode::RANGE_NOT_SATISFIABLE, "The range lies beyond the end of the file.");
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return with_etag(response, etag);
        }
    };
    let body = match object.read(range.clone()).await {
        Ok(Some(Content::Kept(bytes))) => Body::from(bytes),
        Ok(Some(Content::Streamed(pieces))) => Body::from_stream(pieces),
        // The offsets would be of another file.
        Ok(None) => return plain(StatusCode::CONFLICT, "The file was just replaced. Begin again."),
        Err(error) => return failure(&error),
    };
    let mut response = (status, body).into_response();
    insert(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    insert(&mut response, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    // Said of releases only, which never change: a channel may be promoted while it is read.
    if let Some(version) = store::release_of(key) {
        insert(&mut response, VERSION, version.as_str());
    }
    if let Some(sums) = object.sums {
        // Of the whole file, whatever part of it this is; Arduino's HTTPUpdate checks the first.
        insert(&mut response, MD5, &hex::encode(sums.md5));
        insert(&mut response, SHA256, &sums.sha256.to_hex());
    }
    if status == StatusCode::PARTIAL_CONTENT {
        insert(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes {}-{}/{size}", range.start, range.end - 1),
        );
    }
    with_etag(response, etag)
}

fn matches_any(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == etag)
}

fn failure(error: &StoreError) -> Response {
    match error {
        StoreError::NotFound(cause) => plain(StatusCode::NOT_FOUND, &cause.sentence()),
        StoreError::Invalid(cause) | StoreError::Refused(cause) => {
            plain(StatusCode::BAD_REQUEST, &cause.sentence())
        }
        StoreError::Unavailable { .. } => {
            tracing::warn!(error = %error, "an image could not be served");
            plain(StatusCode::SERVICE_UNAVAILABLE, "The store does not answer. Try again later.")
        }
    }
}

fn plain(status: StatusCode, sentence: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{sentence}\n")).into_response()
}

fn with_etag(mut response: Response, etag: &str) -> Response {
    if !etag.is_empty() {
        insert(&mut response, header::ETAG, etag);
    }
    response
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

pub(super) enum Asked {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// RFC 9110, 14.2: what is not a well-formed single range of bytes is ignored, and so is a range whose `If-Range`
/// names another file.
pub(super) fn asked(headers: &HeaderMap, size: u64, etag: &str) -> Asked {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(spec) = text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(etag) {
        return Asked::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::Whole };
    let number = |digits: &str| {
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (first, last) {
        ("", "") => return Asked::Whole,
        ("", suffix) => {
            number(suffix).map(|bytes| size.saturating_sub(bytes)..if bytes == 0 { 0 } else { size })
        }
        (first, "") => number(first).map(|first| first..size),
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => None,
            (Some(first), Some(last)) => Some(first..last.saturating_add(1).min(size)),
            _ => None,
        },
    };
    match range {
        None => Asked::Whole,
        Some(range) if range.start >= range.end => Asked::Beyond,
        Some(range) => Asked::Part(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a bucket, and ends when its standard input does, which is when this process ends.
    const MOTO: &str = "
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer('127.0.0.1', 0, verbose=False)
server.start()
import boto3
address = 'http://%s:%d' % server.get_host_and_port()
boto3.client('s3', region_name='us-east-1', endpoint_url=address, aws_access_key_id='t', aws_secret_access_key='t').create_bucket(Bucket='bucket')
print(address, flush=True)
sys.stdin.read()
";

    #[tokio::test]
    async fn the_tail_of_an_image_in_a_bucket_is_served_too() {
        use std::io::BufRead;
        use std::process::{Command, Stdio};

        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut moto = Command::new("python3")
            .args(["-c", MOTO])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for this test: install Python 3");
        let mut address = String::new();
        let stdout = moto.stdout.take().expect("piped");
        std::io::BufReader::new(stdout).read_line(&mut address).expect("readable");
        assert!(
            address.starts_with("http"),
            "moto is needed for this test: pip install 'moto[server,s3]' boto3"
        );
        let environment =
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|key| (key.to_owned(), "t".to_owned()));
        let options = store::Options { environment: environment.into(), ..store::Options::default() };
        let bucket = format!("s3://bucket?region=us-east-1&endpoint={}&path_style=true", address.trim());
        let store = Store::open(&bucket, options).await.expect("opens");
        let image = image::build::Build::new(image::Chip::Esp32S3, "1.0.0").bytes();
        let publication = store::Publication {
            version: Some("1.0.0".parse().expect("a version")),
            ..store::Publication::new("p".parse().expect("a product"))
        };
        store.publish(&publication, image.clone().into()).await.expect("published");
        for (range, from) in [("bytes=-32", image.len() - 32), ("bytes=-99999999", 0), ("bytes=0-", 0)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().expect("a header"));
            let answer = serve(&store, "p/releases/v1.0.0/firmware.bin", &headers).await;
            assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            let expected = format!("bytes {from}-{}/{}", image.len() - 1, image.len());
            assert_eq!(answer.headers()[header::CONTENT_RANGE], expected.as_str());
            let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
            assert!(body == image[from..], "{range}");
        }
        drop(moto.stdin.take());
        moto.wait().expect("ends");
    }

    #[test]
    fn expired_and_tampered_urls_are_403_in_plain_words() {
        for refused in [Refused::Expired, Refused::Tampered] {
            let response = refusal(refused);
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        }
    }

    fn range_of(value: &str) -> Result<Option<Range<u64>>, ()> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, value.parse().expect("a header"));
        match asked(&headers, 100, "\"e\"") {
            Asked::Whole => Ok(None),
            Asked::Part(range) => Ok(Some(range)),
            Asked::Beyond => Err(()),
        }
    }

    #[test]
    fn single_ranges_are_answered_and_malformed_ones_ignored() {
        for (value, expected) in [
            ("bytes=0-0", Ok(Some(0..1))),
            ("bytes=10-19", Ok(Some(10..20))),
            ("bytes=90-1000", Ok(Some(90..100))),
            ("bytes=99-", Ok(Some(99..100))),
            ("bytes=-10", Ok(Some(90..100))),
            ("bytes=-1000", Ok(Some(0..100))),
            ("bytes=0-99999999999999999999999", Ok(Some(0..100))),
            ("bytes=100-", Err(())),
            ("bytes=100-200", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,4-5", Ok(None)),
            ("bytes=-", Ok(None)),
            ("bytes=a-b", Ok(None)),
            ("lines=0-1", Ok(None)),
        ] {
            assert_eq!(range_of(value), expected, "{value}");
        }
    }

    #[test]
    fn a_range_of_another_file_is_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=5-"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert!(matches!(asked(&headers, 100, "\"e\""), Asked::Whole));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"e\""));
        assert!(matches!(asked(&headers, 100, "\"e\""), Asked::Part(_)));
    }
}
