//! Why the store did not do what was asked, in sentences for the person who asked.

use std::error::Error as StdError;
use std::io;

/// Why something was not done. Callers act on the kind; people read the sentence.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such product, release or channel.
    #[error("{0}")]
    NotFound(String),
    /// What was given is not acceptable, whatever the store holds: a bad image, version or URL.
    #[error("{0}")]
    Invalid(String),
    /// Well-formed, and refused because of what the store holds; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The store did not answer, or holds something that cannot be read.
    #[error("{sentence}")]
    Unavailable {
        /// What failed, on what, and what to do.
        sentence: String,
        /// What the storage said, if it said something.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

impl StoreError {
    /// The store answers, but what it holds is damaged.
    pub(crate) fn damaged(sentence: impl Into<String>) -> Self {
        Self::Unavailable { sentence: sentence.into(), source: None }
    }
}

/// What was being done to a key when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write,
    List,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
        }
    }

    /// The permission an S3 policy has to give.
    fn permission(self) -> &'static str {
        match self {
            Self::Read => "s3:GetObject",
            Self::Write => "s3:PutObject",
            Self::List => "s3:ListBucket",
        }
    }
}

/// Turns an error of the storage into a sentence. `place` names the bucket or folder.
pub(crate) fn explain(place: &str, action: Action, key: &str, error: object_store::Error) -> StoreError {
    let text = chain(&error);
    let advice = io_kind(&error).and_then(|kind| io_advice(kind, place)).or_else(|| s3_advice(&text, action));
    let what =
        format!("cannot {} {} in {place}", action.verb(), if key.is_empty() { "anything" } else { key });
    StoreError::Unavailable {
        sentence: match advice {
            Some(advice) => format!("{what}: {advice}"),
            None => format!("{what}: {}", first_line(&text)),
        },
        source: Some(Box::new(error)),
    }
}

fn io_advice(kind: io::ErrorKind, place: &str) -> Option<String> {
    Some(match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; make room and run this again".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!("permission denied; give the user that runs this access to {place}")
        }
        io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only".to_owned(),
        _ => return None,
    })
}

/// What S3's error codes mean to the person who set the store up. The codes are listed in the "Error responses" page of
/// the Amazon S3 API reference; compatible servers use the same ones.
fn s3_advice(text: &str, action: Action) -> Option<String> {
    let has = |part: &str| text.contains(part);
    Some(if has("NoSuchBucket") {
        "there is no such bucket; create it, or correct its name or region in the store's URL".to_owned()
    } else if has("InvalidAccessKeyId") || has("SignatureDoesNotMatch") || has("InvalidToken") {
        "S3 does not accept the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
            .to_owned()
    } else if has("ExpiredToken") {
        "the session token has expired; get new credentials".to_owned()
    } else if has("RequestTimeTooSkewed") {
        "this machine's clock is wrong; set it (S3 tolerates 15 minutes)".to_owned()
    } else if has("AuthorizationHeaderMalformed") || has("PermanentRedirect") || has("without LOCATION") {
        "the bucket is in another region; give the right one as ?region= in the store's URL".to_owned()
    } else if has("AccessDenied") || has("403") {
        format!(
            "permission denied; the policy has to allow {} there (and s3:ListBucket on the bucket, without which S3 \
             answers like this for a key that does not exist)",
            action.permission()
        )
    } else if is_credentials(text) {
        "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them"
            .to_owned()
    } else if has("error sending request") || has("Connect") || has("connect") || has("timed out") {
        "the store does not answer; check its endpoint and the network".to_owned()
    } else {
        return None;
    })
}

/// Whether the failed request was one for credentials: to the instance metadata service or to STS, which is all that
/// is left when the environment has no keys.
fn is_credentials(text: &str) -> bool {
    ["latest/api/token", "latest/meta-data", "WebIdentity", "AssumeRole", "credential"]
        .iter()
        .any(|part| text.contains(part))
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

fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or("");
    line.char_indices().nth(300).map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(action: Action, source: impl Into<Box<dyn StdError + Send + Sync>>) -> String {
        let error = object_store::Error::Generic { store: "test", source: source.into() };
        explain("the bucket b", action, "p/product.json", error).to_string()
    }

    #[test]
    fn a_full_disk_and_a_missing_permission_are_named() {
        let full = sentence(Action::Write, io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(
            full,
            "cannot write p/product.json in the bucket b: the disk is full; make room and run this again"
        );
        let denied = sentence(Action::Read, io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(denied.contains("permission denied; give the user that runs this access"), "{denied}");
    }

    #[test]
    fn the_error_codes_of_s3_become_advice() {
        for (code, advice) in [
            ("<Code>AccessDenied</Code>", "s3:PutObject"),
            ("<Code>InvalidAccessKeyId</Code>", "AWS_ACCESS_KEY_ID"),
            ("<Code>SignatureDoesNotMatch</Code>", "AWS_SECRET_ACCESS_KEY"),
            ("<Code>ExpiredToken</Code>", "session token"),
            ("<Code>RequestTimeTooSkewed</Code>", "clock"),
            ("<Code>AuthorizationHeaderMalformed</Code>", "?region="),
            ("<Code>NoSuchBucket</Code>", "no such bucket"),
        ] {
            let text = sentence(Action::Write, code);
            assert!(text.contains(advice), "{code}: {text}");
        }
    }
}
