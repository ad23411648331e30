//! Trusted publishers: in goes a statement that a CI system signed about one of its jobs (an OIDC token), out comes a
//! short-lived token for one product.
//!
//! Nothing a statement says counts before its signature is good under a key that the issuer itself publishes, over
//! a line that nobody else can write to. What is then refused says which claim said what; the names of repositories
//! that are trusted are not told to strangers, since everybody on GitHub can get a statement for this server.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ProductName;

use super::{App, AppError, Scope, digest};

mod claims;
mod id_token;
mod keys;

pub(super) use keys::Issuers;

use id_token::IdToken;

/// How long the token holds. Whoever waits longer trades another statement.
const TOKEN_LIFETIME: Duration = Duration::from_mins(30);

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
        let issuer = self.inner.issuers.of(&statement.claims.iss).ok_or_else(|| {
            let issuer = shown(&statement.claims.iss);
            AppError::Unproven(format!(
                "The token's issuer (iss) is {issuer}, which no [[trusted_publisher]] of this server names."
            ))
        })?;
        let key = issuer.key(&statement.key_id, statement.algorithm).await?;
        statement.verify(&key)?;
        let claims = &statement.claims;
        claims.are_for(self.public_url().as_str().trim_end_matches('/'))?;
        claims.hold_at(Utc::now())?;
        let scope = claims.scope(publishers, product).inspect_err(|refusal| {
            tracing::info!(
                publisher.repository = shown(claims.repository()),
                "a publisher was refused: {refusal}"
            );
        })?;
        let name = claims.name();
        let given =
            self.auth().publisher_token(&name, &scope, &digest(statement.signed), TOKEN_LIFETIME).await?;
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
            "a trusted publisher came in"
        );
        Ok(Admission { token, expires_at, scope })
    }
}

/// Somebody else's text in a sentence of ours: in quotes, on one line, not long.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 120;
    let line = one_line(text, SHOWN_MAX);
    if text.chars().nth(SHOWN_MAX).is_some() { format!("\"{line}…\"") } else { format!("\"{line}\"") }
}

/// At most so many characters, none of which moves a cursor.
fn one_line(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
