//! Who may come in. Secrets are 256 random bits, kept as their SHA-256; passwords are kept as argon2 hashes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use contract::ProductName;
use oidc::{Job, Scope, TrustedPublisher};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::{Actor, AppError, Role, TokenInfo, now_ms, time};
use crate::config::Config;
use crate::db::token::{Given, NewToken, TokenKind, TokenRow};
use crate::db::{Db, is_duplicate};

/// The user that the first start makes.
pub const FIRST_USER: &str = "admin";

/// How exactly the last use of a token is noted.
const USED_EVERY_MS: i64 = 60_000;

/// Each verification of a password takes 19 MiB; a flood of log-ins waits instead.
static VERIFIERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// Users, tokens, sessions and login links, on the server's own database, whether the server runs or not.
#[derive(Debug, Clone)]
pub struct Auth {
    db: Db,
    publishers: Arc<[TrustedPublisher]>,
}

/// The first user's password, known to nobody else from here on.
#[derive(Clone)]
pub struct FirstLogin {
    /// The user's name.
    pub user: String,
    /// To be printed once.
    pub password: String,
}

impl Auth {
    /// Opens the database of a configuration, and makes it if it is not there.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Ok(Self::new(Db::open(&config.database.url).await?, &config.trusted_publishers))
    }

    pub(crate) fn new(db: Db, publishers: &[TrustedPublisher]) -> Self {
        Self { db, publishers: publishers.into() }
    }

    /// Makes an API token and answers its secret. A name that is taken: Refused.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
        lifetime: Option<Duration>,
    ) -> Result<String, AppError> {
        let name = name.trim();
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(AppError::Invalid("A token's name has 1 to 100 bytes.".to_owned()));
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
                return Err(AppError::Refused(format!("There is a token named {name} already.")));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(secret)
    }

    /// The API tokens, and those of trusted publishers that have not ended, by name.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, AppError> {
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
    pub async fn revoke_token(&self, name: &str) -> Result<u64, AppError> {
        let write = self.db.write().await?;
        let api = u64::from(write.remove_api_token(name).await?);
        let ended = api + write.revoke_publisher_tokens(name, now_ms()).await?;
        if ended == 0 {
            return Err(AppError::NotFound(format!("There is no token named {name}.")));
        }
        write.commit().await?;
        Ok(ended)
    }

    /// Makes the user `admin` if there is no user yet.
    pub(crate) async fn first_login(&self) -> anyhow::Result<Option<FirstLogin>> {
        let password = random_secret()?;
        let hash = tokio::task::spawn_blocking({
            let password = password.clone();
            move || password_auth::generate_hash(password)
        })
        .await?;
        let write = self.db.write().await?;
        if !write.insert_first_user(FIRST_USER, &hash, Role::Admin, now_ms()).await? {
            return Ok(None);
        }
        write.commit().await?;
        Ok(Some(FirstLogin { user: FIRST_USER.to_owned(), password }))
    }

    /// Makes the secret of a login link of the user `admin`.
    pub(crate) async fn login_link(&self, lifetime: Duration) -> Result<String, AppError> {
        self.insert(FIRST_USER, Role::Admin, TokenKind::Link, None, lifetime).await
    }

    /// Whose an API token's, publisher's or session's secret is; `None` if it is unknown or has ended. A publisher's token
    /// whose job the configuration trusts no more: Unproven.
    pub(crate) async fn authenticate(&self, secret: &str) -> Result<Option<Actor>, AppError> {
        let now = now_ms();
        let Some(token) = self.db.token(&digest(secret), now).await? else {
            return Ok(None);
        };
        let scope = match token.kind {
            TokenKind::Link => return Ok(None),
            TokenKind::Api | TokenKind::Session => None,
            TokenKind::Publisher => match self.scope(&token)? {
                Some(scope) => Some(scope),
                None => return Ok(None),
            },
        };
        let is_noted = matches!(token.kind, TokenKind::Api | TokenKind::Publisher);
        if is_noted && token.used_at.is_none_or(|used| now - used >= USED_EVERY_MS) {
            let write = self.db.write().await?;
            write.set_used(token.id, now).await?;
            write.commit().await?;
        }
        Ok(Some(Actor { name: token.name, role: token.role, scope }))
    }

    /// What the configuration of now trusts the job with that a token was given to. It may say more or less than it did
    /// then. `None`: nobody knows which job that was.
    fn scope(&self, token: &TokenRow) -> Result<Option<Scope>, AppError> {
        let (Some(job), Some(product)) = (&token.job, &token.product) else { return Ok(None) };
        job.scope(&self.publishers, Some(product)).map(Some).map_err(|refusal| {
            AppError::Unproven(format!(
                "This token has ended, since the server's configuration was changed after it was given. {refusal}"
            ))
        })
    }

    /// A token for a job that is trusted with this product, and when it ends. `None`: this statement was traded for one
    /// before.
    pub(crate) async fn publisher_token(
        &self,
        job: &Job,
        product: &ProductName,
        statement_sha256: &str,
        lifetime: Duration,
    ) -> Result<Option<(String, DateTime<Utc>)>, AppError> {
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

    /// A session for a user's password, or for an API token given as the password.
    pub(crate) async fn login(
        &self,
        name: &str,
        password: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, AppError> {
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
        let verified = verify(password.to_owned(), user.map(|(hash, _)| hash)).await?;
        match role.filter(|_| verified) {
            Some(role) => self.insert(name, role, TokenKind::Session, None, lifetime).await.map(Some),
            None => Ok(None),
        }
    }

    /// A session for a login link.
    pub(crate) async fn login_with_link(
        &self,
        secret: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, AppError> {
        let link = self.db.token(&digest(secret), now_ms()).await?;
        match link.filter(|token| token.kind == TokenKind::Link) {
            Some(link) => {
                self.insert(&link.name, link.role, TokenKind::Session, None, lifetime).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Ends a session.
    pub(crate) async fn logout(&self, secret: &str) -> Result<(), AppError> {
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
    ) -> Result<String, AppError> {
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

/// Takes as long for a user that does not exist, so that names cannot be guessed by the clock.
async fn verify(password: String, hash: Option<String>) -> Result<bool, AppError> {
    static NOBODY: LazyLock<String> = LazyLock::new(|| password_auth::generate_hash("nobody"));
    let _permit = VERIFIERS.acquire().await.context("the verifiers were closed")?;
    let verified = tokio::task::spawn_blocking(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        password_auth::verify_password(password, &hash).is_ok() && known
    });
    Ok(verified.await.context("verifying a password")?)
}

/// 256 random bits, as 64 digits: nothing that a shell, a URL or a command line's options could misread.
pub(crate) fn random_secret() -> Result<String, AppError> {
    random(&mut [0; 32])
}

/// A device's MQTT password: 192 random bits, as 48 digits.
pub(crate) fn random_password() -> Result<String, AppError> {
    random(&mut [0; 24])
}

fn random(bytes: &mut [u8]) -> Result<String, AppError> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(hex::encode(bytes))
}

/// What is kept of a secret. It needs no salt and no slow hash: nobody guesses 192 random bits.
pub(crate) fn digest(secret: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(secret))
}

/// Compares without telling by the clock how much was right.
pub(crate) fn is_equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

fn later(now: i64, lifetime: Duration) -> i64 {
    now.saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))
}
