//! What an error of the storage means.

use std::error::Error as StdError;
use std::io;

use crate::error::StoreError;

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
#[expect(clippy::needless_pass_by_value, reason = "nothing else is done with an error that was explained")]
pub(crate) fn explain(place: &str, action: Action, key: &str, error: object_store::Error) -> StoreError {
    let text = chain(&error);
    let advice = io_kind(&error)
        .and_then(|kind| io_advice(kind, place))
        .or_else(|| credentials_advice(&text))
        .or_else(|| tls_advice(&text))
        .or_else(|| s3_advice(&text, action));
    let what =
        format!("cannot {} {} in {place}", action.verb(), if key.is_empty() { "anything" } else { key });
    let said = said(&text);
    StoreError::Unavailable {
        sentence: match advice {
            Some(advice) => format!("{what}: {advice}"),
            None => format!("{what}: {said}"),
        },
        source: Some(said.into()),
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
    } else if ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "NotSignedUp"]
        .into_iter()
        .any(has)
    {
        "S3 does not accept the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
            .to_owned()
    } else if has("ExpiredToken") {
        "the session token has expired; get new credentials".to_owned()
    } else if has("RequestTimeTooSkewed") {
        "this machine's clock is wrong; set it (S3 tolerates 15 minutes)".to_owned()
    } else if [
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "IllegalLocationConstraintException",
        "without LOCATION",
    ]
    .into_iter()
    .any(has)
    {
        match region(text) {
            Some(region) => {
                format!("the bucket is in another region; put ?region={region} into the store's URL")
            }
            None => "the bucket is in another region; give the right one as ?region= in the store's URL"
                .to_owned(),
        }
    } else if has("AccessDenied") && has("kms:") {
        "permission denied by the bucket's KMS key; allow kms:Decrypt on it to read, and kms:GenerateDataKey to write"
            .to_owned()
    } else if has("AccessDenied") || has("403 Forbidden") {
        let besides = match action {
            Action::Read => {
                " (and s3:ListBucket on the bucket, without which S3 answers like this for a key that does not exist)"
            }
            Action::Write | Action::List => "",
        };
        format!("permission denied; the policy has to allow {} there{besides}", action.permission())
    } else if has("SlowDown") || has("503 Service Unavailable") {
        "the store is asked too much at the moment; try again".to_owned()
    } else if has("error sending request") || has("Connect") || has("connect") || has("timed out") {
        "the store does not answer; check its endpoint and the network".to_owned()
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

/// What to do if the two sides do not come to speak the same: the store is there, and the network is not to blame.
fn tls_advice(text: &str) -> Option<String> {
    let has = |part: &str| text.contains(part);
    Some(if has("invalid peer certificate") {
        let what = text.split("invalid peer certificate: ").nth(1).map_or("", first_line);
        format!(
            "the store answers, but its certificate is not trusted ({what}); for a company's own authority set \
             SSL_CERT_FILE to a file of certificates (PEM) that has it, else check the host in endpoint= and this \
             machine's clock"
        )
    } else if has("corrupt message of type InvalidContentType") {
        "the store answers without TLS; write http:// in endpoint=, or give the port that speaks https"
            .to_owned()
    } else if has("HTTP request to an HTTPS server")
        || has("HTTP request was sent to HTTPS")
        || has("invalid HTTP version")
    {
        "what answers there does not speak plain HTTP, but https perhaps; write https:// in endpoint="
            .to_owned()
    } else {
        return None;
    })
}

/// What to do if the request that failed was one for credentials: to STS, to a container's agent, or to the instance
/// metadata service, which is all that is left when the environment has nothing.
fn credentials_advice(text: &str) -> Option<String> {
    let has = |part: &str| text.contains(part);
    Some(if has("token file") {
        "the file of the web identity or container token cannot be read; check AWS_WEB_IDENTITY_TOKEN_FILE or \
         AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
            .to_owned()
    } else if has("POST REDACTED") || has("AssumeRoleWithWebIdentity") {
        let code = element(text, "Code").map_or(String::new(), |code| format!(" ({code})"));
        format!(
            "AWS's security token service gives no credentials for the role{code}; check AWS_ROLE_ARN, and that the \
             role's trust policy names who runs here"
        )
    } else if has(CONTAINER) {
        "the container's agent gives no credentials; check AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or …_FULL_URI, and \
         that the task or pod has a role"
            .to_owned()
    } else if has("latest/api/token")
        || has("latest/meta-data")
        || has("`AccessKeyId`")
        || has(NO_CREDENTIALS)
    {
        "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them"
            .to_owned()
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
