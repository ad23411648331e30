//! API tokens, the tokens of trusted publishers, and sessions: what a password, a token or a login link is traded for. And the
//! first user, who makes the others.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use api::{Role, TokenInfo};
use cause::service as causes;
use chrono::{DateTime, Utc};
use contract::ProductName;
use oidc::Job;
use serde_json::{Value, json};

use super::secret::{digest, hash_password, later, random_secret, verify_password};
use super::service::Access;
use crate::actor::{Actor, ActorKind};
use crate::clock::{now_ms, time};
use crate::db::token::{Given, NewToken, TokenKind};
use crate::db::{Action, Write, is_duplicate};
use crate::error::Error;

/// The user that the first start makes.
pub const FIRST_USER: &str = "admin";

/// Stands for a name that is no user's.
const UNKNOWN: &str = "unknown";

/// The first user's password, known to nobody else from here on.
#[derive(Clone)]
pub struct FirstLogin {
    /// The user's name.
    pub user: String,
    /// To be printed once.
    pub password: String,
}

impl Access {
    /// Makes the user `admin` if there is no user yet.
    pub(crate) async fn first_login(&self) -> anyhow::Result<Option<FirstLogin>> {
        let password = random_secret()?;
        let hash = hash_password(password.clone()).await?;
        let mut write = self.db.write(&Actor::SERVER).await?;
        if !write.insert_first_user(FIRST_USER, &hash, Role::Admin, now_ms()).await? {
            return Ok(None);
        }
        write.audit(Action::USER_CREATE, &FIRST_USER, Value::Null, json!({ "role": Role::Admin }));
        write.commit().await?;
        Ok(Some(FirstLogin { user: FIRST_USER.to_owned(), password }))
    }

    pub(crate) async fn login_link(&self, lifetime: Duration) -> Result<String, Error> {
        self.session(&Actor::SERVER, FIRST_USER, Role::Admin, TokenKind::Link, None, lifetime).await
    }

    /// A session for a user's password, or for an API token given as the password.
    pub(crate) async fn login(
        &self,
        from: IpAddr,
        name: &str,
        password: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        let token = self.db.token(&digest(password), now_ms()).await?;
        if let Some(token) = token.filter(|token| *token.kind == TokenKind::Api) {
            // A session never outlives the token that it was got with.
            let left = token.expires_at.map(|end| Duration::from_millis(end.abs_diff(now_ms())));
            let lifetime = left.map_or(lifetime, |left| left.min(lifetime));
            let by = somebody(ActorKind::Token, &token.name, from);
            return self
                .session(&by, &token.name, *token.role, TokenKind::Session, Some(token.id), lifetime)
                .await
                .map(Some);
        }
        let user = self.db.user(name).await?;
        // What was typed as a name may be a password.
        let role = user.as_ref().map(|user| *user.role);
        let known = user.as_ref().map_or(UNKNOWN, |_| name);
        let verified = verify_password(password.to_owned(), user.map(|user| user.password_hash)).await?;
        match role.filter(|_| verified) {
            Some(role) => {
                let by = somebody(ActorKind::Person, name, from);
                self.session(&by, name, role, TokenKind::Session, None, lifetime).await.map(Some)
            }
            None => self.refused(known, from).await,
        }
    }

    /// Nobody is let in, which is written: no more often than the rate limiter lets somebody try.
    async fn refused(&self, name: &str, from: IpAddr) -> Result<Option<String>, Error> {
        let mut write = self.db.write(&somebody(ActorKind::Person, name, from)).await?;
        write.audit(Action::LOGIN_REFUSED, &name, Value::Null, Value::Null);
        write.commit().await?;
        Ok(None)
    }

    pub(crate) async fn login_with_link(
        &self,
        from: IpAddr,
        secret: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        let link = self.db.token(&digest(secret), now_ms()).await?;
        let Some(link) = link.filter(|token| *token.kind == TokenKind::Link) else {
            return self.refused(UNKNOWN, from).await;
        };
        let by = somebody(ActorKind::Person, &link.name, from);
        let write = self.db.write(&by).await?;
        // Of two at once one has removed it.
        if !write.remove_link(link.id).await? {
            return Ok(None);
        }
        let expires_at = Some(later(now_ms(), lifetime));
        let (name, role, kind) = (link.name.as_str(), *link.role, TokenKind::Session);
        self.insert_by(write, NewToken { name, role, kind, parent: None, expires_at, given: None }).await
    }

    pub(crate) async fn logout(&self, by: &Actor, secret: &str) -> Result<(), Error> {
        let mut write = self.db.write(by).await?;
        if write.remove_session(&digest(secret)).await? {
            write.audit(Action::LOGOUT, &by.name, Value::Null, Value::Null);
        }
        Ok(write.commit().await?)
    }

    /// The secret of a session or a login link.
    async fn session(
        &self,
        by: &Actor,
        name: &str,
        role: Role,
        kind: TokenKind,
        parent: Option<i64>,
        lifetime: Duration,
    ) -> Result<String, Error> {
        let expires_at = Some(later(now_ms(), lifetime));
        let token = NewToken { name, role, kind, parent, expires_at, given: None };
        let secret = self.insert(by, token).await?;
        Ok(secret.context("a random secret is there already")?)
    }

    /// Makes a token and answers its secret; `None` if its name, or the statement that it is given for, is taken.
    async fn insert(&self, by: &Actor, token: NewToken<'_>) -> Result<Option<String>, Error> {
        let write = self.db.write(by).await?;
        self.insert_by(write, token).await
    }

    async fn insert_by(&self, mut write: Write, token: NewToken<'_>) -> Result<Option<String>, Error> {
        let secret = random_secret()?;
        let action = match token.kind {
            TokenKind::Api | TokenKind::Publisher => Action::TOKEN_CREATE,
            TokenKind::Session => Action::LOGIN,
            TokenKind::Link => Action::LINK_CREATE,
        };
        let product = token.given.map(|given| given.product);
        let after =
            json!({ "role": token.role, "product": product, "expires_at": token.expires_at.map(time) });
        match write.insert_token(token, &digest(&secret), now_ms()).await {
            Ok(()) => {
                write.audit(action, &token.name, Value::Null, after);
                write.commit().await?;
            }
            Err(error) if is_duplicate(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Ok(Some(secret))
    }
}

fn somebody(kind: ActorKind, name: &str, from: IpAddr) -> Actor {
    Actor { kind, name: name.to_owned().into(), address: Some(from) }
}

impl std::fmt::Debug for FirstLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Access {
    /// Makes an API token and answers its secret. A name that is taken: Refused.
    #[crate::boxed]
    pub async fn create_token(
        &self,
        by: &Actor,
        name: &str,
        role: Role,
        lifetime: Option<Duration>,
    ) -> Result<String, Error> {
        let name = name.trim();
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(Error::Invalid(causes::TOKEN_NAME.with("most", 100u64)));
        }
        let expires_at = lifetime.map(|lifetime| later(now_ms(), lifetime));
        let token = NewToken { name, role, kind: TokenKind::Api, parent: None, expires_at, given: None };
        let secret = self.insert(by, token).await?;
        secret.ok_or_else(|| Error::Refused(causes::TOKEN_EXISTS.with("name", name)))
    }

    /// The API tokens, and those of trusted publishers that have not ended, by name.
    #[crate::boxed]
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        let tokens = self.db.listed_tokens(now_ms()).await?;
        Ok(tokens
            .into_iter()
            .map(|token| TokenInfo {
                name: token.name,
                kind: token.kind.as_str().to_owned(),
                product: token.product.map(|product| product.0),
                role: token.role.0,
                created_at: time(token.created_at),
                expires_at: token.expires_at.map(time),
                used_at: token.used_at.map(time),
            })
            .collect())
    }

    /// Ends the API token of this name and the sessions that were got with it, and all tokens of a trusted publisher of
    /// this name. Answers how many; none: NotFound.
    #[crate::boxed]
    pub async fn revoke_token(&self, by: &Actor, name: &str) -> Result<u64, Error> {
        let mut write = self.db.write(by).await?;
        let api = u64::from(write.remove_api_token(name).await?);
        let ended = api + write.revoke_publisher_tokens(name, now_ms()).await?;
        if ended == 0 {
            return Err(Error::NotFound(causes::NO_TOKEN.with("name", name)));
        }
        write.audit(Action::TOKEN_REVOKE, &name, json!({ "tokens": ended }), Value::Null);
        write.commit().await?;
        Ok(ended)
    }

    /// A token for a job that is trusted with this product, and when it ends. `None`: this statement was traded for one
    /// before.
    pub(crate) async fn publisher_token(
        &self,
        from: IpAddr,
        job: &Job,
        product: &ProductName,
        statement_sha256: &str,
        lifetime: Duration,
    ) -> Result<Option<(String, DateTime<Utc>)>, Error> {
        let (end, given) = (later(now_ms(), lifetime), Given { job, product, statement_sha256 });
        let (name, kind) = (job.name(), TokenKind::Publisher);
        let by = somebody(ActorKind::Job, &name, from);
        let token = NewToken {
            name: &name,
            role: Role::Ci,
            kind,
            parent: None,
            expires_at: Some(end),
            given: Some(given),
        };
        let secret = self.insert(&by, token).await?;
        Ok(secret.map(|secret| (secret, time(end))))
    }
}
