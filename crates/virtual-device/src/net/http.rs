//! One GET at an offset, in a task of its own. URLs are secrets and appear in no message.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use agent::{ContentRange, ResponseHead};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, RANGE};
use tokio::sync::mpsc;

use super::Task;

const VERSION: HeaderName = HeaderName::from_static("updraft-version");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pieces that wait for the agent; a slow one slows the connection down.
const QUEUE: usize = 4;

/// What came of a fetch.
#[derive(Debug)]
pub(super) enum Heard {
    Head(Head),
    Body(Vec<u8>),
    End,
    Lost(String),
}

/// [`ResponseHead`], owned.
#[derive(Debug)]
pub(super) struct Head {
    status: u16,
    content_length: Option<u64>,
    content_range: Option<ContentRange>,
    etag: Option<String>,
    version: Option<String>,
}

impl Head {
    fn of(response: &reqwest::Response) -> Self {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        Self {
            status: response.status().as_u16(),
            content_length: response.content_length(),
            content_range: text(CONTENT_RANGE).and_then(parse_content_range),
            etag: text(ETAG).map(str::to_owned),
            version: text(VERSION).map(str::to_owned),
        }
    }

    pub(super) fn as_response(&self) -> ResponseHead<'_> {
        let (status, content_length) = (self.status, self.content_length);
        let (etag, version) = (self.etag.as_deref(), self.version.as_deref());
        ResponseHead { status, content_length, content_range: self.content_range, etag, version }
    }
}

/// `bytes 100-199/200` or `bytes 100-199/*` (RFC 9110, 14.4).
fn parse_content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    let total = if total == "*" { None } else { Some(total.trim().parse().ok()?) };
    Some(ContentRange { start, total })
}

/// Starts a GET.
pub(super) fn fetch(
    url: &str,
    offset: u32,
    if_range: Option<&str>,
    bytes_per_s: Option<u32>,
) -> (Task, mpsc::Receiver<Heard>) {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, reqwest::header::HeaderValue::from_static("identity"));
    if offset > 0 {
        if let Ok(range) = format!("bytes={offset}-").parse() {
            headers.insert(RANGE, range);
        }
        if let Some(Ok(tag)) = if_range.map(str::parse) {
            headers.insert(IF_RANGE, tag);
        }
    }
    let request = client().get(url).headers(headers);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let task = tokio::spawn(async move {
        let last = match carry(request, &sender, bytes_per_s).await {
            Ok(()) => Heard::End,
            Err(error) => Heard::Lost(in_words(error)),
        };
        // The agent may not want it any more.
        let _ = sender.send(last).await;
    });
    (Task(task.abort_handle()), receiver)
}

async fn carry(
    request: reqwest::RequestBuilder,
    sender: &mpsc::Sender<Heard>,
    bytes_per_s: Option<u32>,
) -> reqwest::Result<()> {
    let mut response = request.send().await?;
    if sender.send(Heard::Head(Head::of(&response))).await.is_err() {
        return Ok(());
    }
    while let Some(bytes) = response.chunk().await? {
        // In pieces no larger than a device's own buffer would be.
        for piece in bytes.chunks(8 * 1024) {
            if sender.send(Heard::Body(piece.to_vec())).await.is_err() {
                return Ok(());
            }
            if let Some(rate) = bytes_per_s {
                tokio::time::sleep(Duration::from_secs(1) * piece.len() as u32 / rate.max(1)).await;
            }
        }
    }
    Ok(())
}

/// The innermost cause says most; none of them has the URL.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// One for the process: a thousand devices need no thousand lists of certificates.
fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // A second provider is refused, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(5))
            // A device opens a connection for each download, and a broken one must not be used again.
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client without certificates of its own can be built")
    })
}
