//! What S3 and its likes say when they refuse: a code each, of which the "Error responses" page of the Amazon S3 API reference lists
//! most; and what stands between, which answers in HTML.

use std::error::Error as StdError;

use cause::{Cause, Entry, store as causes};

/// An answer that is an error, as text.
pub(crate) struct Said(String);

/// Codes whose sentence needs nothing but the code.
const CODES: &[(&[&str], Entry)] = &[
    (&["NoSuchBucket", "InvalidBucketName"], causes::NO_SUCH_BUCKET),
    (
        &[
            "InvalidAccessKeyId",
            "InvalidToken",
            "InvalidClientTokenId",
            "NotSignedUp",
            "MissingSecurityHeader",
        ],
        causes::CREDENTIALS_REFUSED,
    ),
    (&["SignatureDoesNotMatch"], causes::SIGNATURE_REFUSED),
    (&["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"], causes::SESSION_EXPIRED),
    (&["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"], causes::CLOCK_WRONG),
    (
        &[
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "Throttling",
            "ThrottlingException",
            "RequestThrottled",
            "RequestLimitExceeded",
            "TooManyRequests",
            "BandwidthLimitExceeded",
            "ServiceUnavailable",
            "Busy",
            "OperationAborted",
        ],
        causes::BUSY,
    ),
    (&["AllAccessDisabled", "AccountProblem", "UserSuspended", "InvalidPayer"], causes::ACCOUNT_CLOSED),
    (&["MethodNotAllowed"], causes::METHOD_REFUSED),
    (&["EntityTooLarge", "MaxMessageLengthExceeded"], causes::UPLOAD_TOO_LONG),
    (
        &["QuotaExceeded", "InsufficientCapacity", "InsufficientStorage", "XMinioStorageFull"],
        causes::STORE_FULL,
    ),
    (
        &["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"],
        causes::CHANGED_ON_THE_WAY,
    ),
    (&["InternalError", "InternalServerError"], causes::STORE_FAILED),
];

/// Statuses that say the same without a code.
const STATUSES: &[(&[&str], Entry)] = &[
    (&["429 Too Many Requests", "503 Service Unavailable"], causes::BUSY),
    (&["405 Method Not Allowed"], causes::METHOD_REFUSED),
    (&["413 "], causes::UPLOAD_TOO_LONG),
    (&["507 Insufficient Storage"], causes::STORE_FULL),
    (&["500 Internal Server Error"], causes::STORE_FAILED),
];

impl Said {
    /// The messages of an error and of all that caused it.
    pub(crate) fn of(error: &dyn StdError) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self(text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The text of the first element of that name.
    pub(crate) fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.0.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim())
    }

    fn has(&self, part: &str) -> bool {
        self.0.contains(part)
    }

    fn code(&self) -> &str {
        self.element("Code").unwrap_or_default()
    }

    /// Whether it is told that a header is not known, or not in this form.
    pub(crate) fn is_unknown_header(&self) -> bool {
        match self.code() {
            "" => self.has("501 Not Implemented") || (self.has("400 Bad Request") && self.has("If-")),
            code => {
                ["NotImplemented", "InvalidArgument", "InvalidRequest", "UnsupportedHeader"].contains(&code)
                    && self.of_code(code).is_none()
            }
        }
    }

    /// What an answer means to the person who set the store up. `permission`: what has to be allowed to do what was done, and what
    /// besides.
    pub(crate) fn cause(&self, permission: (&'static str, Option<&'static str>)) -> Option<Cause> {
        let code = self.code();
        if let Some((_, cause)) = CODES.iter().find(|(codes, _)| codes.contains(&code)) {
            return Some(cause.with("code", code));
        }
        self.of_code(code).or_else(|| self.page()).or_else(|| {
            let status = STATUSES.iter().find(|(statuses, _)| statuses.iter().any(|status| self.has(status)));
            let is_denied = code == "AccessDenied" || (code.is_empty() && self.has("403 Forbidden"));
            match status {
                _ if is_denied => {
                    let (allowed, besides) = permission;
                    Some(causes::PERMISSION_DENIED.with("permission", allowed).with("besides", besides))
                }
                Some((_, cause)) if code.is_empty() => Some(cause.cause()),
                _ => None,
            }
        })
    }

    /// Codes that depend on what else is said.
    fn of_code(&self, code: &str) -> Option<Cause> {
        let speaks_of = |part: &str| self.0.to_lowercase().contains(part);
        let is_malformed = code == "AuthorizationHeaderMalformed";
        Some(if is_malformed && self.region().is_none() && !speaks_of("region") {
            causes::CREDENTIALS_REFUSED.cause()
        } else if is_malformed
            || ["PermanentRedirect", "TemporaryRedirect", "Redirect", "IllegalLocationConstraintException"]
                .contains(&code)
            || self.has("without LOCATION")
        {
            let region = self.region();
            causes::OTHER_REGION.with("unknown", region.is_none().then_some("yes")).with("region", region)
        } else if code == "InvalidObjectState" {
            let class = self.element("StorageClass").or(self.element("AccessTier"));
            causes::ARCHIVED.with("class", class)
        } else if code.starts_with("KMS") {
            causes::KEY_UNUSABLE.with("code", code)
        } else if code == "AccessDenied" && self.has("kms:") {
            causes::KEY_DENIED.cause()
        } else if speaks_of("requester pays") || speaks_of("requesterpays") || speaks_of("request-payer") {
            causes::REQUESTER_PAYS.cause()
        } else if code == "AccessDenied" && (speaks_of("request has expired") || speaks_of("too skewed")) {
            causes::CLOCK_WRONG.cause()
        } else if code == "InvalidRequest" && (speaks_of("content-md5") || speaks_of("checksum")) {
            causes::CHECKSUM_WANTED.cause()
        } else {
            return None;
        })
    }

    /// A page of HTML: what answered is no store.
    fn page(&self) -> Option<Cause> {
        let lower = self.0.to_ascii_lowercase();
        if !["html>", "doctype html", "<title>"].iter().any(|part| lower.contains(part)) {
            return None;
        }
        let (_, status) = self.0.split_once("status code: ").unwrap_or_default();
        let status: String =
            status.chars().take_while(|letter| !matches!(letter, ':' | '<')).take(40).collect();
        if status.starts_with("413") {
            return Some(causes::UPLOAD_TOO_LONG.cause());
        }
        let title = lower.find("<title>").and_then(|at| self.0.get(at + 7..)?.split('<').next());
        let title = title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
        let title: Option<String> = title.map(|title| title.chars().take(80).collect());
        Some(causes::PAGE_INSTEAD.with("status", status.trim()).with("title", title))
    }

    /// The region that an answer names: in an element of its own, or as the "location constraint" of its message.
    fn region(&self) -> Option<&str> {
        let constraint = || {
            let (before, _) = self.0.split_once(" location constraint is incompatible")?;
            before.rsplit([' ', '>']).next()
        };
        self.element("Region")
            .filter(|region| !region.is_empty())
            .or_else(constraint)
            .filter(|name| name.contains('-'))
    }
}
