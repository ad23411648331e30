//! Trusted publishers: in goes a statement that a CI system signed about one of its jobs (an OIDC token), out comes a
//! short-lived token for one product.
//!
//! Nothing a statement says counts before its signature is good under a key that the issuer itself publishes, over
//! a line that nobody else can write to. What is then refused says which claim said what; the names of repositories
//! that are trusted are not told to strangers, since everybody on GitHub can get a statement for this server.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ProductName;
use oidc::{IdToken, Refusal, Scope, shown};

use super::{App, AppError, digest};

mod keys;

pub(super) use keys::Issuers;

/// How long the token holds. Whoever waits longer trades another statement.
const TOKEN_LIFETIME: Duration = Duration::from_mins(30);
// A token's row is what remembers its statement.
const _: () = assert!(TOKEN_LIFETIME.as_secs() > oidc::HOLDS_MAX_S.unsigned_abs());

/// What a trusted publisher gets.
#[derive(Debug)]
pub(crate) struct Admission {
    /// A bearer token.
    pub(crate) token: String,
    /// Until when.
    pub(crate) expires_at: DateTime<Utc>,
    /// For what.
    pub(crate) scope: Scope,
}

impl App {
    /// Trades a signed statement for a token. `product` is needed only where the publisher is trusted with several.
    pub(crate) async fn admit(
        &self,
        token: &str,
        product: Option<&ProductName>,
    ) -> Result<Admission, AppError> {
        let publishers = &self.config().trusted_publishers;
        if publishers.is_empty() {
            return Err(AppError::Forbidden(
                "This server trusts no publisher: its configuration has no [[trusted_publisher]].".to_owned(),
            ));
        }
        let statement = IdToken::read(token)?;
        let issuer = self.inner.issuers.of(statement.issuer())?;
        let key = issuer.key(statement.key_id(), statement.algorithm()).await?;
        let signed = statement.signed();
        let claims = statement.verify(&key)?;
        claims.are_for(self.public_url().as_str().trim_end_matches('/'))?;
        claims.hold_at(Utc::now())?;
        let job = claims.job();
        let scope = job.scope(publishers, product).inspect_err(|refusal| {
            tracing::info!(
                publisher.repository = shown(job.repository()),
                "a publisher was refused: {refusal}"
            );
        })?;
        let name = job.name();
        let given = self.auth().publisher_token(job, &scope.product, &digest(signed), TOKEN_LIFETIME).await?;
        let Some((token, expires_at)) = given else {
            return Err(AppError::Unproven(
                "This token was used here before, and each is taken once: ask the CI system for a new one."
                    .to_owned(),
            ));
        };
        tracing::info!(
            publisher.name = name,
            product = scope.product.as_str(),
            may_promote = scope.may_promote,
            allow = scope.allow.join(","),
            "a trusted publisher came in"
        );
        Ok(Admission { token, expires_at, scope })
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unproven(why) => Self::Unproven(why.sentence()),
            Refusal::Untrusted(why) => Self::Forbidden(why.sentence()),
            Refusal::Ambiguous(why) => Self::Invalid(why.sentence()),
        }
    }
}

#[cfg(test)]
mod tests;
