//! An issuer's public keys: fetched from where it says, kept for as long as it says, within bounds.
//!
//! Strangers cannot make this server ask an issuer more often than once a minute (every ten seconds while it does not
//! answer and its keys are needed), nor read more than [`ANSWER_MAX_BYTES`] of what it answers, nor wait for it longer
//! than [`PATIENCE`] twice. They cannot by leaving either: an issuer is asked in a task of its own, by one at a time, and
//! what came of it is noted whoever is still there to hear it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use oidc::{Algorithm, Key, TrustedPublisher, discovery_address, key_set, key_set_address, shown};
use reqwest::header::CACHE_CONTROL;
use tokio::sync::watch;

use crate::app::AppError;

/// For each of the two answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER_MAX_BYTES: usize = 128 * 1024;
/// How long keys are believed: what the issuer says, within these.
const FRESH_MIN: Duration = Duration::from_mins(5);
const FRESH_MAX: Duration = Duration::from_hours(24);
/// Where it says nothing.
const FRESH_DEFAULT: Duration = Duration::from_hours(1);
/// How long they are believed beyond that while the issuer does not answer.
const STALE_MAX: Duration = Duration::from_hours(6);
/// How often a key that is not known has the issuer asked again.
const UNKNOWN_PAUSE: Duration = Duration::from_mins(1);
/// How long an issuer that did not answer is left alone.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// The issuers that the configuration names.
pub(crate) struct Issuers(HashMap<String, Arc<Issuer>>);

impl Issuers {
    /// Asks nobody yet.
    pub(in crate::app) fn new(publishers: &[TrustedPublisher]) -> Self {
        let issuer = |entry: &TrustedPublisher| (entry.issuer.clone(), Arc::new(Issuer::new(&entry.issuer)));
        Self(publishers.iter().map(issuer).collect())
    }

    /// The issuer of exactly this name, as OpenID Connect Core 1.0, section 3.1.3.7, compares it.
    pub(super) fn of(&self, issuer: &str) -> Result<&Arc<Issuer>, AppError> {
        let bare = issuer.trim_end_matches('/');
        let said = format!("The token's issuer (iss) is {}", shown(issuer));
        self.0.get(issuer).ok_or_else(|| {
            AppError::Unproven(match self.0.keys().find(|known| known.trim_end_matches('/') == bare) {
                Some(known) => format!(
                    "{said}, and a [[trusted_publisher]] names {}: the two are compared letter for letter, the slash at the \
                     end too, so write issuer as the token has it.",
                    shown(known)
                ),
                None => format!("{said}, which no [[trusted_publisher]] of this server names."),
            })
        })
    }
}

/// One issuer.
pub(super) struct Issuer {
    url: String,
    known: RwLock<Known>,
    /// Whether it is being asked: ends when the answer is noted. All who need it wait for the same one.
    asking: Mutex<Option<watch::Receiver<()>>>,
}

/// What is known of its keys.
#[derive(Default)]
pub(super) struct Known {
    keys: Vec<(String, Key)>,
    /// When they came, and for how long they are believed.
    fetched: Option<(Instant, Duration)>,
    /// When it did not answer, and why.
    failed: Option<(Instant, String)>,
    /// When it was asked for a key that was not known.
    asked_for_unknown: Option<Instant>,
}

/// What to do about a key.
#[derive(Debug)]
pub(super) enum Step {
    Use(Key),
    Fetch,
    Unknown,
    Unavailable(String),
}

impl Known {
    /// Decides it. Pure, so that hours are a number.
    pub(super) fn step(&self, id: &str, algorithm: Algorithm, now: Instant) -> Step {
        let since = |then: Instant| now.saturating_duration_since(then);
        let failure =
            self.failed.as_ref().filter(|(at, _)| since(*at) < FAILURE_PAUSE).map(|(_, why)| why.clone());
        let age = self.fetched.map(|(at, fresh)| (since(at), fresh));
        match (age, failure) {
            (None, Some(why)) => Step::Unavailable(why),
            (None, None) => Step::Fetch,
            (Some((age, fresh)), Some(why)) if age > fresh + STALE_MAX => Step::Unavailable(why),
            (Some((age, fresh)), None) if age > fresh => Step::Fetch,
            (Some(_), failure) => {
                let found = self.keys.iter().find(|(known, key)| known == id && key.fits(algorithm));
                let asked = self.asked_for_unknown.is_some_and(|at| since(at) < UNKNOWN_PAUSE);
                match found {
                    Some((_, key)) => Step::Use(key.clone()),
                    None if asked || failure.is_some() => Step::Unknown,
                    None => Step::Fetch,
                }
            }
        }
    }

    /// Notes what came of asking.
    pub(super) fn note(&mut self, answer: Result<Fetched, String>, now: Instant) {
        if self.fetched.is_some_and(|(at, fresh)| now.saturating_duration_since(at) <= fresh) {
            self.asked_for_unknown = Some(now);
        }
        match answer {
            Ok(Fetched { keys, fresh }) => {
                (self.keys, self.fetched, self.failed) = (keys, Some((now, fresh)), None);
            }
            Err(why) => self.failed = Some((now, why)),
        }
    }
}

impl Issuer {
    fn new(url: &str) -> Self {
        Self { url: url.to_owned(), known: RwLock::default(), asking: Mutex::default() }
    }

    /// The key of this id, from memory or from the issuer.
    pub(super) async fn key(self: &Arc<Self>, id: &str, algorithm: Algorithm) -> Result<Key, AppError> {
        let mut step = self.step(id, algorithm);
        if matches!(step, Step::Fetch) {
            if let Some(mut asking) = self.ask(id, algorithm, fetch(self.url.clone())) {
                // Nobody ever sends: the other end is dropped once the answer is noted.
                let _ = asking.changed().await;
            }
            step = self.step(id, algorithm);
        }
        match step {
            Step::Use(key) => Ok(key),
            Step::Unavailable(why) => Err(AppError::IssuerUnavailable(format!(
                "The token cannot be verified now: the keys of its issuer {} were not read, since {why}. Try again in a minute.",
                self.url
            ))),
            Step::Unknown | Step::Fetch => Err(AppError::Unproven(format!(
                "The token says it is signed with the key {}, and its issuer {} has no such key.",
                shown(id),
                self.url
            ))),
        }
    }

    /// Begins to ask the issuer, or finds that it is being asked. `None`: somebody has brought the answer meanwhile.
    pub(super) fn ask(
        self: &Arc<Self>,
        id: &str,
        algorithm: Algorithm,
        fetch: impl Future<Output = Result<Fetched, String>> + Send + 'static,
    ) -> Option<watch::Receiver<()>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asking) = &*asking {
            return Some(asking.clone());
        }
        // The answer is noted before the asking ends, so whoever finds that nobody asks sees what came of it.
        if !matches!(self.step(id, algorithm), Step::Fetch) {
            return None;
        }
        let (done, noted) = watch::channel(());
        *asking = Some(noted.clone());
        let issuer = Arc::clone(self);
        tokio::spawn(async move {
            // In another task, so that its panic is an answer too.
            let answer = tokio::spawn(tokio::time::timeout(2 * PATIENCE, fetch)).await;
            issuer.note(match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(format!("it did not answer within {} seconds", 2 * PATIENCE.as_secs())),
                Err(_) => Err("asking for them failed here; the log says why".to_owned()),
            });
            *issuer.asking.lock().unwrap_or_else(PoisonError::into_inner) = None;
            drop(done);
        });
        Some(noted)
    }

    fn note(&self, answer: Result<Fetched, String>) {
        if let Err(why) = &answer {
            tracing::warn!(oidc.issuer = self.url, "the keys of a trusted issuer were not read: {why}");
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).note(answer, Instant::now());
    }

    fn step(&self, id: &str, algorithm: Algorithm) -> Step {
        self.known.read().unwrap_or_else(PoisonError::into_inner).step(id, algorithm, Instant::now())
    }
}

/// What an issuer answered.
pub(super) struct Fetched {
    pub(super) keys: Vec<(String, Key)>,
    pub(super) fresh: Duration,
}

/// On failure: the rest of a sentence that begins with "since".
async fn fetch(issuer: String) -> Result<Fetched, String> {
    let http = reqwest::Client::builder()
        .timeout(PATIENCE)
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
            return format!("{address} did not answer within {} seconds", PATIENCE.as_secs());
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
