//! Asking an issuer for its public keys.

use std::time::Duration;

use oidc::{Key, discovery_address, key_set, key_set_address};
use reqwest::header::CACHE_CONTROL;

/// For each of the two answers.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER_MAX_BYTES: usize = 128 * 1024;
/// How long keys are believed: what the issuer says, within these.
const FRESH_MIN: Duration = Duration::from_mins(5);
const FRESH_MAX: Duration = Duration::from_hours(24);
/// Where it says nothing.
const FRESH_DEFAULT: Duration = Duration::from_hours(1);

pub(super) struct Fetched {
    pub(super) keys: Vec<(String, Key)>,
    pub(super) fresh: Duration,
}

/// On failure: the rest of a sentence that begins with "since".
pub(super) async fn fetch(issuer: String) -> Result<Fetched, String> {
    let http = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client can be made ({error})"))?;
    let (document, _) = read(&http, &discovery_address(&issuer)).await?;
    let address = key_set_address(&document, &issuer)?;
    let (set, fresh) = read(&http, address.as_str()).await?;
    let keys = key_set(&set).ok_or_else(|| format!("what is at {address} is not a key set"))?;
    if keys.is_empty() {
        return Err(format!("the key set at {address} has no RSA or P-256 key to verify with"));
    }
    Ok(Fetched { keys, fresh })
}

/// The body, and for how long it may be kept.
async fn read(http: &reqwest::Client, address: &str) -> Result<(Vec<u8>, Duration), String> {
    let failed = |error: reqwest::Error| {
        if error.is_timeout() {
            return format!("{address} did not answer within {} seconds", TIMEOUT.as_secs());
        }
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let cause = causes.last().map(|cause| format!(" ({cause})")).unwrap_or_default();
        format!("{address} cannot be reached{cause}")
    };
    let mut answer = http.get(address).send().await.map_err(failed)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("{address} answered {}", answer.status()));
    }
    let said = answer.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let fresh = said.map_or(FRESH_DEFAULT, fresh).clamp(FRESH_MIN, FRESH_MAX);
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_MAX_BYTES {
            return Err(format!("the answer of {address} is longer than {} KiB", ANSWER_MAX_BYTES / 1024));
        }
    }
    Ok((body, fresh))
}

/// `max-age` of a `Cache-Control`.
fn fresh(cache_control: &str) -> Duration {
    let seconds = cache_control
        .split(',')
        .find_map(|word| word.trim().to_ascii_lowercase().strip_prefix("max-age=")?.parse().ok());
    seconds.map_or(FRESH_DEFAULT, Duration::from_secs)
}
