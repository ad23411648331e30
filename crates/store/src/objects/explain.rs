//! What an error of the storage means.

use std::error::Error as StdError;
use std::io;

use cause::{Cause, store as causes};

use crate::error::StoreError;

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
    let text = chain(&error);
    let said = said(&text);
    let cause = io_kind(&error)
        .and_then(io_cause)
        .or_else(|| credentials_cause(&text))
        .or_else(|| tls_cause(&text))
        .or_else(|| s3_cause(&text, action))
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

/// What S3's error codes mean to the person who set the store up. The codes are listed in the "Error responses" page of
/// the Amazon S3 API reference; compatible servers use the same ones.
fn s3_cause(text: &str, action: Action) -> Option<Cause> {
    let has = |part: &str| text.contains(part);
    let has_any = |parts: &[&str]| parts.iter().any(|part| has(part));
    let refused = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "NotSignedUp"];
    let plain = [
        (&["NoSuchBucket"][..], causes::NO_SUCH_BUCKET),
        (&refused, causes::CREDENTIALS_REFUSED),
        (&["ExpiredToken"], causes::SESSION_EXPIRED),
        (&["RequestTimeTooSkewed"], causes::CLOCK_WRONG),
    ];
    Some(if let Some((_, cause)) = plain.iter().find(|(codes, _)| has_any(codes)) {
        cause.cause()
    } else if has_any(&[
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "IllegalLocationConstraintException",
        "without LOCATION",
    ]) {
        let region = region(text);
        causes::OTHER_REGION.with("unknown", region.is_none().then_some("yes")).with("region", region)
    } else if has("AccessDenied") && has("kms:") {
        causes::KEY_DENIED.cause()
    } else if has("AccessDenied") || has("403 Forbidden") {
        let besides = (action == Action::Read).then_some("s3:ListBucket");
        causes::PERMISSION_DENIED.with("permission", action.names().1).with("besides", besides)
    } else if has("SlowDown") || has("503 Service Unavailable") {
        causes::BUSY.cause()
    } else if has_any(&["error sending request", "Connect", "connect", "timed out"]) {
        causes::SILENT.cause()
    } else {
        return None;
    })
}

/// The region that an answer names: in an element of its own, or as the "location constraint" of its message.
fn region(text: &str) -> Option<&str> {
    let constraint = || {
        let (before, _) = text.split_once(" location constraint is incompatible")?;
        before.rsplit([' ', '>']).next()
    };
    element(text, "Region")
        .filter(|region| !region.is_empty())
        .or_else(constraint)
        .filter(|name| name.contains('-'))
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
fn credentials_cause(text: &str) -> Option<Cause> {
    let has = |part: &str| text.contains(part);
    Some(if has("token file") {
        causes::TOKEN_FILE.cause()
    } else if has("POST REDACTED") || has("AssumeRoleWithWebIdentity") {
        causes::ROLE_REFUSED.with("code", element(text, "Code"))
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
fn said(text: &str) -> String {
    if let Some(code) = element(text, "Code") {
        return format!("{code}: {}", element(text, "Message").unwrap_or_default());
    }
    let line = first_line(text);
    let words = line.split(' ').map(|word| match word.split_once('?') {
        Some((address, _)) if word.contains("://") => address,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The text of the first element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

/// The messages of an error and of all that caused it.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
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
