//! Why a request to a server failed, as a sentence for a person.

use reqwest::StatusCode;
use url::Url;

use crate::http::{Answer, How, Lost, address};

/// The sentence of a request that failed, and what tells whether asking again may help.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Failure {
    /// `None`: nobody answered, or what answered was no Updraft server.
    pub(crate) status: Option<StatusCode>,
    pub(crate) sentence: String,
}

impl Failure {
    pub(crate) fn unanswered(sentence: impl Into<String>) -> Self {
        Self { status: None, sentence: sentence.into() }
    }

    pub(crate) fn answered(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status: Some(status), sentence: sentence.into() }
    }

    /// Nobody answered who should have.
    pub(crate) fn lost(server: &Url, lost: &Lost) -> Self {
        let server = address(server);
        Self::unanswered(match lost.how {
            How::Unreachable => {
                format!(
                    "The server at {server} does not answer ({lost}). Is it running? --server says where."
                )
            }
            How::Broken => format!(
                "What is at {server} ended the connection without an answer ({lost}). If that is the server, run the same \
                 command again; --server says where it is."
            ),
            How::Endless => format!("The server at {server} did not answer: {lost}."),
        })
    }

    /// What answered is no Updraft server.
    pub(crate) fn not_updraft(server: &Url, answer: &Answer, what: &str) -> Self {
        let what = if answer.is_page() { "with a page for browsers" } else { what };
        Self::of_another(server, &format!("{} {what}", answer.status))
    }

    /// It answered with this, which no Updraft server would.
    pub(crate) fn of_another(server: &Url, what: &str) -> Self {
        let server = address(server);
        Self::unanswered(format!(
            "What answers at {server} is not an Updraft server: it answered {what}. Put the server's own \
             address into --server, and see whether a proxy or a login stands before it."
        ))
    }

    pub(crate) fn redirected(server: &Url, answer: &Answer) -> Option<Self> {
        let (to, server) = (answer.redirect(server)?, address(server));
        Some(Self::answered(
            answer.status,
            format!(
                "What answers at {server} redirects to {to}. That is not followed, since the token would go there too: put \
                 the server's real address into --server."
            ),
        ))
    }

    /// Whether the same request may be answered later.
    pub(crate) fn may_pass(&self) -> bool {
        self.status.is_none_or(|status| {
            status.is_server_error()
                || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        })
    }
}

/// What the server answered, if that is why it failed.
pub(crate) fn status(error: &anyhow::Error) -> Option<StatusCode> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>())?.status
}
