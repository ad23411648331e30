//! The service's state, and whose a secret is.

use std::sync::Arc;

use api::Role;
use cause::service as causes;
use oidc::{Scope, TrustedPublisher};

use super::secret::digest;
use crate::actor::{Actor, ActorKind};
use crate::clock::now_ms;
use crate::config::Config;
use crate::db::Db;
use crate::db::token::{TokenKind, TokenRow};
use crate::error::Error;

/// Who asks, and what they may do.
#[derive(Debug, Clone)]
pub struct Identity {
    /// As which they write.
    pub actor: Actor,
    /// What they may do.
    pub role: Role,
    /// The product that it is confined to, whatever the role may.
    pub scope: Option<Scope>,
}

/// How exactly the last use of a token is noted.
const USED_EVERY_MS: i64 = 60_000;

/// Users, tokens, sessions and login links, on the server's own database, whether the server runs or not.
#[derive(Debug, Clone)]
pub struct Access {
    pub(super) db: Db,
    publishers: Arc<[TrustedPublisher]>,
}

impl Access {
    /// Opens the database of a configuration, and makes it if it is not there.
    #[crate::boxed]
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Ok(Self::new(Box::pin(Db::open(&config.database)).await?, &config.trusted_publishers))
    }

    pub(crate) fn new(db: Db, publishers: &[TrustedPublisher]) -> Self {
        Self { db, publishers: publishers.into() }
    }

    pub(super) fn publishers(&self) -> &[TrustedPublisher] {
        &self.publishers
    }

    /// Whose an API token's, publisher's or session's secret is; `None` if it is unknown or has ended. A publisher's token
    /// whose job the configuration trusts no more: Unproven.
    pub(crate) async fn authenticate(&self, secret: &str) -> Result<Option<Identity>, Error> {
        let now = now_ms();
        let Some(token) = self.db.token(&digest(secret), now).await? else {
            return Ok(None);
        };
        let (kind, scope) = match *token.kind {
            TokenKind::Link => return Ok(None),
            TokenKind::Session if token.parent.is_none() => (ActorKind::Person, None),
            TokenKind::Api | TokenKind::Session => (ActorKind::Token, None),
            TokenKind::Publisher => match self.scope(&token)? {
                Some(scope) => (ActorKind::Job, Some(scope)),
                None => return Ok(None),
            },
        };
        let is_noted = matches!(*token.kind, TokenKind::Api | TokenKind::Publisher);
        if is_noted && token.used_at.is_none_or(|used| now - used >= USED_EVERY_MS) {
            let write = self.db.write(&Actor::SERVER).await?;
            write.set_used(token.id, now).await?;
            write.commit().await?;
        }
        let actor = Actor { kind, name: token.name.into(), address: None };
        Ok(Some(Identity { actor, role: *token.role, scope }))
    }

    /// What the configuration of now trusts the job with that a token was given to. It may say more or less than it did
    /// then. `None`: nobody knows which job that was.
    fn scope(&self, token: &TokenRow) -> Result<Option<Scope>, Error> {
        let (Some(job), Some(product)) = (&token.job, &token.product) else { return Ok(None) };
        job.scope(&self.publishers, Some(product))
            .map(Some)
            .map_err(|refusal| Error::Unproven(causes::TOKEN_ENDED.naming("why", refusal)))
    }

    pub(crate) async fn remove_expired(&self, now: i64) -> Result<(), Error> {
        let write = self.db.write(&Actor::SERVER).await?;
        write.remove_expired(now).await?;
        Ok(write.commit().await?)
    }
}
