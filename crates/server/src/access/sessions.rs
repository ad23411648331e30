//! Sessions: what a password, a token or a login link is traded for. And the first user, who makes the others.

use std::time::Duration;

use super::secret::{digest, hash_password, later, random_secret, verify_password};
use super::service::Access;
use crate::clock::now_ms;
use crate::db::token::{NewToken, TokenKind};
use crate::error::Error;
use api::Role;

/// The user that the first start makes.
pub const FIRST_USER: &str = "admin";

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
        let write = self.db.write().await?;
        if !write.insert_first_user(FIRST_USER, &hash, Role::Admin, now_ms()).await? {
            return Ok(None);
        }
        write.commit().await?;
        Ok(Some(FirstLogin { user: FIRST_USER.to_owned(), password }))
    }

    pub(crate) async fn login_link(&self, lifetime: Duration) -> Result<String, Error> {
        self.insert(FIRST_USER, Role::Admin, TokenKind::Link, None, lifetime).await
    }

    /// A session for a user's password, or for an API token given as the password.
    pub(crate) async fn login(
        &self,
        name: &str,
        password: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        let token = self.db.token(&digest(password), now_ms()).await?;
        if let Some(token) = token.filter(|token| token.kind == TokenKind::Api) {
            // A session never outlives the token that it was got with.
            let left = token.expires_at.map(|end| Duration::from_millis(end.abs_diff(now_ms())));
            let lifetime = left.map_or(lifetime, |left| left.min(lifetime));
            return self
                .insert(&token.name, token.role, TokenKind::Session, Some(token.id), lifetime)
                .await
                .map(Some);
        }
        let user = self.db.user(name).await?;
        let role = user.as_ref().map(|(_, role)| *role);
        let verified = verify_password(password.to_owned(), user.map(|(hash, _)| hash)).await?;
        match role.filter(|_| verified) {
            Some(role) => self.insert(name, role, TokenKind::Session, None, lifetime).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn login_with_link(
        &self,
        secret: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        let link = self.db.token(&digest(secret), now_ms()).await?;
        match link.filter(|token| token.kind == TokenKind::Link) {
            Some(link) => {
                self.insert(&link.name, link.role, TokenKind::Session, None, lifetime).await.map(Some)
            }
            None => Ok(None),
        }
    }

    pub(crate) async fn logout(&self, secret: &str) -> Result<(), Error> {
        let write = self.db.write().await?;
        write.remove_session(&digest(secret)).await?;
        Ok(write.commit().await?)
    }

    async fn insert(
        &self,
        name: &str,
        role: Role,
        kind: TokenKind,
        parent: Option<i64>,
        lifetime: Duration,
    ) -> Result<String, Error> {
        let (secret, now) = (random_secret()?, now_ms());
        let secret_sha256 = digest(&secret);
        let expires_at = Some(later(now, lifetime));
        let token = NewToken { name, secret_sha256: &secret_sha256, role, kind, parent, expires_at };
        let write = self.db.write().await?;
        write.insert_token(&token, now).await?;
        write.commit().await?;
        Ok(secret)
    }
}

impl std::fmt::Debug for FirstLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstLogin").field("user", &self.user).finish_non_exhaustive()
    }
}
