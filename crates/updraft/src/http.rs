//! How the command line asks by HTTP: no redirect is followed, so that tokens go only to the address that a person gave;
//! every wait is bounded; and who says "later" is asked again later.

use std::error::Error as _;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use indicatif::ProgressBar;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Body, RequestBuilder, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::advice;

/// The longest answer that is read: a page of a list is far below.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The longest sentence of somebody else's that is said.
const DETAIL_MAX_CHARS: usize = 2000;
/// A file is sent in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;
/// How often the same is asked, if every answer is "later".
const TRIES: u32 = 3;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From a request without a file to the beginning of its answer. A server gives its own work up after 60 s.
    pub(crate) answer: Duration,
    /// While a file is sent, without one piece of it taken. A server has a sender wait two minutes at most, and tells one that is
    /// too slow for it.
    pub(crate) stalled: Duration,
    /// From a file's last piece to the beginning of the answer: what is still under way, the wait for others, and the work on a slow
    /// store.
    pub(crate) verdict: Duration,
    /// For all of an answer, once it has begun.
    pub(crate) body: Duration,
    /// What `Retry-After` may ask for. Longer is not waited for.
    pub(crate) later: Duration,
}

/// What the commands are content with.
pub(crate) const LIMITS: Limits = Limits {
    answer: Duration::from_secs(90),
    stalled: Duration::from_secs(180),
    verdict: Duration::from_secs(600),
    body: Duration::from_secs(300),
    later: Duration::from_secs(60),
};

pub(crate) struct Http {
    client: reqwest::Client,
    limits: Limits,
}

/// What came back, whatever it says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    headers: HeaderMap,
    url: Url,
}

/// Nothing came back, or not all of it. It never has the URL in it, whose query may be secret.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Lost {
    cause: String,
    pub(crate) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Nobody took the connection.
    Unreachable,
    Broken,
    /// It took too long, or was too long.
    Endless,
}

impl Http {
    pub(crate) fn new(limits: Limits) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none());
        // By default Linux ends a connection whose other side takes nothing for 30 s, even if it is there and only has us wait.
        #[cfg(target_os = "linux")]
        let client = client.tcp_user_timeout(limits.stalled);
        Ok(Self { client: client.build().context("cannot make an HTTP client")?, limits })
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Answer, Lost> {
        match timeout(self.limits.answer, request.send()).await {
            Ok(answer) => self.read(answer?).await,
            Err(_) => Err(Lost::after(self.limits.answer, "there was no answer")),
        }
    }

    /// Sends a file, once. It takes as long as it takes, while it moves.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        file: &Bytes,
        bar: &ProgressBar,
    ) -> Result<Answer, Lost> {
        let (size, file, bar) = (file.len(), file.clone(), bar.clone());
        let (tell, mut taken) = watch::channel(0);
        let pieces = (0..size).step_by(PIECE_BYTES).map(move |at| {
            let end = (at + PIECE_BYTES).min(size);
            bar.set_position(end as u64);
            tell.send_replace(end);
            Ok::<_, std::io::Error>(file.slice(at..end))
        });
        let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, size);
        let mut answer = pin!(request.body(Body::wrap_stream(futures_util::stream::iter(pieces))).send());
        loop {
            let is_sent = *taken.borrow_and_update() == size;
            let (limit, what) = if is_sent {
                (self.limits.verdict, "the image was sent, and there was no answer")
            } else {
                (self.limits.stalled, "no more of the image was taken")
            };
            tokio::select! {
                answer = &mut answer => return self.read(answer?).await,
                Ok(()) = taken.changed() => {}
                () = sleep(limit) => return Err(Lost::after(limit, what)),
            }
        }
    }

    /// Asks, and again after the time that an answer of 429 or 503 asks for. Only for what can be asked twice.
    pub(crate) async fn with_retries<E>(
        &self,
        mut ask: impl AsyncFnMut() -> Result<Answer, E>,
    ) -> Result<Answer, E> {
        for _ in 1..TRIES {
            let answer = ask().await?;
            let Some(pause) = answer.later(Utc::now()).filter(|pause| *pause <= self.limits.later) else {
                return Ok(answer);
            };
            let why = answer.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            let seconds = pause.as_secs();
            eprintln!(
                "updraft: waiting {seconds} s, as the answer {} asks{}",
                answer.status,
                crate::output::plain(&why)
            );
            sleep(pause).await;
        }
        ask().await
    }

    async fn read(&self, mut answer: Response) -> Result<Answer, Lost> {
        let (status, headers, url) = (answer.status(), answer.headers().clone(), answer.url().clone());
        let whole = async {
            let mut body = Vec::new();
            while let Some(piece) = answer.chunk().await? {
                body.extend_from_slice(&piece);
                if body.len() > ANSWER_MAX_BYTES {
                    let cause = format!("the answer is longer than {} MiB", ANSWER_MAX_BYTES / 1024 / 1024);
                    return Err(Lost { cause, how: How::Endless });
                }
            }
            Ok(body)
        };
        let body = timeout(self.limits.body, whole)
            .await
            .map_err(|_| Lost::after(self.limits.body, "the answer had no end"))??;
        Ok(Answer { status, body, headers, url })
    }
}

impl Answer {
    /// The sentence of an RFC 9457 problem, as the server has it for people, and what to do about it here.
    pub(crate) fn detail(&self) -> Option<String> {
        let api::Problem { detail, cause, .. } = serde_json::from_slice(&self.body).ok()?;
        let detail: String = detail.chars().take(DETAIL_MAX_CHARS).collect();
        Some(match cause.as_ref().and_then(advice::advice) {
            Some(advice) => format!("{}; {advice}", detail.trim_end_matches('.')),
            None => detail,
        })
        .filter(|detail| !detail.is_empty())
    }

    /// Whether it is a page for a browser.
    pub(crate) fn is_page(&self) -> bool {
        self.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
    }

    /// Where it would have the caller go instead, as far as a person needs it to correct the address that was given. What else
    /// the target says, a query or a path of its own, may be secret.
    pub(crate) fn redirect(&self, given: &Url) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let to = self.headers.get(LOCATION).and_then(|to| self.url.join(to.to_str().ok()?).ok());
        let Some(mut to) = to.filter(Url::has_host) else { return Some("nowhere".into()) };
        let path = self.url.path().strip_prefix(given.path().trim_end_matches('/'));
        let base = path.and_then(|path| to.path().strip_suffix(path)).unwrap_or_default().to_owned();
        to.set_path(&base);
        let to = address(&to);
        Some(if to == address(given) { format!("another page of {to}") } else { to })
    }

    /// For how long it asks not to be asked again.
    fn later(&self, now: DateTime<Utc>) -> Option<Duration> {
        if !matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let then = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
        Some((then - now).to_std().unwrap_or_default())
    }
}

impl Lost {
    fn after(limit: Duration, what: &str) -> Self {
        Self { cause: format!("{what} for {} s", limit.as_secs_f32()), how: How::Endless }
    }
}

impl From<reqwest::Error> for Lost {
    fn from(error: reqwest::Error) -> Self {
        let how = if error.is_connect() { How::Unreachable } else { How::Broken };
        let error = error.without_url();
        let cause = std::iter::successors(error.source(), |error| (*error).source()).last();
        Self { cause: cause.map_or_else(|| error.to_string(), ToString::to_string), how }
    }
}

/// A server's address for people: without what is not an address, and may be secret. A server compares it with its own
/// `http.public_url`.
pub(crate) fn address(server: &Url) -> String {
    let mut url = server.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only a URL without a host refuses these, and a server's has one.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
