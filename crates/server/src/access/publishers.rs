//! Trusted publishers: in goes a statement that a CI system signed about one of its jobs (an OIDC token), out comes a
//! short-lived token for one product.
//!
//! Nothing a statement says counts before its signature is good under a key that the issuer itself publishes, over
//! a line that nobody else can write to. What is then refused says which claim said what; the names of repositories
//! that are trusted are named to nobody else, since everybody on GitHub can get a statement for this server.

use cause::service as causes;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ProductName;
use oidc::{IdToken, Scope, shown};
use url::Url;

use super::issuer::Issuers;
use super::secret::digest;
use super::service::Access;
use crate::error::Error;

/// How long the token holds. Whoever waits longer trades another statement.
const TOKEN_LIFETIME: Duration = Duration::from_mins(30);
// A token's row is what remembers its statement.
const _: () = assert!(TOKEN_LIFETIME.as_secs() > oidc::HOLDS_MAX_S.unsigned_abs());

#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) token: String,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) scope: Scope,
}

#[derive(Clone)]
pub(crate) struct Publishers {
    access: Access,
    issuers: Arc<Issuers>,
    /// Whom a statement must be for: `http.public_url`, without a slash at its end.
    audience: Arc<str>,
}

impl Publishers {
    pub(crate) fn new(access: Access, public_url: &Url) -> Self {
        let issuers = Arc::new(Issuers::new(access.publishers()));
        Self { access, issuers, audience: public_url.as_str().trim_end_matches('/').into() }
    }

    /// Trades a signed statement for a token. `product` is needed only where the publisher is trusted with several.
    pub(crate) async fn admit(
        &self,
        from: IpAddr,
        token: &str,
        product: Option<&ProductName>,
    ) -> Result<Admission, Error> {
        let publishers = self.access.publishers();
        if publishers.is_empty() {
            return Err(Error::Forbidden(causes::TRUSTS_NOBODY.cause()));
        }
        let statement = IdToken::read(token)?;
        let issuer = self.issuers.of(statement.issuer())?;
        let key = issuer.key(statement.key_id(), statement.algorithm()).await?;
        let signed = statement.signed();
        let claims = statement.verify(&key)?;
        claims.are_for(&self.audience)?;
        claims.hold_at(Utc::now())?;
        let job = claims.job();
        let scope = job.scope(publishers, product).inspect_err(|refusal| {
            tracing::info!(
                publisher.repository = shown(job.repository()),
                "a publisher was refused: {refusal}"
            );
        })?;
        let given =
            self.access.publisher_token(from, job, &scope.product, &digest(signed), TOKEN_LIFETIME).await?;
        let Some((token, expires_at)) = given else {
            return Err(Error::Unproven(causes::TOKEN_USED.cause()));
        };
        Ok(Admission { token, expires_at, scope })
    }
}
