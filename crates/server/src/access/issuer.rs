//! An issuer's public keys: fetched from where it says, kept for as long as it says, within bounds.
//!
//! Nobody can make this server ask an issuer more often than once a minute (every ten seconds while it does not
//! answer and its keys are needed), nor read more than 128 KiB of what it answers, nor wait for it longer
//! than ten seconds. Leaving changes nothing: an issuer is asked in a task of its own, by one at a time, and
//! what came of it is noted whoever is still there to hear it.

use cause::service as causes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use oidc::{Algorithm, Key, TrustedPublisher, shown};
use tokio::sync::watch;

use crate::error::Error;

mod fetched;
mod known;
#[cfg(test)]
mod tests;

use fetched::{Fetched, TIMEOUT, fetch};
use known::{Known, Step};

pub(crate) struct Issuers(HashMap<String, Arc<Issuer>>);

impl Issuers {
    pub(super) fn new(publishers: &[TrustedPublisher]) -> Self {
        let issuer = |entry: &TrustedPublisher| (entry.issuer.clone(), Arc::new(Issuer::new(&entry.issuer)));
        Self(publishers.iter().map(issuer).collect())
    }

    /// The issuer of exactly this name, as OpenID Connect Core 1.0, section 3.1.3.7, compares it.
    pub(super) fn of(&self, issuer: &str) -> Result<&Arc<Issuer>, Error> {
        let bare = issuer.trim_end_matches('/');
        self.0.get(issuer).ok_or_else(|| {
            Error::Unproven(match self.0.keys().find(|known| known.trim_end_matches('/') == bare) {
                Some(known) => {
                    causes::ISSUER_SPELLING.with("issuer", shown(issuer)).with("known", shown(known))
                }
                None => causes::ISSUER_UNKNOWN.with("issuer", shown(issuer)),
            })
        })
    }
}

pub(super) struct Issuer {
    url: String,
    known: RwLock<Known>,
    /// Whether it is being asked: ends when the answer is noted. All who need it wait for the same one.
    asking: Mutex<Option<watch::Receiver<()>>>,
}

impl Issuer {
    fn new(url: &str) -> Self {
        Self { url: url.to_owned(), known: RwLock::default(), asking: Mutex::default() }
    }

    /// The key of this id, from memory or from the issuer.
    pub(super) async fn key(self: &Arc<Self>, id: &str, algorithm: Algorithm) -> Result<Key, Error> {
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
            Step::Unavailable(why) => Err(Error::IssuerUnavailable(
                causes::ISSUER_SILENT.with("issuer", self.url.as_str()).with("why", why),
            )),
            Step::Unknown | Step::Fetch => Err(Error::Unproven(
                causes::ISSUER_KEY.with("key", shown(id)).with("issuer", self.url.as_str()),
            )),
        }
    }

    /// Begins to ask the issuer, or finds that it is being asked. `None`: somebody has brought the answer meanwhile.
    fn ask(
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
            let answer = tokio::spawn(tokio::time::timeout(2 * TIMEOUT, fetch)).await;
            issuer.note(match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(format!("it did not answer within {} seconds", 2 * TIMEOUT.as_secs())),
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
