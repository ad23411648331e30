//! The one place where failures become HTTP: RFC 9457 problem documents.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cause::Cause;
use cause::service::DATABASE_BUSY;

use crate::access::TooMany;
use crate::error::Error;

/// What a handler of the API answers with: JSON, or a problem.
pub(crate) type Answer<T> = Result<Json<T>, Problem>;
/// The same where there is nothing to tell.
pub(crate) type Done = Result<StatusCode, Problem>;

/// Seconds after which a request that cannot be answered now may be repeated.
pub(super) const LATER_S: u64 = 5;

#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// What failed, on what, and what to do.
    pub(crate) detail: String,
    /// The same for programs, where a service said it.
    pub(crate) cause: Option<Cause>,
    /// When to ask the same again: the header `Retry-After`. Nobody is to repeat what may go on.
    pub(crate) retry_after_s: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), cause: None, retry_after_s: None }
    }

    /// What was asked is malformed (400).
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// No or unknown credentials (401).
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "log in first, or send `Authorization: Bearer` with a token that is known here",
        )
    }

    /// Too many attempts (429), and after how many seconds there is one again.
    pub(crate) fn too_many(retry_after_s: u64, detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// What was asked is not done and does not go on (503): it may be asked again soon.
    pub(crate) fn later(detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(LATER_S), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// No such path (404).
    pub(crate) fn nothing_here() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is nothing at this path; /api/openapi.json lists what there is",
        )
    }

    /// Known, and not allowed (403).
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    fn document(&self) -> api::Problem {
        let title = self.status.canonical_reason().unwrap_or("Error");
        api::Problem {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            cause: self.cause.clone(),
        }
    }

    /// The answer to a publish that the gate refuses, with all that it found.
    pub(crate) fn refusing(&self, judgement: api::Judgement) -> Response {
        self.answer(api::Refusal { problem: self.document(), judgement })
    }

    fn answer(&self, document: impl serde::Serialize) -> Response {
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(self.document())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let error = match error {
            Error::Gate { error, .. } => *error,
            error => error,
        };
        let status = match &error {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            Error::Refused(_) | Error::Gate { .. } => StatusCode::CONFLICT,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Unproven(_) => StatusCode::UNAUTHORIZED,
            Error::StoreUnavailable(_)
            | Error::IssuerUnavailable(_)
            | Error::DatabaseUnavailable(_)
            | Error::GoesOn(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal(source) => {
                tracing::error!(error = format!("{source:#}"), "request failed");
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says why");
            }
        };
        let is_busy = error.cause().is_some_and(|cause| cause.is(DATABASE_BUSY));
        let comes_again =
            is_busy || matches!(error, Error::StoreUnavailable(_) | Error::IssuerUnavailable(_));
        let retry_after_s = comes_again.then_some(LATER_S);
        Self { cause: error.cause().cloned(), retry_after_s, ..Self::new(status, error.to_string()) }
    }
}

impl From<TooMany> for Problem {
    fn from(TooMany { wait_s, sentence }: TooMany) -> Self {
        Self::too_many(wait_s, sentence)
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        use axum::extract::path::ErrorKind;
        let PathRejection::FailedToDeserializePathParams(failure) = rejection else {
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says why");
        };
        let detail = match failure.into_kind() {
            ErrorKind::DeserializeError { key, value, message } => {
                format!("{} in the path is not a {key}: {message}", quoted(&value))
            }
            ErrorKind::ParseErrorAtKey { key, value, .. } => {
                format!("{} in the path is not a {key}", quoted(&value))
            }
            ErrorKind::ParseError { value, .. } => format!("{} in the path is not a number", quoted(&value)),
            other => other.to_string(),
        };
        Self::invalid(detail)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        let text = rejection.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        Self::invalid(format!("the query is malformed: {text}"))
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let status = match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        let detail = match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                "send JSON, with `Content-Type: application/json`".to_owned()
            }
            _ => {
                let text = rejection.body_text();
                let text = text.rsplit_once(": ").map_or(text.as_str(), |(_, cause)| cause);
                format!("the body is not the JSON expected here: {text}")
            }
        };
        Self::new(status, detail)
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), "the body broke off before its end")
    }
}

fn quoted(value: &str) -> String {
    let short: String = value.chars().take(80).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after(problem: impl Into<Problem>) -> Option<String> {
        let response = problem.into().into_response();
        let value = response.headers().get(header::RETRY_AFTER)?;
        Some(value.to_str().expect("text").to_owned())
    }

    #[test]
    fn nobody_is_asked_to_repeat_what_may_still_be_done() {
        assert_eq!(retry_after(Error::GoesOn(cause::service::GOES_ON.cause())), None);
        assert_eq!(retry_after(Error::DatabaseUnavailable(cause::service::DATABASE_AWAY.cause())), None);
        assert_eq!(
            retry_after(Error::StoreUnavailable(cause::service::STORE_NOT_READ.cause())).as_deref(),
            Some("5")
        );
        assert_eq!(
            retry_after(Error::IssuerUnavailable(cause::service::ISSUER_SILENT.cause())).as_deref(),
            Some("5")
        );
        assert_eq!(retry_after(Problem::too_many(7, "too often")).as_deref(), Some("7"));
    }
}
