//! An issuer's public keys: fetched from where it says, kept for as long as it says, within bounds.
//!
//! Nobody can make this server ask an issuer more often than once a minute (every ten seconds while it does not
//! answer and its keys are needed), nor read more than 128 KiB of what it answers, nor wait for it longer
//! than ten seconds. Leaving changes nothing: an issuer is asked in a task of its own, by one at a time, and
//! what came of it is noted whoever is still there to hear it.

use cause::service as causes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use flight::{Answer, Flight};
use oidc::{Algorithm, Key, TrustedPublisher, shown};
use tokio::time::timeout;

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
    known: Arc<Flight<Arc<Known>>>,
}

impl Issuer {
    fn new(url: &str) -> Self {
        Self { url: url.to_owned(), known: Arc::default() }
    }

    /// The key of this id, from memory or from the issuer.
    pub(super) async fn key(self: &Arc<Self>, id: &str, algorithm: Algorithm) -> Result<Key, Error> {
        self.key_from(id, algorithm, fetch(self.url.clone())).await
    }

    async fn key_from(
        self: &Arc<Self>,
        id: &str,
        algorithm: Algorithm,
        fetch: impl Future<Output = Result<Fetched, String>> + Send + 'static,
    ) -> Result<Key, Error> {
        let does = |last: &Answer<Arc<Known>>| {
            !matches!(last.value.step(id, algorithm, Instant::now()), Step::Fetch)
        };
        let known = self.known.get(does, Arc::clone(self).ask(fetch)).await.unwrap_or_default();
        match known.step(id, algorithm, Instant::now()) {
            Step::Use(key) => Ok(key),
            Step::Unavailable(why) => Err(Error::IssuerUnavailable(
                causes::ISSUER_SILENT.with("issuer", self.url.as_str()).with("why", why),
            )),
            Step::Unknown | Step::Fetch => Err(Error::Unproven(
                causes::ISSUER_KEY.with("key", shown(id)).with("issuer", self.url.as_str()),
            )),
        }
    }

    async fn ask(
        self: Arc<Self>,
        fetch: impl Future<Output = Result<Fetched, String>> + Send + 'static,
    ) -> Arc<Known> {
        // In another task, so that its panic is an answer too.
        let answer = match tokio::spawn(timeout(2 * TIMEOUT, fetch)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("it did not answer within {} seconds", 2 * TIMEOUT.as_secs())),
            Err(_) => Err("asking for them failed here; the log says why".to_owned()),
        };
        if let Err(why) = &answer {
            tracing::warn!(oidc.issuer = self.url, "the keys of a trusted issuer were not read: {why}");
        }
        let mut known = self.known.last().map(|last| last.value).unwrap_or_default();
        Arc::make_mut(&mut known).note(answer, Instant::now());
        known
    }
}
