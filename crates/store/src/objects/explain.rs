//! What an error of the storage means.

use std::error::Error as StdError;
use std::io;

use cause::{Cause, store as causes};

use crate::error::StoreError;
use crate::objects::s3_error::Said;

/// What was being done to a key when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write,
    List,
}

impl Action {
    /// The verb for people, and S3's name of the permission.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Read => ("read", "s3:GetObject"),
            Self::Write => ("write", "s3:PutObject"),
            Self::List => ("list", "s3:ListBucket"),
        }
    }
}

/// Finds out what an error of the storage means. `place` names the bucket or folder.
#[expect(clippy::needless_pass_by_value, reason = "nothing else is done with an error that was explained")]
pub(crate) fn explain(place: &str, action: Action, key: &str, error: object_store::Error) -> StoreError {
    let answer = Said::of(&error);
    let text = answer.text();
    let said = said(&answer);
    let cause = io_kind(&error)
        .and_then(io_cause)
        .or_else(|| credentials_cause(&answer))
        .or_else(|| tls_cause(text))
        .or_else(|| header_cause(text))
        .or_else(|| answer.cause((action.names().1, (action == Action::Read).then_some("s3:ListBucket"))))
        .or_else(|| silent_cause(text))
        .unwrap_or_else(|| causes::STORAGE_FAILED.with("said", said.as_str()));
    let key = if key.is_empty() { "anything" } else { key };
    let cause = cause.with("action", action.names().0).with("key", key).with("place", place);
    StoreError::Unavailable { cause, source: Some(Box::<dyn StdError + Send + Sync>::from(said).into()) }
}

/// The same of the system.
pub(crate) fn explain_io(place: &str, action: Action, key: &str, error: io::Error) -> StoreError {
    explain(place, action, key, object_store::Error::Generic { store: "folder", source: Box::new(error) })
}

fn io_cause(kind: io::ErrorKind) -> Option<Cause> {
    Some(match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => causes::DISK_FULL.cause(),
        io::ErrorKind::PermissionDenied => causes::ACCESS_DENIED.cause(),
        io::ErrorKind::ReadOnlyFilesystem => causes::READ_ONLY.cause(),
        _ => return None,
    })
}

/// Nobody answered.
fn silent_cause(text: &str) -> Option<Cause> {
    let is_silent =
        ["error sending request", "Connect", "connect", "timed out"].iter().any(|part| text.contains(part));
    is_silent.then(|| causes::SILENT.cause())
}

/// An answer without a header that S3 always gives.
fn header_cause(text: &str) -> Option<Cause> {
    let names = [("ETag Header missing", "ETag"), ("Content-Length Header missing", "Content-Length")];
    let (_, name) = names.into_iter().find(|(words, _)| text.contains(words))?;
    Some(causes::HEADER_MISSING.with("name", name))
}

/// The two sides do not come to speak the same: the store is there, and the network is not to blame.
fn tls_cause(text: &str) -> Option<Cause> {
    let has = |part: &str| text.contains(part);
    Some(if let Some((_, what)) = text.split_once("invalid peer certificate") {
        causes::CERTIFICATE.with("said", what.strip_prefix(": ").map(first_line))
    } else if has("corrupt message of type InvalidContentType") {
        causes::WITHOUT_TLS.cause()
    } else if has("HTTP request to an HTTPS server")
        || has("HTTP request was sent to HTTPS")
        || has("invalid HTTP version")
    {
        causes::WITH_TLS.cause()
    } else {
        return None;
    })
}

/// The request that failed was one for credentials: to STS, to a container's agent, or to the instance metadata service,
/// which is all that is left when the environment has nothing.
fn credentials_cause(answer: &Said) -> Option<Cause> {
    let text = answer.text();
    let has = |part: &str| text.contains(part);
    Some(if has("token file") {
        causes::TOKEN_FILE.cause()
    } else if has("POST REDACTED") || has("AssumeRoleWithWebIdentity") {
        causes::ROLE_REFUSED.with("code", answer.element("Code"))
    } else if has(CONTAINER) {
        causes::AGENT_FAILED.cause()
    } else if has("latest/api/token")
        || has("latest/meta-data")
        || has("`AccessKeyId`")
        || has(NO_CREDENTIALS)
    {
        causes::NO_CREDENTIALS.cause()
    } else {
        return None;
    })
}

/// An error of our own, as the client of S3 gives them.
pub(crate) fn failed(source: impl Into<Box<dyn StdError + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: source.into() }
}

/// How our own requests for a container's credentials begin when they fail.
pub(crate) const CONTAINER: &str = "the container's credentials";
/// What is said where nobody may be asked for credentials.
pub(crate) const NO_CREDENTIALS: &str = "there are no credentials";

/// What the storage said, without what is secret in it: code and message of an S3 error, which repeats tokens in other
/// elements, else the first line, whose URLs lose their queries, which are signed.
fn said(answer: &Said) -> String {
    if let Some(code) = answer.element("Code") {
        return format!("{code}: {}", answer.element("Message").unwrap_or_default());
    }
    let line = first_line(answer.text());
    let words = line.split(' ').map(|word| match word.split_once('?') {
        Some((address, _)) if word.contains("://") => address,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// The beginning of what somebody else says, which may be as long as a file.
pub(crate) fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or("");
    line.char_indices().nth(300).map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests;
