//! Users, and what authenticates: API tokens, sessions and login links. Only digests of secrets are here.

use api::Role;
use contract::ProductName;
use oidc::Job;
use sea_orm::{DbErr, QueryResult};

use super::connection::{Db, Query, Write, corrupt, from_json, json, parsed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Api,
    Session,
    Link,
    /// Got by a trusted publisher.
    Publisher,
}

impl TokenKind {
    /// The word in the table, and where tokens are listed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Session => "session",
            Self::Link => "link",
            Self::Publisher => "publisher",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TokenRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) kind: TokenKind,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) used_at: Option<i64>,
    /// The product that it was given for; every publisher's token has one.
    pub(crate) product: Option<ProductName>,
    /// To whom it was given. A publisher's token without one is from before they were kept, and opens nothing.
    pub(crate) job: Option<Job>,
}

#[derive(Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) name: &'a str,
    pub(crate) secret_sha256: &'a str,
    pub(crate) role: Role,
    pub(crate) kind: TokenKind,
    /// The token it was got with: it ends with it.
    pub(crate) parent: Option<i64>,
    pub(crate) expires_at: Option<i64>,
}

/// What a publisher's token has besides.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) job: &'a Job,
    pub(crate) product: &'a ProductName,
    /// Digest of the signed statement that it is given for, which no second token is given for.
    pub(crate) statement_sha256: &'a str,
}

const COLUMNS: &str = "id, name, role, kind, created_at, expires_at, used_at, product, job";

impl Db {
    /// The token of a secret, unless it has expired or was revoked.
    pub(crate) async fn token(&self, secret_sha256: &str, now: i64) -> Result<Option<TokenRow>, DbErr> {
        let sql = format!(
            "SELECT {COLUMNS} FROM tokens WHERE secret_sha256 = ? AND revoked_at IS NULL \
             AND (expires_at IS NULL OR expires_at > ?)"
        );
        let row = self.row(&sql, vec![secret_sha256.into(), now.into()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// API tokens, and the tokens of publishers that hold still, by name.
    pub(crate) async fn listed_tokens(&self, now: i64) -> Result<Vec<TokenRow>, DbErr> {
        let sql = format!(
            "SELECT {COLUMNS} FROM tokens WHERE kind = 'api' \
             OR (kind = 'publisher' AND revoked_at IS NULL AND expires_at > ?) ORDER BY kind, name, id"
        );
        self.rows(&sql, vec![now.into()]).await?.iter().map(read).collect()
    }

    /// A user's password hash and role.
    pub(crate) async fn user(&self, name: &str) -> Result<Option<(String, Role)>, DbErr> {
        let row = self.row("SELECT password_hash, role FROM users WHERE name = ?", vec![name.into()]).await?;
        row.map(|row| Ok((row.try_get("", "password_hash")?, role(&row)?))).transpose()
    }
}

impl Write {
    /// Makes a token. A duplicate error means that the name is taken.
    pub(crate) async fn insert_token(&self, token: &NewToken<'_>, now: i64) -> Result<(), DbErr> {
        let sql = "INSERT INTO tokens (name, secret_sha256, role, kind, parent, created_at, expires_at) \
                   VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = vec![
            token.name.into(),
            token.secret_sha256.into(),
            token.role.as_str().into(),
            token.kind.as_str().into(),
            token.parent.into(),
            now.into(),
            token.expires_at.into(),
        ];
        self.execute(sql, values).await.map(|_| ())
    }

    /// Makes the token of a trusted publisher. A duplicate error means that its statement was taken before.
    pub(crate) async fn insert_publisher_token(
        &self,
        token: &NewToken<'_>,
        of: &Given<'_>,
        now: i64,
    ) -> Result<(), DbErr> {
        self.insert_token(token, now).await?;
        let sql = "UPDATE tokens SET product = ?, job = ?, statement_sha256 = ? WHERE secret_sha256 = ?";
        let values = vec![
            of.product.as_str().into(),
            json(Some(of.job))?.into(),
            of.statement_sha256.into(),
            token.secret_sha256.into(),
        ];
        self.execute(sql, values).await.map(|_| ())
    }

    pub(crate) async fn set_used(&self, id: i64, now: i64) -> Result<(), DbErr> {
        self.execute("UPDATE tokens SET used_at = ? WHERE id = ?", vec![now.into(), id.into()])
            .await
            .map(|_| ())
    }

    /// Ends an API token and the sessions got with it. Answers whether there was one.
    pub(crate) async fn remove_api_token(&self, name: &str) -> Result<bool, DbErr> {
        let sql = "DELETE FROM tokens WHERE kind = 'api' AND name = ?";
        Ok(self.execute(sql, vec![name.into()]).await? > 0)
    }

    /// Ends the tokens of a publisher. Answers how many there were. Their rows stay until they would have ended, since
    /// they are what keeps a statement from being taken twice.
    pub(crate) async fn revoke_publisher_tokens(&self, name: &str, now: i64) -> Result<u64, DbErr> {
        let sql = "UPDATE tokens SET revoked_at = ? WHERE kind = 'publisher' AND name = ? AND revoked_at IS NULL \
                   AND expires_at > ?";
        self.execute(sql, vec![now.into(), name.into(), now.into()]).await
    }

    pub(crate) async fn remove_session(&self, secret_sha256: &str) -> Result<(), DbErr> {
        let sql = "DELETE FROM tokens WHERE kind = 'session' AND secret_sha256 = ?";
        self.execute(sql, vec![secret_sha256.into()]).await.map(|_| ())
    }

    pub(crate) async fn remove_expired(&self, now: i64) -> Result<u64, DbErr> {
        self.execute("DELETE FROM tokens WHERE expires_at IS NOT NULL AND expires_at <= ?", vec![now.into()])
            .await
    }

    /// Makes a user if there is none at all. Answers whether it did.
    pub(crate) async fn insert_first_user(
        &self,
        name: &str,
        password_hash: &str,
        role: Role,
        now: i64,
    ) -> Result<bool, DbErr> {
        if self.row("SELECT name FROM users LIMIT 1", vec![]).await?.is_some() {
            return Ok(false);
        }
        let sql = "INSERT INTO users (name, password_hash, role, created_at) VALUES (?, ?, ?, ?)";
        let values = vec![name.into(), password_hash.into(), role.as_str().into(), now.into()];
        Ok(self.execute(sql, values).await? == 1)
    }
}

fn read(row: &QueryResult) -> Result<TokenRow, DbErr> {
    let kind: String = row.try_get("", "kind")?;
    let kind = [TokenKind::Api, TokenKind::Session, TokenKind::Link, TokenKind::Publisher]
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or_else(|| corrupt("kind", &kind))?;
    Ok(TokenRow {
        id: row.try_get("", "id")?,
        name: row.try_get("", "name")?,
        role: role(row)?,
        kind,
        created_at: row.try_get("", "created_at")?,
        expires_at: row.try_get("", "expires_at")?,
        used_at: row.try_get("", "used_at")?,
        product: parsed(row, "product")?,
        job: from_json(row, "job")?,
    })
}

fn role(row: &QueryResult) -> Result<Role, DbErr> {
    let word: String = row.try_get("", "role")?;
    Role::from_word(&word).ok_or_else(|| corrupt("role", &word))
}
