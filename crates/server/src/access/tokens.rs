//! API tokens, and the tokens of trusted publishers: made, listed, ended.

use cause::service as causes;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ProductName;
use oidc::Job;

use super::secret::{digest, later, random_secret};
use super::service::Access;
use crate::clock::{now_ms, time};
use crate::db::is_duplicate;
use crate::db::token::{Given, NewToken, TokenKind};
use crate::error::Error;
use api::{Role, TokenInfo};

impl Access {
    /// Makes an API token and answers its secret. A name that is taken: Refused.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
        lifetime: Option<Duration>,
    ) -> Result<String, Error> {
        let name = name.trim();
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(Error::Invalid(causes::TOKEN_NAME.with("most", 100u64)));
        }
        let (secret, now) = (random_secret()?, now_ms());
        let token = NewToken {
            name,
            secret_sha256: &digest(&secret),
            role,
            kind: TokenKind::Api,
            parent: None,
            expires_at: lifetime.map(|lifetime| later(now, lifetime)),
        };
        let write = self.db.write().await?;
        match write.insert_token(&token, now).await {
            Ok(()) => write.commit().await?,
            Err(error) if is_duplicate(&error) => {
                return Err(Error::Refused(causes::TOKEN_EXISTS.with("name", name)));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(secret)
    }

    /// The API tokens, and those of trusted publishers that have not ended, by name.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        let tokens = self.db.listed_tokens(now_ms()).await?;
        Ok(tokens
            .into_iter()
            .map(|token| TokenInfo {
                name: token.name,
                kind: token.kind.as_str().to_owned(),
                product: token.product,
                role: token.role,
                created_at: time(token.created_at),
                expires_at: token.expires_at.map(time),
                used_at: token.used_at.map(time),
            })
            .collect())
    }

    /// Ends the API token of this name and the sessions that were got with it, and all tokens of a trusted publisher of
    /// this name. Answers how many; none: NotFound.
    pub async fn revoke_token(&self, name: &str) -> Result<u64, Error> {
        let write = self.db.write().await?;
        let api = u64::from(write.remove_api_token(name).await?);
        let ended = api + write.revoke_publisher_tokens(name, now_ms()).await?;
        if ended == 0 {
            return Err(Error::NotFound(causes::NO_TOKEN.with("name", name)));
        }
        write.commit().await?;
        Ok(ended)
    }

    /// A token for a job that is trusted with this product, and when it ends. `None`: this statement was traded for one
    /// before.
    pub(crate) async fn publisher_token(
        &self,
        job: &Job,
        product: &ProductName,
        statement_sha256: &str,
        lifetime: Duration,
    ) -> Result<Option<(String, DateTime<Utc>)>, Error> {
        let (secret, now) = (random_secret()?, now_ms());
        let (secret_sha256, end) = (digest(&secret), later(now, lifetime));
        let token = NewToken {
            name: &job.name(),
            secret_sha256: &secret_sha256,
            role: Role::Ci,
            kind: TokenKind::Publisher,
            parent: None,
            expires_at: Some(end),
        };
        let write = self.db.write().await?;
        match write.insert_publisher_token(&token, &Given { job, product, statement_sha256 }, now).await {
            Ok(()) => write.commit().await?,
            Err(error) if is_duplicate(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Ok(Some((secret, time(end))))
    }
}
