//! Large objects go up in parts, a few at a time, and appear at once, when the last request says which parts they are.
//!
//! `object_store` completes an upload unconditionally; here the last request is our own, so that it carries the
//! condition: `CompleteMultipartUpload`, presigned. What fails is aborted. A process that is killed in between leaves
//! parts that no listing shows and that cost money: docs/store.md has the lifecycle rule that removes them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{Error, Result};
use quick_xml::escape::escape;
use reqwest::StatusCode;
use reqwest::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use crate::objects::bucket::Bucket;
use crate::objects::explain::failed;
use crate::objects::object::Tag;
use crate::objects::settings::Limits;
use crate::objects::write::{Condition, Write};

/// The size of a part; S3 takes none smaller but the last. An image has at most four.
pub(crate) const PART_BYTES: usize = 5 * 1024 * 1024;
/// At most this many parts are on their way at a time.
const AT_ONCE: usize = 3;
/// Maximum attempts of the last request.
const ATTEMPTS: u32 = 5;
/// At most this long S3 may take to put the parts together; meanwhile it sends white space.
const COMPLETION_MAX: Duration = Duration::from_mins(1);
/// At most this much is read of an answer.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

enum Completed {
    Yes,
    /// The condition does not hold, or the upload is no more: maybe it was completed, and the answer was lost.
    No,
    Again(Error),
}

/// Uploads in parts; false if the condition does not hold.
pub(crate) async fn upload(
    s3: &AmazonS3,
    bucket: &Bucket,
    write: &Write<'_>,
    conditional: Option<Condition<'_>>,
    part_bytes: usize,
) -> Result<bool> {
    let to = Path::parse(write.key).map_err(Error::from)?;
    let id = s3.create_multipart(&to).await?;
    let done = match send(s3, &to, &id, write, part_bytes).await {
        // It takes a while to upload, and a server that ignores the condition is caught here.
        Ok(parts) => match bucket.holds(write).await {
            Ok(true) => complete(s3, &to, &id, &parts, conditional, Limits::default()).await,
            Ok(false) => Ok(false),
            Err(error) => Err(failed(error)),
        },
        Err(error) => Err(error),
    };
    if !matches!(done, Ok(true))
        && let Err(error) = s3.abort_multipart(&to, &id).await
        && !matches!(error, Error::NotFound { .. })
    {
        tracing::warn!(store.key = write.key, "an unfinished upload was not aborted");
    }
    done
}

async fn send(
    s3: &AmazonS3,
    to: &Path,
    id: &String,
    write: &Write<'_>,
    part_bytes: usize,
) -> Result<Vec<PartId>> {
    let sent = Mutex::new(0_u64);
    let starts = (0..write.bytes.len()).step_by(part_bytes).enumerate();
    stream::iter(starts.map(|(number, start)| {
        let sent = &sent;
        async move {
            let part = write.bytes.slice(start..(start + part_bytes).min(write.bytes.len()));
            let size = part.len() as u64;
            let part = s3.put_part(to, id, number, part.into()).await?;
            // Told under the lock, so that it never goes back.
            let mut sent = sent.lock().expect("nobody panics while holding it");
            *sent += size;
            (write.progress)(*sent);
            Ok(part)
        }
    }))
    .buffered(AT_ONCE)
    .try_collect()
    .await
}

pub(crate) async fn complete(
    s3: &AmazonS3,
    to: &Path,
    id: &str,
    parts: &[PartId],
    conditional: Option<Condition<'_>>,
    limits: Limits,
) -> Result<bool> {
    // Its body is a few lines, so that reading is all that takes time.
    let http = reqwest::Client::builder()
        .connect_timeout(limits.connect)
        .read_timeout(limits.silence)
        .timeout(COMPLETION_MAX)
        .build()
        .map_err(failed)?;
    let mut wait = Duration::from_millis(100);
    let began = Instant::now();
    let mut attempt = 1;
    loop {
        match complete_once(&http, s3, to, id, parts, conditional).await? {
            Completed::Yes => return Ok(true),
            Completed::No => return Ok(false),
            Completed::Again(error) if attempt == ATTEMPTS || began.elapsed() > limits.retries => {
                return Err(error);
            }
            Completed::Again(_) => {
                tokio::time::sleep(wait).await;
                wait *= 2;
                attempt += 1;
            }
        }
    }
}

async fn complete_once(
    http: &reqwest::Client,
    s3: &AmazonS3,
    to: &Path,
    id: &str,
    parts: &[PartId],
    conditional: Option<Condition<'_>>,
) -> Result<Completed> {
    let condition: Option<(HeaderName, String)> = conditional.map(|condition| match condition {
        Condition::Absent => (IF_NONE_MATCH, "*".to_owned()),
        Condition::Same(Tag(tag)) => (IF_MATCH, tag.clone()),
    });
    let mut options = SignedUrlOptions::new().with_query([("uploadId", id)]);
    if let Some((name, value)) = &condition {
        let value = value.parse().map_err(|error: reqwest::header::InvalidHeaderValue| failed(error))?;
        options = options.with_signed_header(name.clone(), value);
    }
    let url = s3.signed_url_opts(Method::POST, to, Duration::from_mins(5), &options).await?;
    let mut request = http.post(url).body(body(parts));
    if let Some((name, value)) = condition {
        request = request.header(name, value);
    }
    // The URL is a secret for a while: it must not come along in an error.
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Ok(Completed::Again(failed(error.without_url()))),
    };
    let status = answer.status();
    let mut text = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) if text.len() + piece.len() <= ANSWER_MAX_BYTES => text.extend_from_slice(&piece),
            Ok(Some(_)) => return Err(failed("the answer to a completed upload has more than 64 KiB")),
            Ok(None) => break,
            Err(error) => return Ok(Completed::Again(failed(error.without_url()))),
        }
    }
    judge(status, &String::from_utf8_lossy(&text))
}

/// What an answer means. S3 may answer 200 first and tell of an error in the body.
fn judge(status: StatusCode, text: &str) -> Result<Completed> {
    let error = || failed(format!("completing the upload was answered with {status}: {text}"));
    let is_error = text.contains("<Error>");
    match status {
        status if status.is_success() && !is_error => Ok(Completed::Yes),
        StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Ok(Completed::No),
        StatusCode::NOT_FOUND if text.contains("NoSuchUpload") || text.contains("NoSuchKey") => {
            Ok(Completed::No)
        }
        status
            if status.is_success() && (text.contains("PreconditionFailed") || text.contains("Conflict")) =>
        {
            Ok(Completed::No)
        }
        status if status.is_success() || (status.is_server_error() && status.as_u16() != 501) => {
            Ok(Completed::Again(error()))
        }
        _ => Err(error()),
    }
}

fn body(parts: &[PartId]) -> String {
    let mut body = String::from("<CompleteMultipartUpload>");
    for (number, part) in (1_u32..).zip(parts) {
        let tag = escape(part.content_id.as_str());
        for piece in
            ["<Part><PartNumber>", &number.to_string(), "</PartNumber><ETag>", &tag, "</ETag></Part>"]
        {
            body.push_str(piece);
        }
    }
    body.push_str("</CompleteMultipartUpload>");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_by_status_and_body() {
        let kind =
            |status: u16, text: &str| match judge(StatusCode::from_u16(status).expect("a status"), text) {
                Ok(Completed::Yes) => "yes",
                Ok(Completed::No) => "no",
                Ok(Completed::Again(_)) => "again",
                Err(_) => "error",
            };
        for (status, text, expected) in [
            (200, "<CompleteMultipartUploadResult/>", "yes"),
            (200, "<Error><Code>InternalError</Code></Error>", "again"),
            (200, "<Error><Code>PreconditionFailed</Code></Error>", "no"),
            (409, "<Error><Code>ConditionalRequestConflict</Code></Error>", "no"),
            (412, "", "no"),
            (404, "<Error><Code>NoSuchUpload</Code></Error>", "no"),
            (404, "<Error><Code>NoSuchBucket</Code></Error>", "error"),
            (403, "<Error><Code>AccessDenied</Code></Error>", "error"),
            (501, "<Error><Code>NotImplemented</Code></Error>", "error"),
            (503, "<Error><Code>SlowDown</Code></Error>", "again"),
        ] {
            assert_eq!(kind(status, text), expected, "{status} {text}");
        }
    }
}
